"""Samplers of products, norms and pools, and of the patterns that passes recover or fuse."""

from __future__ import annotations

import math

import numpy as np
import onnx
from fuzz_graph import Builder, RejectedError, Value
from fuzz_ops import FLOATS, Sampler, partner, scalar


def weight(b: Builder, dtype: str, shape: list[int], fan_in: int = 1) -> Value:
    """A constant of moderate size, exact in eighths where ``fan_in`` is small."""
    array = b.random_array(dtype, shape)
    return b.const((array / dtype_one(dtype, 2.0 ** round(math.log2(max(fan_in, 1)) / 2))).astype(dtype))


def dtype_one(dtype: str, number: float) -> np.generic:
    """A scalar of the dtype."""
    scalar_type: np.generic = np.dtype(dtype).type(number)
    return scalar_type


def static_last(v: Value) -> bool:
    return v.rank > 0 and len(set(v.dims[-1])) == 1 and v.dims[-1][0] > 0


def tail(b: Builder, y: Value) -> Value:
    """What fusion takes into the op before: a bias, an activation, a residual."""
    for _ in range(b.integer(0, 3)):
        kind = b.integer(0, 3)
        if kind == 0 and static_last(y):
            y = b.emit("Add", [y, b.const(b.random_array(y.dtype, [y.dims[-1][0]]))])
        elif kind == 1:
            y = b.emit(b.choose(["Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSwish"]), [y])
        elif kind == 2:
            y = b.emit(b.choose(["Add", "Mul"]), [y, partner(b, y)])
        else:
            y = b.emit(b.choose(["Add", "Mul"]), [y, scalar(b, y.dtype, b.choose([0, 0.5, 1, 2]))])
    return y


def matmul(b: Builder) -> None:
    x = b.pick(("float32", "float32", "float64", "float16"), (1, 4), static_last)
    k, n = x.dims[-1][0], b.choose([1, 2, 3, 8, 16, 17])
    roll = b.rng.random()
    if roll < 0.6:
        y = b.emit("MatMul", [x, weight(b, x.dtype, [k, n], k)])
    elif roll < 0.8 and x.rank >= 2:
        perm = [*range(x.rank - 2), x.rank - 1, x.rank - 2]
        y = b.emit("MatMul", [x, b.emit("Transpose", [x], perm=perm)])
    else:
        found = [
            v for v in b.pool if v.dtype == x.dtype and v.rank and v.dims[max(0, v.rank - 2)] == x.dims[-1]
        ]
        y = b.emit("MatMul", [x, b.choose(found)])
    tail(b, y)


def gemm(b: Builder) -> None:
    x = b.pick(("float32", "float32", "float64"), (2, 2), static_last)
    k, n = x.dims[-1][0], b.choose([1, 4, 8, 17])
    trans_b = b.integer(0, 1)
    w = weight(b, x.dtype, [n, k] if trans_b else [k, n], k)
    attrs: dict[str, object] = {"transB": trans_b}
    if b.chance(0.3):
        attrs["alpha"], attrs["beta"] = float(b.choose([0.5, 1, 0, 2])), float(b.choose([0.5, 0, 1, -1]))
    if b.chance(0.2):
        x = b.emit("Transpose", [x], perm=[1, 0])
        attrs["transA"] = 1
    bias = [b.const(b.random_array(x.dtype, b.choose([[n], [1, n], [1], []])))] if b.chance(0.7) else []
    tail(b, b.emit("Gemm", [x, w, *bias], **attrs))


def einsum(b: Builder) -> None:
    x = b.pick(("float32",), (2, 3), static_last)
    w = weight(b, x.dtype, [x.dims[-1][0], 4], x.dims[-1][0])
    letters = "abc"[: x.rank]
    b.emit("Einsum", [x, w], equation=f"{letters},{letters[-1]}d->{letters[:-1]}d")


def image(b: Builder) -> Value:
    """[batch, channels, *space] with static channels."""
    return b.pick(
        ("float32",),
        (3, 4),
        lambda v: len(set(v.dims[1])) == 1 and v.dims[1][0] > 0 and v.arrays[0].size < 3000,
    )


def spatial(b: Builder, x: Value, kernel: list[int]) -> dict[str, object]:
    """Strides, pads and dilations that now and then differ per axis."""
    rank = x.rank - 2
    attrs: dict[str, object] = {}
    if b.chance(0.4):
        attrs["strides"] = [b.integer(1, 2) for _ in range(rank)]
    if b.chance(0.6):
        attrs["pads"] = [b.integer(0, k // 2) for k in kernel * 2]
    elif b.chance(0.3):
        attrs["auto_pad"] = b.choose(["SAME_UPPER", "SAME_LOWER", "VALID"])
    return attrs


def conv(b: Builder) -> None:
    x = image(b)
    channels, rank = x.dims[1][0], x.rank - 2
    group = b.choose([1, 1, 1, channels, 2])
    if channels % group:
        raise RejectedError
    out = group * b.choose([1, 2, 4]) if group > 1 else b.choose([1, 4, 8, 17])
    kernel = [b.choose([1, 2, 3, 3, 5]) for _ in range(rank)] if b.chance(0.4) else [b.choose([1, 3])] * rank
    attrs = spatial(b, x, kernel)
    if b.chance(0.15):
        attrs["dilations"] = [2] * rank
    fan = channels // group * math.prod(kernel)
    w = weight(b, x.dtype, [out, channels // group, *kernel], fan)
    bias = [b.const(b.random_array(x.dtype, [out]))] if b.chance(0.6) else []
    y = b.emit("Conv", [x, w, *bias], group=group, **attrs)
    if b.chance(0.4):
        y = batch_norm_of(b, y)
    if b.chance(0.3):
        shape = [1, out] + [1] * rank if b.chance(0.7) else [out] + [1] * rank
        y = b.emit(b.choose(["Add", "Mul"]), [y, b.const(b.random_array(x.dtype, shape))])
    tail(b, y)


def conv_transpose(b: Builder) -> None:
    x = image(b)
    kernel = [b.choose([1, 2, 3])] * (x.rank - 2)
    w = weight(b, x.dtype, [x.dims[1][0], b.choose([1, 3]), *kernel], x.dims[1][0])
    tail(b, b.emit("ConvTranspose", [x, w], strides=[b.integer(1, 2)] * (x.rank - 2)))


def batch_norm_of(b: Builder, x: Value) -> Value:
    """BatchNormalization with constant statistics."""
    c = x.dims[1][0]
    variance = b.const((np.abs(b.random_array(x.dtype, [c])) + 0.5).astype(x.dtype))
    rest = [b.const(b.random_array(x.dtype, [c])) for _ in range(3)]
    return b.emit("BatchNormalization", [x, *rest, variance], epsilon=float(b.choose([1e-5, 1e-3])))


def batch_norm(b: Builder) -> None:
    x = b.pick(("float32", "float64"), (2, 4), lambda v: len(set(v.dims[1])) == 1)
    tail(b, batch_norm_of(b, x))


def pool(b: Builder) -> None:
    x = image(b)
    kernel = [b.choose([1, 2, 3]) for _ in range(x.rank - 2)]
    roll = b.rng.random()
    if roll < 0.3:
        b.emit(b.choose(["GlobalAveragePool", "GlobalMaxPool"]), [x])
        return
    attrs = {**spatial(b, x, kernel), "kernel_shape": kernel}
    if any(min(dim) < k for dim, k in zip(x.dims[2:], kernel, strict=True)):
        raise RejectedError  # onnxruntime truncates the negative extent where ONNX rounds it down
    if "auto_pad" not in attrs and b.chance(0.25):
        attrs["ceil_mode"] = 1
    if roll < 0.65:
        b.emit("MaxPool", [x], **attrs)
    else:
        b.emit("AveragePool", [x], **attrs, count_include_pad=b.integer(0, 1))


def norm(b: Builder) -> None:
    x = b.pick(("float32", "float32", "float64"), (2, 4), static_last)
    n = x.dims[-1][0]
    op = b.choose(
        ["LayerNormalization"] * 3 + ["RMSNormalization", "LpNormalization", "InstanceNormalization"]
    )
    if op == "LpNormalization":
        shifted = b.emit("Add", [b.emit("Abs", [x]), scalar(b, x.dtype, 1)])
        b.emit(op, [shifted], p=b.integer(1, 2), axis=b.integer(-x.rank, x.rank - 1))
    elif op == "InstanceNormalization":
        c = x.dims[1][0]
        b.emit(op, [x, *(b.const(b.random_array(x.dtype, [c])) for _ in range(2))], epsilon=0.1)
    else:
        affine = [b.const(b.random_array(x.dtype, [n])) for _ in range(b.integer(1, 2))]
        tail(b, b.emit(op, [x, *affine[: 1 if op[0] == "R" else 2]], axis=-1, epsilon=0.01))


def layer_norm_parts(b: Builder) -> None:
    """LayerNorm or RMSNorm as exporters write them."""
    x = b.pick(("float32", "float32", "float64"), (1, 4), static_last)
    n, axes, rms = x.dims[-1][0], b.ints(-1), b.chance(0.4)
    centred = x if rms else b.emit("Sub", [x, b.emit("ReduceMean", [x, axes])])
    square = b.emit("Mul", [centred, centred])
    if b.chance(0.5):
        square = b.emit("Pow", [centred, b.const(np.array(2, x.dtype))])
    variance = b.emit("ReduceMean", [square, b.ints(-1)])
    deviation = b.emit("Sqrt", [b.emit("Add", [variance, scalar(b, x.dtype, b.choose([0.5, 0.01]))])])
    if rms and b.chance(0.5):
        y = b.emit("Mul", [centred, b.emit("Reciprocal", [deviation])])
    else:
        y = b.emit("Div", [centred, deviation])
    for op in ("Mul", "Add")[: b.integer(0, 2)]:
        y = b.emit(op, [y, b.const(b.random_array(x.dtype, [n]))])


def gelu_parts(b: Builder) -> None:
    x = b.pick(("float32", "float32", "float64"))
    half, one = scalar(b, x.dtype, 0.5), scalar(b, x.dtype, 1)
    if b.chance(0.6):
        inner = b.emit("Erf", [b.emit("Div", [x, scalar(b, x.dtype, math.sqrt(2))])])
    else:
        cube = b.emit("Pow", [x, b.const(np.array(3, x.dtype))])
        inner = b.emit("Add", [x, b.emit("Mul", [cube, scalar(b, x.dtype, 0.044715)])])
        inner = b.emit("Tanh", [b.emit("Mul", [inner, scalar(b, x.dtype, math.sqrt(2 / math.pi))])])
    gate = b.emit("Add", [inner, one])
    if b.chance(0.5):
        b.emit("Mul", [b.emit("Mul", [x, gate]), half])
    else:
        b.emit("Mul", [b.emit("Mul", [x, half]), gate])


def silu_parts(b: Builder) -> None:
    x = b.pick(FLOATS)
    if b.chance(0.6):
        b.emit("Mul", [x, b.emit("Sigmoid", [x])])
        return
    high = b.emit(
        "Clip", [b.emit("Add", [x, scalar(b, x.dtype, 3)]), *(b.const(np.array(n, x.dtype)) for n in (0, 6))]
    )
    b.emit("Div", [b.emit("Mul", [x, high]), scalar(b, x.dtype, 6)])


def attention_parts(b: Builder) -> None:
    """softmax(q kᵀ · scale [+ mask]) v."""
    q = b.pick(("float32",), (3, 4), static_last)
    d = q.dims[-1][0]
    k = q if b.chance(0.5) else b.emit("Tanh", [q])
    v = partner(b, q)
    if v.dims != q.dims:
        v = b.emit("Neg", [q])
    kt = b.emit("Transpose", [k], perm=[*range(q.rank - 2), q.rank - 1, q.rank - 2])
    scores = b.emit("MatMul", [q, kt])
    if b.chance(0.8):
        root = math.sqrt(d)
        op, factor = ("Div", root) if b.chance(0.5) else ("Mul", 1 / root)
        scores = b.emit(op, [scores, scalar(b, q.dtype, factor)])
    if b.chance(0.4):
        mask = b.new_input("float32", [*([(1, 1)] if q.rank == 4 else []), (1, 1), *scores.dims[-2:]])
        scores = b.emit("Add", [scores, mask])
    b.emit("MatMul", [b.emit("Softmax", [scores], axis=-1), v])


def residual(b: Builder) -> None:
    """x + f(x), f of a few elementwise ops, with one of its values used twice."""
    x = b.pick(FLOATS)
    y = x
    for _ in range(b.integer(1, 3)):
        y = b.emit(b.choose(["Sigmoid", "Relu", "Tanh", "Neg"]), [y])
    z = b.emit(b.choose(["Add", "Mul", "Sub"]), [y, x])
    if b.chance(0.4):
        b.emit("Mul", [z, y])


def same_twice(b: Builder) -> None:
    """A node that is there already, once more, and something on the copy."""
    found = [n for n in b.nodes if n.op_type not in ("Constant", "If")]
    if not found:
        raise RejectedError
    original = b.choose(found)
    again = onnx.NodeProto()
    again.CopyFrom(original)
    del again.output[:]
    again.output.extend(b._name("v") for _ in original.output)
    b.add(again, [b.values[name] for name in again.input if name])


SAMPLERS: list[tuple[float, Sampler]] = [
    (4, matmul),
    (2.5, gemm),
    (0.3, einsum),
    (4, conv),
    (0.4, conv_transpose),
    (1.2, batch_norm),
    (1.5, pool),
    (2, norm),
    (2, layer_norm_parts),
    (1.5, gelu_parts),
    (1.5, silu_parts),
    (1, attention_parts),
    (2.5, residual),
    (1.5, same_twice),
]
