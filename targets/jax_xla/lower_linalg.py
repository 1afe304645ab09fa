"""Linear algebra: MatMul, Gemm, Einsum, Det."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp

from accelc.targets.jax_xla import precision
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    import jax

    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()


@TABLE.op("MatMul")
def mat_mul(ctx: Ctx, a: Array, b: Array) -> Array:
    """``a @ b``: [..., M, K] and [..., K, N], leading dims broadcast, vectors as NumPy takes them.

    Dtypes: floats and integers; halves are summed in float32. Source: ONNX MatMul-13.
    """
    return precision.matmul(ctx, a, b)


@TABLE.op("Gemm")
def gemm(
    ctx: Ctx,
    a: Array,
    b: Array,
    c: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    trans_a: int = 0,
    trans_b: int = 0,
    broadcast: int = 1,
) -> Array:
    """``alpha * A' @ B' + beta * C``.

    Shapes: a [M, K] ([K, M] if trans_a), b [K, N] ([N, K] if trans_b), c broadcastable to [M, N]; result [M, N].
    ``broadcast`` is an attribute of opset 6 that says what is always allowed since. Integers are scaled in float64.
    Source: ONNX Gemm-13.
    """
    left, right = (jnp.asarray(x) for x in (a, b))
    wanted = left.dtype
    wide = precision.sum_dtype(wanted)
    product = precision.matmul(ctx, left.T if trans_a else left, right.T if trans_b else right, wide)
    if alpha != 1.0:
        product = (product * alpha).astype(wide)
    if c is not None and beta != 0.0:
        addend = jnp.asarray(c).astype(wide)
        product = product + (addend if beta == 1.0 else (addend * beta).astype(wide))
    return product.astype(wanted)


@TABLE.op("Einsum")
def einsum(ctx: Ctx, *operands: Array, equation: str) -> Array:
    """Einstein sum; NumPy's notation with ellipses. Source: ONNX Einsum-12."""
    return precision.einsum(ctx, equation.replace(" ", ""), *operands)


@TABLE.op("Det")
def det(ctx: Ctx, x: Array) -> Array:
    """Determinants of [..., M, M]. Source: ONNX Det-22."""
    given = jnp.asarray(x)
    wide: jax.Array = jnp.linalg.det(given.astype(precision.sum_dtype(given.dtype)))
    return wide.astype(given.dtype)
