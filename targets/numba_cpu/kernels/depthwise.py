"""Family ``depthwise``: convolutions with one filter for each channel, vectors over channels.

Inputs: X ``[N, C, spatial...]`` (one or two spatial dims) with adjacent channels, W ``[taps, C]``, then the
epilogue's operands. Output: Y ``[N, C, spatial...]``, channels last. Parameters: ``dtype``, ``kernel``,
``strides``, ``dilations``, ``pads`` (zeros before each spatial dim), ``epilogue``, ``kinds``.

Nothing is copied: taps outside the image are left out. Inside, ``STEP`` output columns share their input vectors
and each kernel row's weights; kernel width, column stride and column dilation are literal in the text.
"""

from __future__ import annotations

from collections.abc import Sequence

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import Binding, Family, KernelSource, Params, Tensor
from accelc.targets.numba_cpu.kernels.conv import MAX_EXTENT, check_window, output_rows
from accelc.targets.numba_cpu.kernels.operands import check_operands, integers
from accelc.targets.numba_cpu.kernels.tiles import DTYPES, Epilogue, check_epilogue

STEP = 4
MAX_LITERAL = 7
"""Wider kernels and larger column strides or dilations run one output column at a time."""
TASK_FLOPS = 60_000
"""Work that is worth a thread's while: about 5 µs at the speed of memory."""

WORDS = (
    "x", "w", "y", "channels", "in_h", "in_w", "out_h", "out_w", "kh", "kw", "stride_h", "stride_w", "dil_h",
    "dil_w", "pad_h", "pad_w", "first", "last", "xn", "xh", "xw", "yn", "yp",
)  # fmt: skip
"""Words of the descriptor; columns ``first..last`` need no border. For each epilogue operand follow its pointer,
stride by image and stride by pixel."""


class Depthwise(Family):
    """Y = epilogue(depthwise convolution of X with W)."""

    name = "depthwise"

    def check(self, params: Params) -> None:
        """See the base class."""
        if params.get("dtype") not in DTYPES:
            raise ArtifactError(f"depthwise convolution of {params.get('dtype')!r}")
        check_window(params)
        if len(integers(params, "pads", 0, MAX_EXTENT, 2)) != len(params["kernel"]):
            raise ArtifactError(
                "depthwise convolution: as many pads as spatial dims", why=f"{params['pads']}"
            )
        check_epilogue(params)

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See the base class."""
        width, stride, dilation = params["kernel"][-1], params["strides"][-1], params["dilations"][-1]
        literal = max(width, stride, dilation) <= MAX_LITERAL
        lanes = isa.lanes(params["dtype"])
        text = _text(
            params["dtype"], lanes, (width, stride, dilation) if literal else None, Epilogue.of(params)
        )
        shape = f"{width}s{stride}d{dilation}" if literal else "any"
        return KernelSource(f"depthwise_{params['dtype']}_{shape}", text)

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See the base class."""
        x, w, y = inputs[0], inputs[1], outputs[0]
        if x is None or w is None:
            raise CallError("a convolution lacks an operand")
        if y.size == 0:
            return Binding([], 0)
        operands = [tensor for tensor in inputs[2:] if tensor is not None]
        missing = 4 - len(x.shape)
        kernel, strides, dilations, pads = (
            [fill] * missing + list(params[name])
            for name, fill in (("kernel", 1), ("strides", 1), ("dilations", 1), ("pads", 0))
        )
        channels = x.shape[1]
        if x.shape[:2] != y.shape[:2] or w.shape != (kernel[0] * kernel[1], channels) or missing < 0:
            raise CallError(
                "a depthwise convolution's operands do not fit", why=f"{x.shape}, {w.shape}, {y.shape}"
            )
        if any(channels > 1 and tensor.strides[1] != 1 for tensor in (x, y)):
            raise CallError("a convolution's channels are not adjacent", why=f"{x.strides}, {y.strides}")
        check_operands(params, operands, y.shape, 1)
        in_h, in_w = [1] * missing + list(x.shape[2:])
        out_h, out_w = [1] * missing + list(y.shape[2:])
        xh, xw = [0] * missing + list(x.strides[2:])
        images, pixel, leads = output_rows(y, operands)
        if images is None:
            images = [out_h * out_w * step for step in (pixel, *leads)]
        first = min(out_w, -(-pads[1] // strides[1]))
        reach = in_w + pads[1] - (kernel[1] - 1) * dilations[1]
        last = max(first, min(out_w, -(-reach // strides[1])))
        words = [
            x.address(), w.address(), y.address(), channels, in_h, in_w, out_h, out_w, *kernel, *strides,
            *dilations, *pads, first, last, x.strides[0], xh, xw, images[0], pixel,
        ]  # fmt: skip
        for tensor, image, lead in zip(operands, images[1:], leads, strict=True):
            words += [tensor.address(), image, lead]
        row = 2 * out_w * channels * kernel[0] * kernel[1]
        return Binding(words, y.shape[0] * out_h, max(1, TASK_FLOPS // max(1, row)))


def _text(dtype: str, lanes: int, literal: tuple[int, int, int] | None, epilogue: Epilogue) -> str:
    """Text of the kernel; ``literal`` is kernel width, column stride and column dilation."""
    pointer, _ = DTYPES[dtype]
    count = range(1, len(epilogue.kinds) + 1)
    out = ['"""Depthwise convolution; see kernels/depthwise.py. A task is one row of the output."""', ""]
    out += [*_column_text(lanes, epilogue), ""]
    if literal is not None:
        out += [*_step_text(lanes, literal, epilogue), ""]
    out += ["def kernel(d, lo, hi, tid):"]
    out += [f"    {name} = get(d, {i})" for i, name in enumerate(WORDS)]
    for k in count:
        at = len(WORDS) + 3 * (k - 1)
        out += [f"    f{k} = get(d, {at})", f"    n{k} = get(d, {at + 1})", f"    l{k} = get(d, {at + 2})"]
    args = epilogue.arguments
    column = f"column(p, pw, q, channels, y0, y1, kw, dil_h, dil_w, xh, xw, {{x0}}, {{x1}}{args})"
    out += [
        "    for task in range(lo, hi):",
        "        h = task % out_h",
        "        image = task // out_h",
        "        top = h * stride_h - pad_h",
        # Kernel rows y0..y1 lie inside the image.
        "        y0 = (dil_h - 1 - top) // dil_h if top < 0 else 0",
        "        y1 = (in_h - top + dil_h - 1) // dil_h",
        "        y1 = kh if y1 > kh else y1",
        f"        row = at({pointer}(x), image * xn + top * xh - pad_w * xw)",
        f"        to = at({pointer}(y), image * yn + h * out_w * yp)",
        f"        pw = {pointer}(w)",
        *(f"        g{k} = at({pointer}(f{k}), image * n{k} + h * out_w * l{k})" for k in count),
        "        c = 0",
        "        while c < out_w:",
        "            p = at(row, c * stride_w * xw)",
        "            q = at(to, c * yp)",
        *(f"            e{k} = at(g{k}, c * l{k})" for k in count),
    ]
    if literal is not None:
        out += [
            f"            if c >= first and c + {STEP} <= last:",
            f"                step(p, pw, q, channels, y0, y1, dil_h, xh, xw, yp{args})",
            f"                c += {STEP}",
            "                continue",
        ]
    out += [
        "            left = c * stride_w - pad_w",
        "            x0 = (dil_w - 1 - left) // dil_w if left < 0 else 0",
        "            x1 = (in_w - left + dil_w - 1) // dil_w",
        "            x1 = kw if x1 > kw else x1",
        f"            {column.format(x0='x0', x1='x1')}",
        "            c += 1",
    ]
    return "\n".join(out) + "\n"


def _column_text(lanes: int, epilogue: Epilogue) -> list[str]:
    """Helper ``column``: one output pixel from the taps inside the image, all channels."""
    out = [
        "@inline",
        f"def column(p, pw, q, channels, y0, y1, kw, dil_h, dil_w, xh, xw, x0, x1{epilogue.arguments}):",
        f"    for k in range(0, channels, {lanes}):",
        "        n = channels - k",
        "        acc = vzero(p)",
    ]
    for masked in (False, True):
        load = "vloadm({}, {}, n)" if masked else "vload({}, {})"
        tap = load.format("p", "y * dil_h * xh + x * dil_w * xw + k")
        weight = load.format("pw", "(y * kw + x) * channels + k")
        out += ["        else:" if masked else f"        if n >= {lanes}:"]
        out += ["            for y in range(y0, y1):", "                for x in range(x0, x1):"]
        out += [f"                    acc = vfma({tap}, {weight}, acc)"]
        body, result = epilogue.lines("acc", "0", "k", " " * 12, "n" if masked else "")
        out += body
        out += [
            f"            vstorem(q, k, {result}, n)" if masked else f"            vstore(q, k, {result})"
        ]
    return out


def _step_text(lanes: int, literal: tuple[int, int, int], epilogue: Epilogue) -> list[str]:
    """Helper ``step``: ``STEP`` adjacent output pixels that need no border, all channels."""
    pair = 2 * lanes
    return [
        "@inline",
        f"def step(p, pw, q, channels, y0, y1, dil_h, xh, xw, yp{epilogue.arguments}):",
        f"    whole = channels - channels % {pair}",
        # Two vectors at a time: four sums alone would wait for each other's FMA latency.
        f"    for k in range(0, whole, {pair}):",
        *_step_body(literal, epilogue, lanes, 2),
        f"    for k in range(whole, channels, {lanes}):",
        "        n = channels - k",
        *_step_body(literal, epilogue, lanes, 0),
    ]


def _step_body(literal: tuple[int, int, int], epilogue: Epilogue, lanes: int, vectors: int) -> list[str]:
    """The pixels of one step for ``vectors`` whole vectors of channels, or for the last ``n`` channels if 0."""
    width, stride, dilation = literal
    load = "vload({}, {})" if vectors else "vloadm({}, {}, n)"
    parts = range(max(1, vectors))
    out = [f"        a{i}_{j} = vzero(p)" for i in range(STEP) for j in parts]
    out += ["        for y in range(y0, y1):", "            r = at(p, y * dil_h * xh + k)"]
    out += [f"            u = at(pw, y * {width} * channels + k)"]
    for t in range(width):
        out += [f"            w{t}_{j} = {load.format('u', f'{t} * channels + {j * lanes}')}" for j in parts]
    users: dict[int, list[tuple[int, int]]] = {}
    for i in range(STEP):
        for t in range(width):
            users.setdefault(i * stride + t * dilation, []).append((i, t))
    for offset in sorted(users):
        for j in parts:
            out.append(f"            v = {load.format('r', f'{offset} * xw + {j * lanes}')}")
            out += [f"            a{i}_{j} = vfma(v, w{t}_{j}, a{i}_{j})" for i, t in users[offset]]
    for i in range(STEP):
        for j in parts:
            body, result = epilogue.lines(
                f"a{i}_{j}", str(i), f"(k + {j * lanes})", " " * 8, "" if vectors else "n"
            )
            place = f"q, {i} * yp + k + {j * lanes}, {result}"
            out += [*body, f"        vstore({place})" if vectors else f"        vstorem({place}, n)"]
    return out
