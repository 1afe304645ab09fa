"""Operator schemas as small, cached facts: arity, attributes, type constraints.

Source: the schemas registered in ``onnx.defs``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
import onnx.defs
import onnx_ir as ir

UNBOUNDED = 2147483647


@dataclass(frozen=True)
class Formal:
    """One formal parameter: its name, type variable (or type), and whether it may be left out or repeats."""

    name: str
    type_str: str
    optional: bool
    variadic: bool
    homogeneous: bool


@dataclass(frozen=True)
class Schema:
    """What a node of one op at one opset version may look like.

    ``attributes`` maps a name to (type number as in AttributeProto, required). ``allowed`` maps a type
    variable to the type strings it may take, for example ``{"T": frozenset({"tensor(float)"})}``.
    """

    since: int
    deprecated: bool
    inputs: tuple[Formal, ...]
    outputs: tuple[Formal, ...]
    min_inputs: int
    max_inputs: int
    min_outputs: int
    max_outputs: int
    attributes: Mapping[str, tuple[int, bool]]
    allowed: Mapping[str, frozenset[str]]


_ATTRIBUTE_TYPES: Mapping[str, int] = dict(onnx.AttributeProto.AttributeType.items())


def domain_of(domain: str) -> str:
    """The domain in its canonical form: ``ai.onnx`` is the empty string."""
    return "" if domain == "ai.onnx" else domain


@functools.cache
def known_domains() -> Mapping[str, int]:
    """Newest version of every domain whose ops this ONNX build knows."""
    newest: dict[str, int] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        newest[schema.domain] = max(newest.get(schema.domain, 0), schema.since_version)
    newest[""] = onnx.defs.onnx_opset_version()
    return newest


@functools.cache
def newest_ops() -> Mapping[tuple[str, str], int]:
    """Newest version of every op of the standard by (domain, op); deprecated ones are left out."""
    return {
        (schema.domain, schema.name): schema.since_version
        for schema in onnx.defs.get_all_schemas()
        if not schema.deprecated
    }


@functools.cache
def _is_op_name(domain: str, op_type: str) -> bool:
    return onnx.defs.has(op_type, domain)


@functools.lru_cache(maxsize=4096)
def schema_of(op_type: str, domain: str, version: int) -> Schema | None:
    """The schema in force for ``op_type`` at opset ``version``; None if ONNX does not define it there."""
    try:
        raw = onnx.defs.get_schema(op_type, version, domain_of(domain))
    except onnx.defs.SchemaError:
        return None
    return Schema(
        since=raw.since_version,
        deprecated=raw.deprecated,
        inputs=tuple(_formal(p) for p in raw.inputs),
        outputs=tuple(_formal(p) for p in raw.outputs),
        min_inputs=raw.min_input,
        max_inputs=raw.max_input,
        min_outputs=raw.min_output,
        max_outputs=raw.max_output,
        attributes={
            name: (_ATTRIBUTE_TYPES[str(attr.type).rpartition(".")[2]], bool(attr.required))
            for name, attr in raw.attributes.items()
        },
        allowed={c.type_param_str: frozenset(c.allowed_type_strs) for c in raw.type_constraints},
    )


def _formal(raw: onnx.defs.OpSchema.FormalParameter) -> Formal:
    option = onnx.defs.OpSchema.FormalParameterOption
    return Formal(
        raw.name,
        raw.type_str,
        raw.option == option.Optional,
        raw.option == option.Variadic,
        bool(raw.is_homogeneous),
    )


def arity_problem(schema: Schema, inputs: int, outputs: int) -> str | None:
    """Why these operand counts are wrong, or None; trailing omitted operands do not count.

    Args:
        schema: The op's schema.
        inputs: Number of inputs up to the last one given.
        outputs: Number of outputs up to the last one named.
    """
    for what, count, low, high in (
        ("inputs", inputs, schema.min_inputs, schema.max_inputs),
        ("outputs", outputs, min(schema.min_outputs, 1), schema.max_outputs),
    ):
        if not low <= count <= high:
            expected = (
                str(low) if low == high else f"at least {low}" if high >= UNBOUNDED else f"{low} to {high}"
            )
            return f"expected {expected} {what}, got {count}"
    return None


def missing_input(schema: Schema, given: list[bool]) -> str | None:
    """Name of the first required input that was left out (an empty name in the middle), or None."""
    for index, present in enumerate(given):
        if not present and index < len(schema.inputs):
            formal = schema.inputs[index]
            if not formal.optional and not formal.variadic:
                return formal.name
    return None


def type_string(type_: ir.TypeProtocol | None) -> str | None:
    """A value's type as schemas write it (``tensor(float)``, ``seq(tensor(int64))``); None if not known."""
    if type(type_) is ir.TensorType:
        return _TENSOR_TEXT.get(ir.DataType(type_.dtype))
    wraps: list[str] = []
    current = type_
    while isinstance(current, ir.SequenceType | ir.OptionalType):
        wraps.append("seq" if isinstance(current, ir.SequenceType) else "optional")
        current = current.elem_type
    if isinstance(current, ir.SparseTensorType):
        wraps.append("sparse_tensor")
    elif isinstance(current, ir.TensorType):
        wraps.append("tensor")
    else:
        return None
    if current.dtype == ir.DataType.UNDEFINED:
        return None
    text = _DTYPE_TEXT.get(current.dtype, current.dtype.name.lower())
    for wrap in reversed(wraps):
        text = f"{wrap}({text})"
    return text


_DTYPE_TEXT = {ir.DataType.FLOAT: "float", ir.DataType.DOUBLE: "double"}
_TENSOR_TEXT: dict[ir.DataType, str] = {
    dtype: f"tensor({_DTYPE_TEXT.get(dtype, dtype.name.lower())})"
    for dtype in ir.DataType
    if dtype != ir.DataType.UNDEFINED
}
