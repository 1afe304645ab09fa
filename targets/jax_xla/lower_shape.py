"""Ops that change dims and keep the elements, and those that make tensors from dims.

Dims may be symbolic (see ``static_values``). Source: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx_ir as ir
from jax import lax

from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.static_values import Dim, axes_of, axis_of, dims_of, given, is_known, product
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()


def _as_array(dims: list[Dim]) -> np.ndarray:
    """Dims as a static value: int64, or objects if some are symbolic."""
    return np.array(dims, dtype=np.int64 if is_known(*dims) else object)


@TABLE.op("Shape")
def shape(ctx: Ctx, x: Array, *, start: int = 0, end: int | None = None) -> np.ndarray:
    """Dims from ``start`` to ``end``, static. Source: ONNX Shape-15."""
    return _as_array(list(x.shape)[start:end])


@TABLE.op("Size")
def size(ctx: Ctx, x: Array) -> np.ndarray:
    """Number of elements, static."""
    return _as_array([product(x.shape)]).reshape(())


@TABLE.op("Identity")
def identity(ctx: Ctx, x: Array) -> Array:
    """The tensor itself."""
    return x


def _target_dims(x: Array, target: list[Dim], allowzero: int) -> list[Dim]:
    """Dims of a Reshape: 0 keeps a dim unless ``allowzero``; -1 stays."""
    if allowzero:
        return target
    return [x.shape[i] if is_known(dim) and dim == 0 else dim for i, dim in enumerate(target)]


@TABLE.op("Reshape", static=(1,))
def reshape(
    ctx: Ctx, x: Array, target: Array | None = None, *, shape: Any = None, allowzero: int = 0
) -> jax.Array:
    """The elements in other dims; before opset 5 these are an attribute. Source: ONNX Reshape-25."""
    dims = _target_dims(x, dims_of(given(target, shape)), allowzero)
    if is_known(*x.shape, *dims) and 0 in x.shape:
        # Nothing is left to divide by: of no elements, an unknown dim is what the known ones allow.
        known = math.prod(dim for dim in dims if dim != -1)
        dims = [math.prod(x.shape) // max(known, 1) if dim == -1 else dim for dim in dims]
    return jnp.reshape(x, dims)


@TABLE.op("Flatten")
def flatten(ctx: Ctx, x: Array, *, axis: int = 1) -> jax.Array:
    """A matrix: dims before ``axis`` by those from it on."""
    at = axis_of(axis, len(x.shape))
    return jnp.reshape(x, (product(x.shape[:at]), product(x.shape[at:])))


@TABLE.op("Squeeze", static=(1,))
def squeeze(ctx: Ctx, x: Array, axes_operand: Array | None = None, *, axes: Any = None) -> jax.Array:
    """Without the axes given, all of extent 1 if none are. Source: ONNX Squeeze-25."""
    chosen = given(axes_operand, axes)
    if chosen is None:
        chosen = [i for i, dim in enumerate(x.shape) if is_known(dim) and dim == 1]
    return lax.squeeze(jnp.asarray(x), axes_of(chosen, len(x.shape)))


@TABLE.op("Unsqueeze", static=(1,))
def unsqueeze(ctx: Ctx, x: Array, axes_operand: Array | None = None, *, axes: Any = None) -> jax.Array:
    """With axes of extent 1 at the places given. Source: ONNX Unsqueeze-25."""
    places = dims_of(given(axes_operand, axes))
    return lax.expand_dims(jnp.asarray(x), axes_of(places, len(x.shape) + len(places)))


@TABLE.op("Transpose")
def transpose(ctx: Ctx, x: Array, *, perm: Any = None) -> jax.Array:
    """Axes in another order, reversed by default."""
    return jnp.transpose(x, perm)


@TABLE.op("Expand", static=(1,))
def expand(ctx: Ctx, x: Array, target: Array) -> jax.Array:
    """Broadcast both ways against a shape."""
    return jnp.broadcast_to(x, jnp.broadcast_shapes(x.shape, tuple(dims_of(target))))


@TABLE.op("Tile", since=6, static=(1,))
def tile(ctx: Ctx, x: Array, repeats: Array) -> jax.Array:
    """Repeated along each axis."""
    return jnp.tile(x, dims_of(repeats))


@TABLE.op("Tile", since=1, static=(1, 2))
def tile_axis(ctx: Ctx, x: Array, tiles: Array, axis: Array) -> jax.Array:
    """``Tile`` before opset 6: ``tiles`` copies along one axis."""
    repeats = np.ones(len(x.shape), np.int64)
    repeats[int(dims_of(axis)[0])] = dims_of(tiles)[0]
    return jnp.tile(x, repeats.tolist())


@TABLE.op("DepthToSpace")
def depth_to_space(ctx: Ctx, x: Array, *, blocksize: int, mode: str = "DCR") -> jax.Array:
    """Blocks of channels become blocks of pixels, [N, C, H, W] to [N, C / b / b, H * b, W * b]."""
    n, c, h, w = x.shape
    depth = c // (blocksize * blocksize)
    if mode == "DCR":
        parts = jnp.reshape(x, (n, blocksize, blocksize, depth, h, w)).transpose(0, 3, 4, 1, 5, 2)
    else:
        parts = jnp.reshape(x, (n, depth, blocksize, blocksize, h, w)).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, depth, h * blocksize, w * blocksize)


@TABLE.op("SpaceToDepth")
def space_to_depth(ctx: Ctx, x: Array, *, blocksize: int, mode: str = "DCR") -> jax.Array:
    """Blocks of pixels become channels, [N, C, H, W] to [N, C * b * b, H / b, W / b]."""
    n, c, h, w = x.shape
    rows, columns = h // blocksize, w // blocksize
    parts = jnp.reshape(x, (n, c, rows, blocksize, columns, blocksize))
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return parts.transpose(order).reshape(n, c * blocksize * blocksize, rows, columns)


@TABLE.op("ConstantOfShape", static=(0,))
def constant_of_shape(ctx: Ctx, target: Array, *, value: Any = None) -> jax.Array:
    """One value everywhere, float32 0 by default."""
    fill = np.zeros(1, np.float32) if value is None else np.asarray(value)
    return jnp.full(dims_of(target), fill.reshape(-1)[0], fill.dtype)


@TABLE.op("EyeLike")
def eye_like(ctx: Ctx, x: Array, *, dtype: int | None = None, k: int = 0) -> jax.Array:
    """Ones on the ``k``-th diagonal of a matrix shaped as ``x``."""
    wanted = x.dtype if dtype is None else ir.DataType(dtype).numpy()
    rows, columns = (lax.broadcasted_iota(jnp.int32, x.shape, axis) for axis in (0, 1))
    return (columns - rows == k).astype(wanted)


@TABLE.op("Range", static=(0, 1, 2))
def range_(ctx: Ctx, start: Array, limit: Array, delta: Array, *, stash_type: int = 1) -> jax.Array:
    """``start + i * delta`` below ``limit``, [ceil((limit - start) / delta)]. Source: ONNX Range-27."""
    dtype = ctx.out_dtype() or start.dtype
    dtype = np.dtype(np.int64 if np.dtype(dtype).hasobject else dtype)
    if np.issubdtype(dtype, np.integer):
        first, last, step = (dims_of(operand)[0] for operand in (start, limit, delta))
        count = -((first - last) // step)
        if is_known(count):
            count = max(count, 0)
        places = lax.iota(np.int64, count) if not is_known(first, count) else np.arange(count, dtype=np.int64)
        return jnp.asarray(places * step + first).astype(dtype)
    first, last, step = (np.asarray(operand, dtype=np.float64).item() for operand in (start, limit, delta))
    count = max(0, math.ceil((last - first) / step))
    return jnp.asarray((np.arange(count) * step + first).astype(dtype))
