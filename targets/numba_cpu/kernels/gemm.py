"""Family ``gemm``: matrix products of any rank with an epilogue, and pointwise convolutions.

Inputs: A, B, then the epilogue's operands. Output: C. Parameters:

- ``dtype``: float32 or float64; ``mr``, ``nv``: the register tile.
- ``axis``: logical dim of A and C that holds the reduction and the columns: -1 for MatMul (rows are the other
  dims), 1 for a pointwise convolution on ``[N, C, spatial...]``.
- ``a``: ``strided`` (unit stride along K) or ``columns`` (unit stride along M).
- ``b``: ``packed`` (B is ``[P, K, NR]``, see packing.py), ``rows`` or ``any`` (B is ``[..., K, N]``; ``rows``
  needs unit stride along N).
- ``epilogue``, ``kinds``: expression and how each operand meets a row (tiles.KINDS); operands broadcast to C.
- ``a_vector``, ``b_vector``: A is ``[K]``, B was ``[K]``: C lacks that dim.
"""

from __future__ import annotations

from collections.abc import Sequence

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import Binding, Family, KernelSource, Params, Tensor
from accelc.targets.numba_cpu.kernels.gemm_text import (
    ANY,
    COLUMNS,
    PACKED,
    ROWS,
    STRIDED,
    bind_product,
    itemsize_of,
    kernel_text,
)
from accelc.targets.numba_cpu.kernels.operands import broadcast, check_operands, check_tile, collapse
from accelc.targets.numba_cpu.kernels.schedule import plan
from accelc.targets.numba_cpu.kernels.tiles import Epilogue, check_epilogue, tile_of


class Gemm(Family):
    """C = epilogue(A @ B)."""

    name = "gemm"

    def check(self, params: Params) -> None:
        """See the base class."""
        check_tile(params)
        if params.get("b") not in (PACKED, ROWS, ANY):
            raise ArtifactError(f"gemm: B is {params.get('b')!r}", why="one of packed, rows, any")
        if params.get("a") not in (STRIDED, COLUMNS):
            raise ArtifactError(f"gemm: A is {params.get('a')!r}", why="strided or columns")
        if params.get("axis") not in (-1, 1):
            raise ArtifactError(f"gemm: axis is {params.get('axis')!r}", why="-1 or 1")
        for name in ("a_vector", "b_vector"):
            if not isinstance(params.get(name, False), bool):
                raise ArtifactError(f"gemm: {name} is {params[name]!r}", why="true or false")
        check_epilogue(params)

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See the base class."""
        tile = tile_of(params, isa)
        text = kernel_text(tile, params["dtype"], params["a"], params["b"], Epilogue.of(params))
        return KernelSource(f"gemm_{params['dtype']}_{tile.mr}x{tile.nr}_{params['a']}_{params['b']}", text)

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See the base class. A ``[..., M, K]``, B ``[..., K, N]`` or panels, C ``[..., M, N]``."""
        a, b, c = inputs[0], inputs[1], outputs[0]
        if a is None or b is None:
            raise CallError("a matrix product lacks an operand")
        axis, packed = params["axis"], params["b"] == PACKED
        operands = [tensor for tensor in inputs[2:] if tensor is not None]
        if c.size == 0:
            return Binding([], 0)
        a, c, operands = _with_all_dims(params, a, c, operands)
        rank = len(c.shape)
        column = axis % rank
        depth = a.shape[axis % len(a.shape)]
        tile = tile_of(params, isa)
        width = c.shape[column]
        self._check_extents(params, a, b, c, depth, tile.nr)
        shape = c.shape[:column] + c.shape[column + 1 :]
        rows = [_row_strides(tensor, c.shape, column) for tensor in (a, c, *operands)]
        b_rows = (
            (0,) * (rank - 1) if packed else (*broadcast(b, (*c.shape[:-2], *b.shape[-2:]))[: rank - 2], 0)
        )
        shape, (a_s, c_s, b_s, *op_s) = collapse(shape, [rows[0], rows[1], b_rows, *rows[2:]])
        height = shape[-1] if shape else 1
        if b_s and b_s[-1] != 0:
            # Every row has a B of its own (M is 1): rows are batch items.
            shape, height = (*shape, 1), 1
            a_s, c_s, b_s, op_s = (*a_s, 0), (*c_s, 0), (*b_s, 0), [(*s, 0) for s in op_s]
        ks = a.strides[axis % len(a.shape)] if depth > 1 else 1
        count = 1
        for extent in shape[:-1]:
            count *= extent
        schedule, segments = plan(
            tile, itemsize_of(c), m=height, n=width, segments=[(0, depth)], unit=ks, batch=count
        )
        batch = [
            [shape[i], a_s[i], b_s[i], c_s[i], *(s[i] for s in op_s)] for i in range(len(shape) - 2, -1, -1)
        ]
        last = -1 if shape else 0
        words = {
            "height": height, "width": width, "ks": ks, "row_at": a_s[last] if shape else 0,
            "ldc": c_s[last] if shape else 0, "panel_size": depth * tile.nr,
            "bk": 0 if packed else b.strides[-2], "bn": 0 if packed else b.strides[-1],
        }  # fmt: skip
        if width > 1 and c.strides[column] != 1:
            raise CallError("a matrix product's columns are not contiguous", why=f"strides {c.strides}")
        if (ks != 1) if params["a"] == STRIDED else (height > 1 and words["row_at"] != 1):
            raise CallError("matrix product: A does not lie as its kernel needs", why=f"strides {a.strides}")
        leads = [(tensor, s[last] if shape else 0) for tensor, s in zip(operands, op_s, strict=True)]
        check_operands(params, operands, c.shape, column)
        return bind_product(
            tile, schedule, a=a, b=b, c=c, operands=leads, words=words, batch=batch, segments=segments,
            packs=not packed,
        )  # fmt: skip

    @staticmethod
    def _check_extents(params: Params, a: Tensor, b: Tensor, c: Tensor, depth: int, nr: int) -> None:
        """Extents may come from a user's shapes."""
        column = params["axis"] % len(c.shape)
        if params["b"] == PACKED:
            expected = (-(-c.shape[column] // nr), depth, nr)
            if tuple(b.shape) != expected:
                raise CallError(
                    "matrix product: inner extents differ", why=f"panels {b.shape}, needed {expected}"
                )
            return
        width = 1 if params.get("b_vector") else c.shape[-1]
        if b.shape[-2] != depth or b.shape[-1] != width:
            raise CallError("matrix product: inner extents differ", why=f"A is {a.shape}, B is {b.shape}")
        if params["b"] == ROWS and width > 1 and b.strides[-1] != 1:
            raise CallError("matrix product: B's rows are not contiguous", why=f"strides {b.strides}")


def _with_all_dims(
    params: Params, a: Tensor, c: Tensor, operands: list[Tensor]
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Give back the row or column dim that a vector operand of MatMul takes away."""
    if params.get("b_vector"):
        c = c._replace(shape=(*c.shape, 1), strides=(*c.strides, 1))
        operands = [t._replace(shape=(*t.shape, 1), strides=(*t.strides, 1)) for t in operands]
    if params.get("a_vector"):
        a = a._replace(shape=(1, *a.shape), strides=(0, *a.strides))
        c = _insert(c)
        operands = [_insert(t) for t in operands]
    return a, c, operands


def _insert(tensor: Tensor) -> Tensor:
    """A dim of extent 1 before the last."""
    return tensor._replace(
        shape=(*tensor.shape[:-1], 1, *tensor.shape[-1:]),
        strides=(*tensor.strides[:-1], 0, *tensor.strides[-1:]),
    )


def _row_strides(tensor: Tensor, shape: tuple[int, ...], column: int) -> tuple[int, ...]:
    """Strides along the dims of ``shape`` other than ``column``, broadcast."""
    whole = tensor
    if len(tensor.shape) == len(shape):
        # The reduction of A is no column of C.
        whole = tensor._replace(shape=(*tensor.shape[:column], 1, *tensor.shape[column + 1 :]))
    elif column == len(shape) - 1 and tensor.shape:
        whole = tensor._replace(shape=(*tensor.shape[:-1], 1))
    strides = broadcast(whole, shape)
    return strides[:column] + strides[column + 1 :]
