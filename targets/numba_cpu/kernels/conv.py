"""Family ``conv``: convolutions as implicit matrix products over output pixels, any spatial rank up to 3.

Inputs: X ``[N, C, spatial...]`` whose channels are adjacent in memory and which needs no padding (see
pad_copy.py), W in panels (packing.pack_convolution), then the epilogue's operands. Output: Y
``[N, OC, spatial...]``, channels last. Parameters: ``dtype``, ``mr``, ``nv``, ``groups``, ``kernel``, ``strides``,
``dilations``, ``epilogue``, ``kinds``. Only dtype, tile and epilogue reach the text.

A tile's rows are output pixels, so tiles run on over row ends; the reduction runs over runs of memory: a kernel
row of a dense channels-last image is one run of ``kw * C`` elements.
"""

from __future__ import annotations

from collections.abc import Sequence

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import Binding, Family, KernelSource, Params, Tensor
from accelc.targets.numba_cpu.kernels.gemm_text import PACKED, PIXELS, bind_product, itemsize_of, kernel_text
from accelc.targets.numba_cpu.kernels.operands import (
    broadcast,
    check_operands,
    check_tile,
    collapse,
    integers,
)
from accelc.targets.numba_cpu.kernels.schedule import plan
from accelc.targets.numba_cpu.kernels.tiles import Epilogue, check_epilogue, tile_of

MAX_SPATIAL = 3
MAX_EXTENT = 1 << 20


class Conv(Family):
    """Y = epilogue(conv(X, W))."""

    name = "conv"

    def check(self, params: Params) -> None:
        """See the base class."""
        check_tile(params)
        check_window(params)
        groups = params.get("groups")
        if isinstance(groups, bool) or not isinstance(groups, int) or not 1 <= groups <= MAX_EXTENT:
            raise ArtifactError(f"convolution: groups is {groups!r}", why="a positive integer")
        check_epilogue(params)

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See the base class."""
        tile = tile_of(params, isa)
        text = kernel_text(tile, params["dtype"], PIXELS, PACKED, Epilogue.of(params))
        return KernelSource(f"conv_{params['dtype']}_{tile.mr}x{tile.nr}", text)

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See the base class."""
        x, w, y = inputs[0], inputs[1], outputs[0]
        if x is None or w is None:
            raise CallError("a convolution lacks an operand")
        operands = [tensor for tensor in inputs[2:] if tensor is not None]
        if y.size == 0:
            return Binding([], 0)
        tile, groups = tile_of(params, isa), params["groups"]
        check_windows(params, x, y)
        channels, outputs_per_group = x.shape[1] // groups, y.shape[1] // groups
        segments = window_segments(params, x, channels)
        depth = sum(length for _, length in segments)
        panels = -(-outputs_per_group // tile.nr)
        if w.shape != (groups * panels, depth, tile.nr):
            raise CallError(
                "a convolution's weights do not fit its input", why=f"panels {w.shape}, input {x.shape}"
            )
        check_operands(params, operands, y.shape, 1)
        images, pixel, leads = output_rows(y, operands)
        extents = [1] * (MAX_SPATIAL + 2 - len(x.shape)) + list(y.shape[2:])
        steps = [0] * (MAX_SPATIAL + 2 - len(x.shape))
        steps += [stride * step for stride, step in zip(x.strides[2:], params["strides"], strict=True)]
        batch = []
        height = extents[0] * extents[1] * extents[2]
        if groups > 1:
            columns = [broadcast(t, y.shape)[1] for t in operands]
            size = panels * depth * tile.nr
            batch.append(
                [groups, channels, size, outputs_per_group, *(s * outputs_per_group for s in columns)]
            )
        if images is not None and y.shape[0] > 1:
            batch.append([y.shape[0], x.strides[0], 0, *images])
        else:
            height *= y.shape[0]
        count = 1
        for row in batch:
            count *= row[0]
        schedule, cut = plan(
            tile, itemsize_of(y), m=height, n=outputs_per_group, segments=segments, unit=1, batch=count
        )
        words = {"height": height, "width": outputs_per_group, "ldc": pixel, "panel_size": depth * tile.nr}
        pairs = list(zip(operands, leads, strict=True))
        return bind_product(
            tile, schedule, a=x, b=w, c=y, operands=pairs, words=words, batch=batch, segments=cut,
            pixels=[*extents, x.strides[0], *steps],
        )  # fmt: skip


def check_window(params: Params) -> None:
    """Raise ArtifactError unless kernel, strides and dilations are lists of positive integers of one length."""
    found = [
        integers(params, name, 1, MAX_EXTENT, MAX_SPATIAL) for name in ("kernel", "strides", "dilations")
    ]
    if len({len(value) for value in found}) != 1:
        raise ArtifactError(
            "convolution: kernel, strides and dilations have different lengths", why=str(found)
        )


def check_windows(params: Params, x: Tensor, y: Tensor) -> None:
    """Raise CallError unless every window lies inside the input and memory is channels-last."""
    rank = len(params["kernel"])
    if len(x.shape) != rank + 2 or len(y.shape) != rank + 2 or x.shape[0] != y.shape[0]:
        raise CallError("a convolution's operands do not fit", why=f"input {x.shape}, output {y.shape}")
    for i, (kernel, stride, dilation) in enumerate(
        zip(params["kernel"], params["strides"], params["dilations"], strict=True), 2
    ):
        if (y.shape[i] - 1) * stride + (kernel - 1) * dilation + 1 > x.shape[i]:
            raise CallError(
                "a convolution's window leaves its input", why=f"input {x.shape}, output {y.shape}"
            )
    for tensor in (x, y):
        if tensor.shape[1] > 1 and tensor.strides[1] != 1:
            raise CallError("a convolution's channels are not adjacent", why=f"strides {tensor.strides}")


def window_segments(params: Params, x: Tensor, channels: int) -> list[tuple[int, int]]:
    """Runs of memory of one window: (offset, length) in the order of the packed weights' depth."""
    offsets = [0]
    for kernel, dilation, stride in zip(params["kernel"], params["dilations"], x.strides[2:], strict=True):
        offsets = [base + k * dilation * stride for base in offsets for k in range(kernel)]
    segments: list[tuple[int, int]] = []
    for offset in offsets:
        if segments and offset == segments[-1][0] + segments[-1][1]:
            segments[-1] = (segments[-1][0], segments[-1][1] + channels)
        else:
            segments.append((offset, channels))
    return segments


def output_rows(y: Tensor, operands: Sequence[Tensor]) -> tuple[list[int] | None, int, list[int]]:
    """How result and epilogue operands walk over pixels.

    Returns:
        Strides by image of ``y`` and the operands (None if pixels run on over images with one stride), stride of
        ``y`` by pixel, strides of the operands by pixel.

    Raises:
        CallError: Pixels of one image have no common stride.
    """
    shape = (y.shape[0], *y.shape[2:])
    tensors = [y, *operands]
    rows = [(s[0], *s[2:]) for s in (broadcast(tensor, y.shape) for tensor in tensors)]
    extents, strides = collapse(shape, rows)
    if len(extents) <= 1:
        pixels = [s[0] if extents else 0 for s in strides]
        return None, pixels[0], pixels[1:]
    inner, strides = collapse(shape[1:], [row[1:] for row in rows])
    if len(inner) > 1:
        raise CallError(
            "a convolution's result or epilogue operand is not channels-last", why=f"shape {y.shape}"
        )
    pixels = [s[0] if inner else 0 for s in strides]
    return [row[0] for row in rows], pixels[0], pixels[1:]
