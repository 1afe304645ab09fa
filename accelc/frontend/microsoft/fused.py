"""Products and convolutions of com.microsoft with something fused to them.

Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from typing import Any

from accelc.frontend.microsoft.call import Call, Opaque, Rule

_ACTIVATIONS = {
    "Relu": (),
    "Tanh": (),
    "Sigmoid": (),
    "LeakyRelu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
}


def swapped(call: Call, i: int, name: str) -> str:
    """The last two dims of an operand exchanged."""
    rank = call.rank(i)
    if rank is None:
        return call.add("Einsum", name, equation="...ij->...ji")
    if rank < 2:
        raise Opaque(f"operand {i} has rank {rank}")
    perm = [*range(rank - 2), rank - 1, rank - 2]
    return call.add("Transpose", name, perm=perm)


def _activated(call: Call, x: str, name: str, params: list[float]) -> str:
    if not name:
        return x
    if name == "Clip":
        low, high = (call.number(value, x) for value in params)
        return call.add("Clip", x, low, high)
    if name not in _ACTIVATIONS:
        raise Opaque(f"activation {name}")
    named: dict[str, Any] = dict(zip(_ACTIVATIONS[name], (float(value) for value in params), strict=False))
    return call.add(name, x, **named)


def fused_matmul(call: Call) -> None:
    """Alpha * A' @ B'."""
    if call.attr("transBatchA", 0) or call.attr("transBatchB", 0):
        raise Opaque("batch dims are moved")
    a, b = call.operand(0), call.operand(1)
    a = swapped(call, 0, a) if call.attr("transA", 0) else a
    b = swapped(call, 1, b) if call.attr("transB", 0) else b
    product = call.add("MatMul", a, b)
    alpha = float(call.attr("alpha", 1.0))
    call.gives(0, product if alpha == 1.0 else call.add("Mul", product, call.number(alpha, product)))


def fused_gemm(call: Call) -> None:
    """Gemm and an activation."""
    operands = [call.operand(i) for i in range(3) if call.has(i)]
    floats: dict[str, Any] = {name: float(call.attr(name, 1.0)) for name in ("alpha", "beta")}
    flags: dict[str, Any] = {name: int(call.attr(name, 0)) for name in ("transA", "transB")}
    result = call.add("Gemm", *operands, **floats, **flags)
    name = call.attr("activation", "")
    given = [call.attr(f"activation_{key}", None) for key in ("alpha", "beta")]
    if name == "Clip":
        raise Opaque("Clip after Gemm")
    call.gives(0, _activated(call, result, name, [value for value in given if value is not None]))


def _conv(call: Call, x: str, w: str, *bias: str) -> str:
    kept = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    attributes = {name: call.attr(name, None) for name in kept if name in call.attributes}
    return call.add("Conv", x, w, *bias, **attributes)


def fused_conv(call: Call) -> None:
    """Activation(Conv(x, w, b) + z)."""
    bias = [call.operand(2)] if call.has(2) else []
    result = _conv(call, call.operand(0), call.operand(1), *bias)
    if call.has(3):
        result = call.add("Add", result, call.operand(3))
    params = [float(value) for value in call.attr("activation_params", [])]
    call.gives(0, _activated(call, result, call.attr("activation", ""), params))


def nhwc_conv(call: Call) -> None:
    """Conv of channels-last data."""
    rank = call.rank(1) or call.rank(0)
    if rank is None:
        raise Opaque("the rank is not known")
    x = call.add("Transpose", call.operand(0), perm=[0, rank - 1, *range(1, rank - 1)])
    bias = [call.operand(2)] if call.has(2) else []
    result = _conv(call, x, call.operand(1), *bias)
    call.gives(0, call.add("Transpose", result, perm=[0, *range(2, rank), 1]))


RULES: dict[str, Rule] = {
    "FusedMatMul": fused_matmul,
    "FusedGemm": fused_gemm,
    "FusedConv": fused_conv,
    "NhwcConv": nhwc_conv,
}
