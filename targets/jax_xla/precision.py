"""In which type products are computed: operands narrowed as asked, sums in float32 or wider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from accelc.targets.jax_xla.context import Ctx

if TYPE_CHECKING:
    import jax

    from accelc.targets.jax_xla.table import Array

NARROW: dict[str, Any] = {"bf16": jnp.bfloat16, "f16": jnp.float16}
WIDE = 8192
"""Columns from which on the right operand of a product is read by columns on the CPU."""
HALVES: tuple[Any, ...] = (jnp.float16, jnp.bfloat16)


def is_half(dtype: Any) -> bool:
    """Whether sums in ``dtype`` are taken in float32: float16, bfloat16."""
    return any(dtype == half for half in HALVES)


def sum_dtype(dtype: Any) -> Any:
    """The dtype in which values of ``dtype`` are summed: float32 for halves, else itself."""
    return jnp.float32 if is_half(dtype) else np.dtype(dtype)


def operands(ctx: Ctx, *arrays: Array) -> list[jax.Array]:
    """Operands of a product as they enter it.

    float32 is rounded to the precision asked for. The CPU has no products of halves (XLA would widen them one by
    one inside its loops), so there they are widened first; accelerators take them as they are.
    """
    narrow = NARROW.get(ctx.precision)
    taken = []
    for array in arrays:
        given = jnp.asarray(array)
        if narrow is not None and given.dtype == jnp.float32:
            given = given.astype(narrow)
        taken.append(given.astype(jnp.float32) if ctx.platform == "cpu" and is_half(given.dtype) else given)
    return taken


def settings(ctx: Ctx, dtype: Any) -> dict[str, Any]:
    """``precision`` and ``preferred_element_type`` of a product whose operands have ``dtype``; integers keep theirs.

    f32 is full float32 everywhere. tf32 is XLA's default on CUDA and three bfloat16 passes on TPU; elsewhere there
    is no such unit and it is full float32.
    """
    precision = lax.Precision.HIGHEST
    if ctx.precision == "tf32":
        precision = {"cuda": lax.Precision.DEFAULT, "tpu": lax.Precision.HIGH}.get(ctx.platform, precision)
    elif ctx.precision in NARROW:
        precision = lax.Precision.DEFAULT
    return {"precision": precision, "preferred_element_type": sum_dtype(dtype)}


def matmul(ctx: Ctx, a: Array, b: Array, dtype: Any = None) -> jax.Array:
    """``a @ b`` as NumPy broadcasts it, in ``dtype`` (that of ``a`` if None)."""
    wanted = jnp.asarray(a).dtype if dtype is None else dtype
    left, right = operands(ctx, a, b)
    chosen = settings(ctx, left.dtype)
    if ctx.platform == "cpu" and left.ndim and right.ndim == 2 and _is_wide(right.shape[1]):
        # Rows of so many columns lie pages apart: a vocabulary's product takes 0.8 of the time by columns (which a
        # weight is stored by once, see hoist.py).
        contracted = ((left.ndim - 1,), (1,)), ((), ())
        return lax.dot_general(left, right.T, contracted, **chosen).astype(wanted)
    return jnp.matmul(left, right, **chosen).astype(wanted)


def _is_wide(columns: Any) -> bool:
    return isinstance(columns, int) and columns >= WIDE


def einsum(ctx: Ctx, equation: str, *arrays: Array) -> jax.Array:
    """Einstein sum in the dtype of the first operand."""
    wanted = jnp.asarray(arrays[0]).dtype
    taken = operands(ctx, *arrays)
    return jnp.einsum(equation, *taken, **settings(ctx, taken[0].dtype)).astype(wanted)
