"""Canonical bodies of fused functions: what a group of nodes computes, whatever its values were called."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from accelc.errors import PassError
from accelc.ir.pointwise import BROADCASTING, COMMUTATIVE, REDUCTIONS
from accelc.ir.rewrite import constant_tensor, constant_value, describe, use_count

MAX_CONSTANT_ELEMENTS = 16
"""Larger constants stay operands of the function."""

STEERING: Mapping[str, frozenset[int]] = {
    "Clip": frozenset({1, 2}),
    "Pow": frozenset({1}),
    **dict.fromkeys(REDUCTIONS, frozenset({1})),
    "Reshape": frozenset({1}),
    "Expand": frozenset({1}),
    "Unsqueeze": frozenset({1}),
    "Squeeze": frozenset({1}),
    "Slice": frozenset({1, 2, 3, 4}),
    "Pad": frozenset({1, 3}),
}
"""Operands that decide which code runs: as constants they belong into the body."""


@dataclass(frozen=True)
class _Constant:
    """A constant inside a body: equal dtype, shape and bytes are one constant."""

    dtype: ir.DataType
    shape: tuple[int, ...]
    data: bytes

    @property
    def text(self) -> str:
        return f"{self.dtype.name}{list(self.shape)} {self.data.hex()}"


@dataclass(frozen=True)
class _Step:
    """One op of a body; operands are body names, "" for one left out."""

    op: str
    domain: str
    version: int
    operands: tuple[str, ...]
    results: tuple[str, ...]
    attributes: tuple[ir.Attr, ...]

    @property
    def text(self) -> str:
        attributes = ", ".join(f"{a.name}={_attribute_text(a)}" for a in self.attributes)
        head = f"{self.domain}::{self.op}@{self.version}<{attributes}>"
        return f"{', '.join(self.results)} = {head}({', '.join(self.operands)})"


@dataclass
class Body:
    """A group of nodes in canonical form."""

    inputs: list[ir.Value] = field(default_factory=list)
    constants: dict[_Constant, str] = field(default_factory=dict)
    steps: list[_Step] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    def text(self) -> str:
        """What the digest is taken of: constants, ops and results, without shapes."""
        lines = [f"inputs {len(self.inputs)}"]
        lines += [f"{name} = {constant.text}" for constant, name in self.constants.items()]
        lines += [step.text for step in self.steps]
        lines.append("return " + ", ".join(self.outputs))
        return "\n".join(lines)


def escapes(value: ir.Value, members: Mapping[ir.Node, None]) -> bool:
    """Whether ``value`` is used outside the group: by another node or as a graph output."""
    return value.is_graph_output() or any(usage.node not in members for usage in value.uses())


def _operands(node: ir.Node, members: Mapping[ir.Node, None]) -> list[ir.Value | None]:
    """Operands in canonical order: of a commutative pair, values computed inside first and constants last."""

    def place(value: ir.Value | None) -> int:
        if value is not None and value.producer() in members:
            return 0
        return 2 if constant_tensor(value) is not None else 1

    values = list(node.inputs)
    if len(values) == 2 and node.op_type in COMMUTATIVE and node.domain == "":
        values.sort(key=place)
    while values and values[-1] is None:
        values.pop()
    return values


def canonical_order(sink: ir.Node, members: Mapping[ir.Node, None]) -> list[ir.Node]:
    """Members in depth-first post-order from the sink, operands left to right."""
    ordered: list[ir.Node] = []
    seen = {sink}
    stack: list[tuple[ir.Node, Iterator[ir.Value | None]]] = [(sink, iter(_operands(sink, members)))]
    while stack:
        node, operands = stack[-1]
        for value in operands:
            producer = value.producer() if value is not None else None
            if producer is not None and producer in members and producer not in seen:
                seen.add(producer)
                stack.append((producer, iter(_operands(producer, members))))
                break
        else:
            ordered.append(node)
            stack.pop()
    return ordered


def write_body(
    members: Mapping[ir.Node, None], ordered: Sequence[ir.Node], opsets: Mapping[str, int]
) -> Body:
    """The canonical body of a group.

    Args:
        members: The group.
        ordered: The same nodes as :func:`canonical_order` gives them, the sink last.
        opsets: Version of each domain.

    Raises:
        PassError: A node holds a subgraph.
    """
    return _Writer(members, opsets).write(ordered)


class _Writer:
    """Turns ordered nodes into a canonical body."""

    def __init__(self, members: Mapping[ir.Node, None], opsets: Mapping[str, int]) -> None:
        self.members = members
        self.opsets = opsets
        self.names: dict[ir.Value, str] = {}
        self.body = Body()

    def write(self, ordered: Sequence[ir.Node]) -> Body:
        count = 0
        for node in ordered:
            operands = tuple(self._operand(node, value) for value in _operands(node, self.members))
            results = []
            for value in node.outputs:
                used = value.is_graph_output() or use_count(value) > 0
                self.names[value] = f"t{count}" if used else ""
                results.append(self.names[value])
                count += used
            version = self.opsets.get(node.domain, 1)
            attributes = _canonical_attributes(node, version)
            self.body.steps.append(
                _Step(node.op_type, node.domain, version, operands, tuple(results), attributes)
            )
        self.body.outputs = [self.names[v] for v in ordered[-1].outputs if escapes(v, self.members)]
        return self.body

    def _operand(self, node: ir.Node, value: ir.Value | None) -> str:
        if value is None:
            return ""
        if value.producer() not in self.members:
            constant = _body_constant(node, value)
            if constant is not None:
                return self.body.constants.setdefault(constant, f"c{len(self.body.constants)}")
            if value not in self.names:
                self.names[value] = f"x{len(self.body.inputs)}"
                self.body.inputs.append(value)
        return self.names[value]


def _body_constant(node: ir.Node, value: ir.Value) -> _Constant | None:
    """The constant that ``value`` becomes inside the body, or None if it stays an operand.

    Inside go operands that steer the op (axes, clip bounds, exponents) and round scalars such as 0.5 or 6,
    which people write and models share. Scalars with a full mantissa are mostly learned and differ from
    layer to layer: as operands they let those layers share one kernel.
    """
    steering = [i for i, v in enumerate(node.inputs) if v is value and i in STEERING.get(node.op_type, ())]
    if node.domain != "" or not (steering or node.op_type in BROADCASTING):
        return None
    array = constant_value(value, max_bytes=8 * MAX_CONSTANT_ELEMENTS)
    if array is None or value.dtype is None or array.size > MAX_CONSTANT_ELEMENTS:
        return None
    scalar = array.size == 1
    whole = array.dtype.kind in "iub"
    if not ((steering and (scalar or whole)) or (scalar and (whole or _is_round(array)))):
        return None
    shape = array.shape
    if scalar and _another_operand_has_rank(node, value, len(shape)):
        shape = ()  # [1] and [] broadcast alike; one form, one kernel
    return _Constant(value.dtype, shape, np.ascontiguousarray(array).tobytes())


def _is_round(array: np.ndarray) -> bool:
    """Whether a float scalar has at most 8 significant bits (0.5, 6, 0.125, -1, but not 0.1)."""
    number = float(array.reshape(())) if array.dtype.kind == "f" else float("nan")
    if not np.isfinite(number):
        return False
    mantissa = np.frexp(number)[0] * 256.0
    return bool(mantissa == np.trunc(mantissa))


def _another_operand_has_rank(node: ir.Node, value: ir.Value, rank: int) -> bool:
    """Whether a broadcasting op has an operand other than ``value`` of at least this rank."""
    if node.op_type not in BROADCASTING:
        return False
    others = [v for v in node.inputs if v is not None and v is not value and v.shape is not None]
    return any(len(v.shape) >= rank and constant_tensor(v) is None for v in others if v.shape is not None)


@lru_cache(maxsize=4096)
def _defaults(domain: str, op: str, version: int) -> Mapping[str, Any]:
    """Attribute defaults of an op's schema; empty if the op has none."""
    try:
        schema = onnx.defs.get_schema(op, version, domain)
    except onnx.defs.SchemaError:
        return {}
    values = {}
    for name, attribute in schema.attributes.items():
        if attribute.default_value.type != onnx.AttributeProto.UNDEFINED:
            values[name] = onnx.helper.get_attribute_value(attribute.default_value)
    return values


def _canonical_attributes(node: ir.Node, version: int) -> tuple[ir.Attr, ...]:
    """Attributes by name, those at their default left out."""
    defaults = _defaults(node.domain, node.op_type, version)
    kept = []
    for name in sorted(node.attributes):
        attribute = node.attributes[name]
        if attribute.is_ref() or attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
            raise PassError("cannot outline", where=describe(node), why=f"attribute {name} holds a graph")
        default = defaults.get(name)
        value = attribute.value.encode() if isinstance(attribute.value, str) else attribute.value
        if default is not None and not isinstance(default, onnx.TensorProto):
            if isinstance(default, list):
                value = list(value)
            if value == default:
                continue
        kept.append(attribute)
    return tuple(kept)


def _attribute_text(attribute: ir.Attr) -> str:
    if attribute.type == ir.AttributeType.TENSOR:
        tensor = attribute.as_tensor()
        return f"{tensor.dtype.name}{list(tensor.shape)} {hashlib.sha256(tensor.tobytes()).hexdigest()}"
    if isinstance(attribute.value, (int, float, str)):
        return repr(attribute.value)
    return repr(list(attribute.value))


def build_function(body: Body, domain: str, name: str) -> ir.Function:
    """The ONNX function of a canonical body; its values are called as in the body's text."""
    values: dict[str, ir.Value | None] = {"": None}
    inputs = [ir.Value(name=f"x{i}") for i in range(len(body.inputs))]
    values.update((str(value.name), value) for value in inputs)
    nodes: list[ir.Node] = []
    for constant, label in body.constants.items():
        array = np.frombuffer(constant.data, dtype=constant.dtype.numpy()).reshape(constant.shape)
        attribute = ir.AttrTensor("value", ir.Tensor(array, dtype=constant.dtype))
        values[label] = _append(nodes, "Constant", "", [], [label], [attribute])[0]
    for step in body.steps:
        operands = [values[operand] for operand in step.operands]
        attributes = [ir.Attr(a.name, a.type, a.value) for a in step.attributes]
        results = _append(nodes, step.op, step.domain, operands, step.results, attributes)
        values.update((label, value) for label, value in zip(step.results, results, strict=True) if label)
    outputs = [value for label in body.outputs if (value := values[label]) is not None]
    opsets = {step.domain: step.version for step in body.steps}
    graph = ir.Graph(inputs, outputs, nodes=nodes, opset_imports=opsets, name=name)
    return ir.Function(domain, name, graph=graph, attributes=[])


def _append(
    nodes: list[ir.Node],
    op: str,
    domain: str,
    operands: Sequence[ir.Value | None],
    results: Sequence[str],
    attributes: Sequence[ir.Attr],
) -> Sequence[ir.Value]:
    outputs = [ir.Value(name=label) for label in results]
    node = ir.Node(domain, op, operands, attributes, outputs=outputs, name=f"n{len(nodes)}")
    nodes.append(node)
    return outputs
