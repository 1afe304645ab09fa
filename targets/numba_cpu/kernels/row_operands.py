"""How a kernel reads the operands of an expression along a row: vector and scalar loads by access kind.

Access kinds, literal in the text, say how an operand goes along the innermost dim: ``unit`` (stride 1), ``zero``
(one element for the whole row) and ``any`` (a stride known at run time).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accelc.errors import ArtifactError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels import expr_emit
from accelc.targets.numba_cpu.kernels.expr import Expr
from accelc.targets.numba_cpu.kernels.text import POINTERS, scalar_load

ACCESS = ("unit", "zero", "any")

VECTOR_HELPERS = """
@inline
def vload_any(p, o, s):
    if s == 1:
        return vload(p, o)
    if s == 0:
        return vget(p, o)
    return vloads(p, o, s)

@inline
def vload_any_m(p, o, s, count):
    if s == 1:
        return vloadm(p, o, count)
    v = vget(p, o)
    if s != 0:
        for lane in range(1, count):
            v = vsetlane(v, lane, get(p, o + lane * s))
    return v
"""


@dataclass(frozen=True)
class Operands:
    """The operands of an expression in a kernel.

    Args:
        expr: What is computed from them.
        access: Access kind of each operand, by its number.
    """

    expr: Expr
    access: tuple[str, ...]

    @classmethod
    def read(cls, params: Mapping[str, Any], expr_key: str = "expr", access_key: str = "access") -> Operands:
        """The operands that call parameters describe; ``check`` must have let them through."""
        return cls(Expr.from_json(params[expr_key]), tuple(params[access_key]))

    @classmethod
    def check(cls, params: Mapping[str, Any], expr_key: str = "expr", access_key: str = "access") -> Operands:
        """Read and validate.

        Raises:
            ArtifactError: The parameters are malformed.
        """
        try:
            operands = cls.read(params, expr_key, access_key)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(
                "malformed kernel parameters", why=f"no expression in {expr_key!r}"
            ) from error
        expr_emit.check(operands.expr)
        if any(access not in ACCESS for access in operands.access):
            raise ArtifactError("malformed kernel parameters", why=f"{access_key!r} holds an unknown kind")
        if any(k >= len(operands.access) for k in operands.used):
            raise ArtifactError("malformed kernel parameters", why=f"{access_key!r} is too short")
        return operands

    @property
    def used(self) -> list[int]:
        """Numbers of the operands that matter."""
        return expr_emit.used_operands(self.expr)

    def streams(self) -> tuple[str, ...]:
        """Stream name of each operand that matters."""
        return tuple(f"x{k}" for k in self.used)

    def vector_dtype(self) -> str | None:
        """Dtype whose lanes the vectors have; None if scalar code is needed."""
        if not expr_emit.can_vectorize(self.expr):
            return None
        dtype = expr_emit.vector_dtype(self.expr)
        strided = (self.expr.operand_dtype(k) for k in self.used if self.access[k] == "any")
        # Strided loads exist for the natural lane count only.
        return dtype if all(found == dtype for found in strided) else None

    def pointers(self, words: Sequence[int], indent: str) -> list[str]:
        """Statements that make pointer ``p_x<k>`` from the word of each operand that matters."""
        return [
            f"{indent}p_x{k} = {POINTERS[self.expr.operand_dtype(k)]}(get(d, {word}))"
            for k, word in zip(self.used, words, strict=True)
        ]

    def hoisted(self, indent: str, lanes: int) -> list[str]:
        """Statements before a row's vector loop: operands that are one element for the whole row."""
        return [
            f"{indent}v_x{k} = {self._as_vector(k, f'vgetn(p_x{k}, o_x{k}, {lanes})')}"
            for k in self.used
            if self.access[k] == "zero"
        ]

    def hoisted_scalars(self, indent: str) -> list[str]:
        """The same for scalar loops."""
        return [
            f"{indent}v_x{k} = {scalar_load(self.expr.operand_dtype(k), f'p_x{k}', f'o_x{k}')}"
            for k in self.used
            if self.access[k] == "zero"
        ]

    def vector(self, at: str, lanes: int, indent: str, prefix: str, count: str = "") -> tuple[list[str], str]:
        """Statements that compute the expression for the lanes from ``at`` on (only ``count`` of them if given).

        The inner stride of an ``any`` operand is the variable ``t_x<k>``.
        """
        lines, names = [], [""] * (max(self.used, default=-1) + 1)
        for k in self.used:
            if self.access[k] == "zero":
                names[k] = f"v_x{k}"
                continue
            names[k] = f"{prefix}x{k}"
            if self.access[k] == "unit":
                tail = f"vloadmn(p_x{k}, o_x{k} + {at}, {count}, {lanes})"
                text = tail if count else f"vloadn(p_x{k}, o_x{k} + {at}, {lanes})"
            else:
                place = f"p_x{k}, o_x{k} + ({at}) * t_x{k}, t_x{k}"
                text = f"vload_any_m({place}, {count})" if count else f"vload_any({place})"
            lines.append(f"{indent}{names[k]} = {self._as_vector(k, text)}")
        more, result = expr_emit.vector_lines(self.expr, names, prefix, indent)
        return lines + more, result

    def scalar(self, at: str, indent: str, prefix: str) -> tuple[list[str], str]:
        """Statements that compute the expression for the element at ``at``."""
        lines, names = [], [""] * (max(self.used, default=-1) + 1)
        for k in self.used:
            if self.access[k] == "zero":
                names[k] = f"v_x{k}"
                continue
            names[k] = f"{prefix}x{k}"
            step = f" * t_x{k}" if self.access[k] == "any" else ""
            text = scalar_load(self.expr.operand_dtype(k), f"p_x{k}", f"o_x{k} + ({at}){step}")
            lines.append(f"{indent}{names[k]} = {text}")
        more, result = expr_emit.scalar_lines(self.expr, names, prefix, indent)
        return lines + more, result

    def _as_vector(self, k: int, text: str) -> str:
        return f"vcast_mask({text})" if self.expr.operand_dtype(k) == "bool" else text

    def lanes(self, isa: Isa) -> int:
        """Lane count of the vectors; 0 if scalar code is needed."""
        dtype = self.vector_dtype()
        return isa.lanes(dtype) if dtype else 0
