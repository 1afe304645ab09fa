"""One com.microsoft node, seen by the rule that writes its body in plain ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx

DOMAIN = "com.microsoft"


class Opaque(Exception):  # noqa: N818 - a verdict, not an error: the node stays as it is
    """The node has no plain form, for the reason given."""


@dataclass
class Call:
    """A node with what is known of its operands; collects the lines of its body.

    Args:
        node: The node.
        ranks: Ranks of values, as far as they are declared.
        dtypes: Element types (onnx.TensorProto) of values, as far as they are declared.
    """

    node: onnx.NodeProto
    ranks: Mapping[str, int]
    dtypes: Mapping[str, int]
    lines: list[str] = field(default_factory=list)
    results: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.attributes = {a.name: onnx.helper.get_attribute_value(a) for a in self.node.attribute}

    def has(self, i: int) -> bool:
        """Whether operand ``i`` is given."""
        return i < len(self.node.input) and bool(self.node.input[i])

    def operand(self, i: int) -> str:
        """The name of operand ``i`` in the body."""
        if not self.has(i):
            raise Opaque(f"operand {i} is missing")
        return f"i{i}"

    def wants(self, i: int) -> bool:
        """Whether result ``i`` is used."""
        return i < len(self.node.output) and bool(self.node.output[i])

    def refuse_results(self, *others: int) -> None:
        """Opaque if one of these results is wanted."""
        for i in others:
            if self.wants(i):
                raise Opaque(f"result {i} is used")

    def refuse_operands(self, *others: int) -> None:
        """Opaque if one of these operands is given."""
        for i in others:
            if self.has(i):
                raise Opaque(f"operand {i} is given")

    def rank(self, i: int) -> int | None:
        """Rank of operand ``i``, if known."""
        return self.ranks.get(self.node.input[i]) if self.has(i) else None

    def attr(self, name: str, default: Any) -> Any:
        """An attribute, or its default; text as str."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def add(self, op: str, *operands: str, outputs: int = 1, **attributes: Any) -> str:
        """One line ``name = op<attributes>(operands)``; the name of the (first) result."""
        made = [f"t{len(self.lines)}_{k}" for k in range(outputs)]
        shown = ", ".join(f"{key} = {_literal(value)}" for key, value in attributes.items())
        self.lines.append(f"{', '.join(made)} = {op}{f' <{shown}>' if shown else ''} ({', '.join(operands)})")
        return made[0]

    def number(self, value: float, like: str) -> str:
        """A constant with the element type of ``like``."""
        return self.add("CastLike", self.add("Constant", value_float=float(value)), like)

    def ints(self, *values: int) -> str:
        """A vector of int64."""
        return self.add("Constant", value_ints=list(values))

    def gives(self, i: int, name: str) -> None:
        """Result ``i`` is the value ``name`` of the body."""
        self.results[i] = name


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, float):
        text = repr(value)
        return text if "." in text or "e" in text or "n" in text else f"{text}.0"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_literal(item) for item in value)}]"
    return str(int(value))


Rule = Callable[[Call], None]
"""Writes the body into the call, or raises Opaque."""
