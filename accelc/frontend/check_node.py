"""Checks of one node of a model file: op, arity, attributes, bodies of control flow.

Source: the schemas of ``onnx.defs`` and https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from accelc.errors import InvalidModelError
from accelc.frontend.tensors import check_tensor
from accelc.ir.schemas import Schema, arity_problem, domain_of, known_domains, missing_input, schema_of

_TYPE = onnx.AttributeProto
_FIELD_OF_TYPE = {
    _TYPE.FLOAT: "f",
    _TYPE.INT: "i",
    _TYPE.STRING: "s",
    _TYPE.TENSOR: "t",
    _TYPE.GRAPH: "g",
    _TYPE.SPARSE_TENSOR: "sparse_tensor",
    _TYPE.TYPE_PROTO: "tp",
    _TYPE.FLOATS: "floats",
    _TYPE.INTS: "ints",
    _TYPE.STRINGS: "strings",
    _TYPE.TENSORS: "tensors",
    _TYPE.GRAPHS: "graphs",
    _TYPE.SPARSE_TENSORS: "sparse_tensors",
    _TYPE.TYPE_PROTOS: "type_protos",
}
_SINGLE = ("t", "g", "sparse_tensor", "tp")


def check_node(
    node: onnx.NodeProto,
    where: str,
    opsets: Mapping[str, int],
    functions: Mapping[tuple[str, str, str], onnx.FunctionProto],
    *,
    in_function: bool,
) -> None:
    """Check one node without its subgraphs' contents.

    Args:
        node: The node.
        where: Its place, for errors.
        opsets: Opset imports in force.
        functions: The model's functions by (domain, name, overload).
        in_function: Whether attributes may refer to a function's parameters.

    Raises:
        InvalidModelError: The node breaks a rule.
    """
    if not node.op_type:
        raise InvalidModelError("a node has no op type", where=where)
    domain = domain_of(node.domain)
    if domain not in opsets:
        raise InvalidModelError(
            f"domain {domain or 'ai.onnx'!r} is used but not imported",
            where=where,
            why=f"imported: {', '.join(name or 'ai.onnx' for name in sorted(opsets)) or 'nothing'}",
        )
    _check_attributes(node, where, in_function=in_function)
    function = functions.get((domain, node.op_type, node.overload))
    if function is not None:
        if len(node.input) > len(function.input) or len(node.output) > len(function.output):
            raise InvalidModelError(
                f"a call of {node.op_type} does not fit the function",
                where=where,
                why=f"it takes {len(function.input)} and gives {len(function.output)}, "
                f"the call has {len(node.input)} and {len(node.output)}",
            )
        return
    schema = schema_of(node.op_type, domain, opsets[domain])
    if schema is not None:
        _check_schema(node, schema, where)
    elif domain in known_domains() and opsets[domain] <= known_domains()[domain]:
        raise InvalidModelError(
            f"there is no op {node.op_type}",
            where=where,
            why=f"opset {opsets[domain]} of {domain or 'ai.onnx'}",
        )
    if domain == "" and node.op_type in ("If", "Loop"):
        _check_bodies(node, where)


def _check_schema(node: onnx.NodeProto, schema: Schema, where: str) -> None:
    if schema.deprecated:
        raise InvalidModelError(f"{node.op_type} was removed from this opset", where=where)
    given = [bool(name) for name in node.input]
    named = [bool(name) for name in node.output]
    problem = arity_problem(schema, _count(given), _count(named))
    if problem is None and (name := missing_input(schema, given)) is not None:
        problem = f"required input {name} is left out"
    if problem is not None:
        raise InvalidModelError(f"{node.op_type} has the wrong operands", where=where, why=problem)
    present = set()
    for attr in node.attribute:
        present.add(attr.name)
        if attr.name not in schema.attributes:
            if attr.name.startswith("__"):
                continue
            raise InvalidModelError(
                f"{node.op_type} has no attribute {attr.name}",
                where=where,
                why=f"it has {', '.join(sorted(schema.attributes)) or 'none'}",
            )
        wanted = schema.attributes[attr.name][0]
        if attr.type not in (wanted, _TYPE.UNDEFINED):
            raise InvalidModelError(
                f"attribute {attr.name} has the wrong type",
                where=where,
                why=f"expected {_TYPE.AttributeType.Name(wanted)}, got {_type_name(attr.type)}",
            )
    missing = sorted(
        name for name, (_, required) in schema.attributes.items() if required and name not in present
    )
    if missing:
        raise InvalidModelError(f"{node.op_type} lacks the attribute {missing[0]}", where=where)


def _type_name(number: int) -> str:
    return str(_TYPE.AttributeType.Name(number)) if number in _TYPE.AttributeType.values() else str(number)


def _count(given: list[bool]) -> int:
    """Operands up to the last one given."""
    return max((index + 1 for index, present in enumerate(given) if present), default=0)


def _check_attributes(node: onnx.NodeProto, where: str, *, in_function: bool) -> None:
    names: set[str] = set()
    for attr in node.attribute:
        if not attr.name or attr.name in names:
            what = f"attribute {attr.name} is given twice" if attr.name else "an attribute has no name"
            raise InvalidModelError(what, where=where)
        names.add(attr.name)
        if attr.ref_attr_name:
            if not in_function:
                raise InvalidModelError(
                    f"attribute {attr.name} refers to a function's parameter outside of a function",
                    where=where,
                )
            continue
        if attr.type == _TYPE.UNDEFINED:
            attr.type = _type_by_content(attr, where)
        field = _FIELD_OF_TYPE.get(attr.type)
        if field is None:
            raise InvalidModelError(f"attribute {attr.name} has the unknown type {attr.type}", where=where)
        if field in _SINGLE and not attr.HasField(field):
            raise InvalidModelError(f"attribute {attr.name} has no value", where=where)
        for tensor in [attr.t] if field == "t" else attr.tensors if field == "tensors" else ():
            check_tensor(tensor, f"{where}, attribute {attr.name}")


def _type_by_content(attr: onnx.AttributeProto, where: str) -> onnx.AttributeProto.AttributeType:
    """IR version 1 had no attribute types: the field that is filled tells."""
    for number, field in _FIELD_OF_TYPE.items():
        if len(getattr(attr, field)) if field.endswith("s") and field != "s" else attr.HasField(field):
            return number
    raise InvalidModelError(f"attribute {attr.name} has neither type nor value", where=where)


def _check_bodies(node: onnx.NodeProto, where: str) -> None:
    """If branches give as many values as the node; a Loop body takes and gives what the node carries."""
    for attr in node.attribute:
        if not attr.HasField("g"):
            continue
        takes, gives = len(attr.g.input), len(attr.g.output)
        if node.op_type == "If":
            wanted = (0, len(node.output))
        else:
            wanted = (len(node.input) if len(node.input) > 2 else 2, len(node.output) + 1)
        if (takes, gives) != wanted and not (
            node.op_type == "Loop" and takes == wanted[0] and gives > wanted[1]
        ):
            raise InvalidModelError(
                f"{attr.name} of {node.op_type} has the wrong inputs or outputs",
                where=where,
                why=f"expected {wanted[0]} inputs and {wanted[1]} outputs, got {takes} and {gives}",
            )
