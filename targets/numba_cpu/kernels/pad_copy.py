"""Family ``pad_copy``: a channels-last copy of an image with zeros around it.

Input: X ``[N, C, spatial...]``, any strides. Output: ``[N, C, spatial + pads...]``, channels last. Parameters:
``dtype``; ``pads``: zeros before each spatial dim (those after it follow from the shapes); ``flat``: whether a row
of the input is one run of ``W * C`` elements, else elements are gathered, for example from channels-first images.
"""

from __future__ import annotations

from collections.abc import Sequence

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import Binding, Family, KernelSource, Params, Tensor
from accelc.targets.numba_cpu.kernels.operands import integers
from accelc.targets.numba_cpu.kernels.tiles import DTYPES

MAX_PAD = 1 << 20
GRAIN_BYTES = 48 * 1024

WORDS = (
    "x", "y", "in_d", "in_h", "in_w", "channels", "pad_d", "pad_h", "pad_w", "out_d", "out_h", "out_w",
    "sn", "sd", "sh", "sw", "sc", "tn", "td", "th", "tw",
)  # fmt: skip


class PadCopy(Family):
    """Y = X with zeros around it, channels last."""

    name = "pad_copy"

    def check(self, params: Params) -> None:
        """See the base class."""
        if params.get("dtype") not in DTYPES or not isinstance(params.get("flat"), bool):
            raise ArtifactError("pad_copy: malformed parameters", why=f"{dict(params)!r}")
        integers(params, "pads", 0, MAX_PAD, 3)

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See the base class."""
        pointer, _ = DTYPES[params["dtype"]]
        lanes = isa.lanes(params["dtype"])
        body = _FLAT if params["flat"] else _GATHER
        words = "\n".join(f"    {name} = get(d, {i})" for i, name in enumerate(WORDS))
        text = (
            _TEXT.replace("WORDS", words)
            .replace("ROW", body)
            .replace("PTR", pointer)
            .replace("LANES", str(lanes))
        )
        return KernelSource(f"pad_copy_{params['dtype']}_{'flat' if params['flat'] else 'gather'}", text)

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See the base class."""
        x, y = inputs[0], outputs[0]
        if x is None or len(x.shape) != len(y.shape) or x.shape[:2] != y.shape[:2]:
            raise CallError("pad_copy: shapes do not fit", why=f"{x and x.shape} into {y.shape}")
        missing = 5 - len(x.shape)
        pads = [0] * missing + list(params["pads"])
        source, target = [1] * missing + list(x.shape[2:]), [1] * missing + list(y.shape[2:])
        if any(s + p > t for s, p, t in zip(source, pads, target, strict=True)):
            raise CallError("pad_copy: the input does not fit", why=f"{x.shape} into {y.shape}")
        channels = x.shape[1]
        if params["flat"] and x.size and _scattered(x):
            raise CallError("pad_copy: rows are not contiguous", why=f"strides {x.strides}")
        if y.size and _scattered(y):
            raise CallError("pad_copy: the result is not channels-last", why=f"strides {y.strides}")
        strides = [x.strides[0], *([0] * missing), *x.strides[2:], x.strides[1]]
        targets = [y.strides[0], *([0] * missing), *y.strides[2:]]
        rows = y.shape[0] * target[0] * target[1] if y.size else 0
        grain = max(1, GRAIN_BYTES // (4 * max(1, target[2] * channels)))
        words = [x.address(), y.address(), *source, channels, *pads, *target, *strides, *targets]
        return Binding(words, rows, grain)


def _scattered(tensor: Tensor) -> bool:
    """Whether the elements of a row (all channels of the last spatial dim) are not one run of memory."""
    channels = tensor.shape[1]
    return (channels > 1 and tensor.strides[1] != 1) or (
        tensor.shape[-1] > 1 and tensor.strides[-1] != channels
    )


_TEXT = '''"""Channels-last copy with zeros around it; see kernels/pad_copy.py. A task is one row of the output."""

@inline
def zeros(p, n):
    for i in range(0, n, LANES):
        vstorem(p, i, vzero(p), n - i)

def kernel(d, lo, hi, tid):
WORDS
    for task in range(lo, hi):
        h = task % out_h
        rest = task // out_h
        z = rest % out_d
        image = rest // out_d
        q = at(PTR(y), image * tn + z * td + h * th)
        h = h - pad_h
        z = z - pad_d
        if h < 0 or h >= in_h or z < 0 or z >= in_d:
            zeros(q, out_w * channels)
        else:
            p = at(PTR(x), image * sn + z * sd + h * sh)
            zeros(q, pad_w * channels)
            q = at(q, pad_w * channels)
ROW
            zeros(at(q, in_w * channels), (out_w - pad_w - in_w) * channels)
'''

_FLAT = """            n = in_w * channels
            whole = n - n % LANES
            for i in range(0, whole, LANES):
                vstore(q, i, vload(p, i))
            vstorem(q, whole, vloadm(p, whole, n - whole), n - whole)"""

_GATHER = """            for c in range(channels):
                r = at(p, c * sc)
                for w in range(in_w):
                    put(q, w * channels + c, get(r, w * sw))"""
