"""The lowering table: which function lowers which op, from which opset version on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.expr import Expr
from accelc.targets.numba_cpu.program import Dims, Value

if TYPE_CHECKING:
    from accelc.targets.numba_cpu.lower.context import LowerContext


@dataclass(frozen=True)
class OutSpec:
    """Name, dtype and dims of a node's output."""

    name: str
    dtype: str
    dims: Dims


@dataclass(frozen=True)
class Op:
    """One node to lower, its operands resolved, with what was fused around it.

    ``prologue`` maps (operand 0 = this op's first input, operand k = ``prologue_operands[k-1]``) to what the op
    really reads; ``epilogue`` maps (operand 0 = the op's result, operand k = ``epilogue_operands[k-1]``) to what
    it really writes. ``outputs`` is what is written, after the epilogue.
    """

    op_type: str
    domain: str
    version: int
    inputs: tuple[Value | None, ...]
    outputs: tuple[OutSpec, ...]
    attrs: Mapping[str, Any]
    origin: tuple[str, ...] = ()
    prologue: Expr | None = None
    prologue_operands: tuple[Value, ...] = ()
    epilogue: Expr | None = None
    epilogue_operands: tuple[Value, ...] = ()

    def input(self, i: int) -> Value | None:
        """Input ``i``, None where absent."""
        return self.inputs[i] if i < len(self.inputs) else None


Lowering = Callable[["LowerContext", Op], Refusal | None]


@dataclass
class LoweringTable:
    """Lowerings by (domain, op), each with the opset version from which it holds."""

    rules: dict[tuple[str, str], list[tuple[int, Lowering]]] = field(default_factory=dict)
    fusable: set[tuple[str, str]] = field(default_factory=set)

    def op(
        self, op_type: str, *, since: int = 1, domain: str = "", fuses: bool = False
    ) -> Callable[[Lowering], Lowering]:
        """Register a lowering; ``fuses`` says that it takes a prologue and epilogue."""

        def register(function: Lowering) -> Lowering:
            rules = self.rules.setdefault((domain, op_type), [])
            rules.append((since, function))
            rules.sort(key=lambda rule: -rule[0])
            if fuses:
                self.fusable.add((domain, op_type))
            return function

        return register

    def find(self, domain: str, op_type: str, version: int) -> Lowering | None:
        """The newest lowering not above ``version``."""
        for since, function in self.rules.get((domain, op_type), ()):
            if since <= version:
                return function
        return None

    def merge(self, tables: Iterable[LoweringTable]) -> LoweringTable:
        """Add all rules of other tables."""
        for table in tables:
            for key, rules in table.rules.items():
                self.rules.setdefault(key, []).extend(rules)
                self.rules[key].sort(key=lambda rule: -rule[0])
            self.fusable |= table.fusable
        return self

    def __iter__(self) -> Iterator[tuple[str, str, int]]:
        """(domain, op, since) of every rule."""
        for (domain, op_type), rules in sorted(self.rules.items()):
            for since, _ in rules:
                yield domain, op_type, since
