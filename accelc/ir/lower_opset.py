"""Back towards the opset that a model came in: what it needs nothing newer for, the same runtimes take again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx.helper
import onnx_ir as ir

from accelc.ir.reading import SOURCE_OPSET, regions
from accelc.ir.schemas import Formal, schema_of, type_string

NEWEST = 24
"""Later changes of ops have not been looked at: what is new then keeps its version."""
OLDEST = 13
"""Before, Softmax flattened, and axes of Squeeze and ReduceSum were attributes."""
FUNCTIONS_IR_VERSION = 8
"""The IR version that brought model-local functions."""

Changed = Callable[[ir.Node], int]


def _when(version: int, applies: Callable[[ir.Node], bool]) -> Changed:
    return lambda node: version if applies(node) else OLDEST


def _attribute(name: str, *values: str) -> Callable[[ir.Node], bool]:
    return lambda node: node.attributes.get_string(name, "") in values


def _ceils(node: ir.Node) -> bool:
    return bool(node.attributes.get_int("ceil_mode", 0))


_MEANING_CHANGED: dict[str, Changed] = {
    "Attention": lambda node: 24,  # masks of keys with a past
    "AveragePool": _when(19, _ceils),  # windows that start in the padding
    "BatchNormalization": _when(15, lambda node: bool(node.attributes.get_int("training_mode", 0))),
    "DFT": lambda node: 20,  # the default axis
    "GridSample": lambda node: 20,  # names of the modes
    "GroupNormalization": lambda node: 21,  # one scale per channel, not per group
    "LpPool": _when(18, _ceils),
    "Pad": _when(19, _attribute("mode", "wrap")),
    "Resize": lambda node: 19,  # sizes and axes
    "RoiAlign": lambda node: 16,  # the default coordinates
    "ScatterElements": _when(18, _attribute("reduction", "max", "min")),
    "ScatterND": _when(18, _attribute("reduction", "max", "min")),
    "Upsample": lambda node: 24,
}
"""Ops that mean something else before a version although their form is the same; the others only took more dtypes."""


def lower_opset(model: ir.Model) -> None:
    """Import the oldest opset at which every node means what it means now, and the IR version that it needs.

    No opset is older than the one that the model came in, for which its runtime has proven kernels, or than 13.

    Args:
        model: Plain ONNX with inferred dtypes, changed in place. One with local functions stays as it is, for those
            import opsets of their own, and so does one that was never imported; a value of unknown dtype holds the
            node at the version that it has.
    """
    if model.functions or "" not in model.opset_imports:
        return
    floor = max(OLDEST, int(model.graph.meta.get(SOURCE_OPSET, model.opset_imports[""])))
    for graph in regions(model):
        for node in graph:
            if node.domain == "":
                floor = max(floor, _oldest(node, model.opset_imports[""], floor))
    model.opset_imports[""] = min(floor, model.opset_imports[""])
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
    needed = int(onnx.helper.find_min_ir_version_for(imports, True))
    model.ir_version = min(model.ir_version, max(needed, FUNCTIONS_IR_VERSION))


def _oldest(node: ir.Node, current: int, enough: int) -> int:
    """The oldest version, ``enough`` or later, that knows the node as it is."""
    changed_at = _MEANING_CHANGED.get(node.op_type)
    least = max(enough, changed_at(node) if changed_at is not None else OLDEST)
    version = current
    while version > least:
        schema = schema_of(node.op_type, "", version - 1)
        if schema is None or schema.deprecated:
            return version
        newer = schema_of(node.op_type, "", version)
        changed = newer is None or newer.since != schema.since
        if changed and (version > NEWEST or not knows(node, version - 1)):
            return version
        version = max(schema.since, least)
    return version


def knows(node: ir.Node, version: int) -> bool:
    """Whether an opset version has the op with these attributes, operand counts and dtypes."""
    if node.domain != "":
        return True
    schema = schema_of(node.op_type, "", version)
    if schema is None or not set(node.attributes) <= set(schema.attributes):
        return False
    inputs, outputs = len(node.inputs), len(node.outputs)
    if not (schema.min_inputs <= inputs <= schema.max_inputs and outputs <= schema.max_outputs):
        return False
    required = {name for name, (_, needed) in schema.attributes.items() if needed}
    return (
        required <= set(node.attributes)
        and _typed(node.inputs, schema.inputs, schema.allowed)
        and _typed(node.outputs, schema.outputs, schema.allowed)
    )


def _typed(
    values: Sequence[ir.Value | None], formals: Sequence[Formal], allowed: Mapping[str, frozenset[str]]
) -> bool:
    for index, value in enumerate(values):
        type_str = formals[min(index, len(formals) - 1)].type_str
        wanted = allowed.get(type_str, (type_str,))  # a type variable, or the only type there is
        if value is not None and value.name and type_string(value.type) not in wanted:
            return False
    return True
