"""Family ``winograd``: 3x3 convolutions with stride 1 by minimal filtering, F(2x2,3x3) and F(4x4,3x3).

Inputs: X ``[N, C, H, W]`` channels last, padded to whole tiles (pad_copy.py), U (see ``pack_winograd``), then the
epilogue's operands. Output: Y ``[N, OC, OH, OW]``, channels last; C and OC are multiples of the vector's lanes.
Parameters: ``dtype``, ``mr``, ``nv``, ``m`` (2 or 4), ``epilogue``, ``kinds``.

A task takes a block of image tiles and a group of output channels: tiles are transformed into the workspace,
``(m + 2)**2`` small matrix products follow, and their results are transformed back. Needs 2.25 (m = 2) or 4 (m = 4)
times fewer multiplications than direct convolution. Rounding grows with m: about 1e-6 and 1e-5 of the largest
output in float32. A NaN or infinity reaches all outputs of the tiles that read it.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import (
    WORKSPACE,
    Address,
    Binding,
    Family,
    KernelSource,
    Params,
    Tensor,
)
from accelc.targets.numba_cpu.kernels.conv import output_rows
from accelc.targets.numba_cpu.kernels.operands import check_operands, check_tile
from accelc.targets.numba_cpu.kernels.packing import pack_panels
from accelc.targets.numba_cpu.kernels.tiles import Epilogue, check_epilogue, tile_of
from accelc.targets.numba_cpu.kernels.winograd_text import WORDS, winograd_text

WEIGHTS: dict[int, np.ndarray] = {
    2: np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
    4: np.array(
        [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6], [1 / 24, 1 / 12, 1 / 6],
         [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]
    ),
}  # fmt: skip
"""The matrix that transforms weights, by m."""

GROUP = 4
"""Panels of a task: enough that transforming a tile again for another group costs little."""
BLOCK = {2: 48, 4: 24}
"""Tiles of a task: weights come from the L3 cache or memory once for each block."""


def pack_winograd(weight: np.ndarray, m: int, nr: int) -> np.ndarray:
    """Weights ``[OC, C, 3, 3]`` transformed, as panels ``[(m + 2)**2, P, C, nr]``."""
    g = WEIGHTS[m]
    transformed = np.einsum("ai,ocij,bj->abco", g, weight.astype(np.float64), g, optimize=True)
    flat = transformed.reshape(-1, *transformed.shape[2:]).astype(weight.dtype)
    return np.stack([pack_panels(item, nr) for item in flat])


class Winograd(Family):
    """Y = epilogue(conv3x3(X, W)) by minimal filtering."""

    name = "winograd"

    def check(self, params: Params) -> None:
        """See the base class."""
        check_tile(params)
        if params.get("m") not in WEIGHTS or isinstance(params["m"], bool):
            raise ArtifactError(f"winograd: m is {params.get('m')!r}", why="2 or 4")
        check_epilogue(params)

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See the base class."""
        tile = tile_of(params, isa)
        text = winograd_text(tile, params["dtype"], params["m"], Epilogue.of(params))
        return KernelSource(f"winograd_{params['dtype']}_f{params['m']}_{tile.mr}x{tile.nr}", text)

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See the base class."""
        x, u, y = inputs[0], inputs[1], outputs[0]
        if x is None or u is None:
            raise CallError("a convolution lacks an operand")
        if y.size == 0:
            return Binding([], 0)
        operands = [tensor for tensor in inputs[2:] if tensor is not None]
        tile, m = tile_of(params, isa), params["m"]
        images, channels = x.shape[:2]
        columns, out_h, out_w = y.shape[1:]
        tiles_h, tiles_w = -(-out_h // m), -(-out_w // m)
        panels = -(-columns // tile.nr)
        self._check(params, x, u, y, (tiles_h * m + 2, tiles_w * m + 2), panels, tile.nr, tile.lanes)
        check_operands(params, operands, y.shape, 1)
        by_image, pixel, leads = output_rows(y, operands)
        if by_image is None:
            by_image = [out_h * out_w * step for step in (pixel, *leads)]
        tiles = images * tiles_h * tiles_w
        blocks = -(-tiles // BLOCK[m])
        # An even number of equal blocks, so that two threads finish together.
        blocks += blocks % 2 if blocks > 2 else 0
        block = -(-tiles // blocks)
        blocks = -(-tiles // block)
        group = min(GROUP, panels)
        groups = -(-panels // group)
        rows = block + tile.mr
        size = 8 if params["dtype"] == "float64" else 4
        taps = (m + 2) ** 2
        scratch_at = 0
        v_at = scratch_at + -(-m * m * tile.lanes * size // 64) * 64
        products_at = v_at + -(-taps * rows * channels * size // 64) * 64
        workspace = products_at + taps * group * rows * tile.nr * size
        words: list[int | Address] = [
            Address(WORKSPACE), -(-workspace // 64) * 64, x.address(), u.address(), y.address(), channels, columns,
            panels, group, groups, tiles, tiles_w, tiles_h * tiles_w, block, rows, out_h, out_w, x.strides[0],
            x.strides[2], x.strides[3], by_image[0], pixel, v_at, products_at, 0, channels,
        ]  # fmt: skip
        assert len(words) == len(WORDS)
        for tensor, image, lead in zip(operands, by_image[1:], leads, strict=True):
            words += [tensor.address(), image, lead]
        return Binding(words, blocks * groups, 1, -(-workspace // 64) * 64)

    @staticmethod
    def _check(
        params: Params,
        x: Tensor,
        u: Tensor,
        y: Tensor,
        needed: tuple[int, int],
        panels: int,
        nr: int,
        lanes: int,
    ) -> None:
        """Raise CallError unless shapes fit and memory is channels-last."""
        if len(x.shape) != 4 or len(y.shape) != 4 or x.shape[0] != y.shape[0]:
            raise CallError("a convolution's operands do not fit", why=f"input {x.shape}, output {y.shape}")
        if x.shape[2] < needed[0] or x.shape[3] < needed[1]:
            raise CallError(
                "a convolution's window leaves its input", why=f"input {x.shape}, output {y.shape}"
            )
        if (
            u.shape != ((params["m"] + 2) ** 2, panels, x.shape[1], nr)
            or x.shape[1] % lanes
            or y.shape[1] % lanes
        ):
            raise CallError(
                "a convolution's weights do not fit its input", why=f"weights {u.shape}, input {x.shape}"
            )
        if x.strides[1] != 1 or y.strides[1] != 1:
            raise CallError("a convolution's channels are not adjacent", why=f"{x.strides}, {y.strides}")
