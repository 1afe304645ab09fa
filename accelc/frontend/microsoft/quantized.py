"""Quantised ops of com.microsoft as ONNX's DequantizeLinear, the plain op, and QuantizeLinear.

Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from typing import Any

from onnx import TensorProto

from accelc.frontend.microsoft.call import Call, Opaque, Rule


def _real(call: Call, i: int) -> str:
    """Operands ``i``, ``i + 1`` (scale) and ``i + 2`` (zero point) as real numbers."""
    zero = [call.operand(i + 2)] if call.has(i + 2) else []
    return call.add("DequantizeLinear", call.operand(i), call.operand(i + 1), *zero)


def _gives(call: Call, value: str, scale: int) -> None:
    zero = [call.operand(scale + 1)] if call.has(scale + 1) else []
    call.gives(0, call.add("QuantizeLinear", value, call.operand(scale), *zero))


def _as_onnx(op: str) -> Rule:
    """An op of the same name and meaning in ONNX; its axis defaults to 1 in both."""

    def rule(call: Call) -> None:
        operands = [call.operand(i) for i in range(3) if call.has(i)]
        call.gives(0, call.add(op, *operands, axis=int(call.attr("axis", 1))))

    return rule


def gemm(call: Call) -> None:
    """Alpha * A' @ B' + C, the result real or quantised; C has the scale of the product."""
    flags: dict[str, Any] = {name: int(call.attr(name, 0)) for name in ("transA", "transB")}
    alpha = float(call.attr("alpha", 1.0))
    zeros = [[call.operand(i)] if call.has(i) else [] for i in (2, 5)]
    a = call.add("DequantizeLinear", call.operand(0), call.operand(1), *zeros[0])
    b = call.add(
        "DequantizeLinear", call.operand(3), call.operand(4), *zeros[1], axis=0 if flags["transB"] else 1
    )
    result = call.add("Gemm", a, b, alpha=alpha, **flags)
    if call.has(6):
        scale = call.add("Mul", call.add("Mul", call.operand(1), call.operand(4)), call.number(alpha, result))
        result = call.add(
            "Add", result, call.add("Mul", call.add("CastLike", call.operand(6), result), scale)
        )
    if call.has(7):
        _gives(call, result, 7)
    else:
        call.gives(0, result)


def softmax(call: Call) -> None:
    """Softmax along one axis."""
    axis, rank = int(call.attr("axis", -1)), call.rank(0)
    if int(call.attr("opset", 13)) < 13 and axis != -1 and (rank is None or axis != rank - 1):
        raise Opaque("all dims from the axis on are one")
    _gives(call, call.add("Softmax", _real(call, 0), axis=axis), 3)


def where(call: Call) -> None:
    """Where."""
    _gives(call, call.add("Where", call.operand(0), _real(call, 1), _real(call, 4)), 7)


def gather_block_quantized(call: Call) -> None:
    """Rows of a table of 4-bit numbers, two to a byte, in blocks along the last dim."""
    block, rank = int(call.attr("block_size", 128)), call.rank(0)
    plain = call.dtypes.get(call.node.input[0]) == TensorProto.UINT8 and int(call.attr("bits", 4)) == 4
    last = int(call.attr("quantize_axis", 1)) in (-1, 1)
    if not plain or rank != 2 or not last or int(call.attr("gather_axis", 0)) != 0:
        raise Opaque("not rows of a matrix of 4 bits in blocks along them")
    index, like = call.operand(1), call.operand(2)
    scales = call.add("Unsqueeze", call.add("Gather", like, index, axis=0), call.ints(-1))
    rows = call.add("Gather", call.operand(0), index, axis=0)
    blocks = call.add("Concat", call.add("Shape", index), call.ints(-1, block), axis=0)
    levels = call.add("Reshape", _levels(call, rows, like, 4), blocks)
    zero = call.number(8.0, like)
    if call.has(3):
        packed = _levels(call, call.add("Gather", call.operand(3), index, axis=0), like, 4)
        flat = call.add("Concat", call.add("Shape", index), call.ints(-1), axis=0)
        count = call.add("Shape", like, start=1, end=2)
        zero = call.add("Slice", call.add("Reshape", packed, flat), call.ints(0), count, call.ints(-1))
        zero = call.add("Unsqueeze", zero, call.ints(-1))
    real = call.add("Mul", call.add("Sub", levels, zero), scales)
    call.gives(
        0, call.add("Reshape", real, call.add("Concat", call.add("Shape", index), call.ints(-1), axis=0))
    )


def _binary(op: str) -> Rule:
    def rule(call: Call) -> None:
        _gives(call, call.add(op, _real(call, 0), _real(call, 3)), 6)

    return rule


def sigmoid(call: Call) -> None:
    """Sigmoid."""
    _gives(call, call.add("Sigmoid", _real(call, 0)), 3)


def leaky_relu(call: Call) -> None:
    """LeakyRelu."""
    _gives(call, call.add("LeakyRelu", _real(call, 0), alpha=float(call.attr("alpha", 0.01))), 3)


def global_average_pool(call: Call) -> None:
    """GlobalAveragePool of channels-first data."""
    if call.attr("channels_last", 0):
        raise Opaque("channels_last")
    _gives(call, call.add("GlobalAveragePool", _real(call, 0)), 3)


def average_pool(call: Call) -> None:
    """AveragePool of channels-first data."""
    if call.attr("channels_last", 0):
        raise Opaque("channels_last")
    names = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")
    kept = {name: call.attr(name, None) for name in names if name in call.attributes}
    _gives(call, call.add("AveragePool", _real(call, 0), **kept), 3)


def concat(call: Call) -> None:
    """Concat of operands that each have a scale and a zero point."""
    parts = [_real(call, i) for i in range(2, len(call.node.input), 3)]
    _gives(call, call.add("Concat", *parts, axis=int(call.attr("axis", 0))), 0)


def matmul_integer_to_float(call: Call) -> None:
    """(A - a_zero) @ (B - b_zero) * a_scale * b_scale + bias."""
    zeros = [call.operand(i) if call.has(i) else "" for i in (4, 5)]
    _scaled_product(call, call.operand(0), call.operand(1), (call.operand(2), call.operand(3)), zeros, 6)


def dynamic_quantize_matmul(call: Call) -> None:
    """A is quantised by its own range, then as MatMulIntegerToFloat."""
    a = call.add("DynamicQuantizeLinear", call.operand(0), outputs=3)
    scales = (a[:-1] + "1", call.operand(2))
    zeros = [a[:-1] + "2", call.operand(3) if call.has(3) else ""]
    _scaled_product(call, a, call.operand(1), scales, zeros, 4)


def _scaled_product(call: Call, a: str, b: str, scales: tuple[str, str], zeros: list[str], bias: int) -> None:
    while zeros and not zeros[-1]:
        zeros.pop()
    product = call.add("CastLike", call.add("MatMulInteger", a, b, *zeros), scales[1])
    result = call.add("Mul", product, call.add("Mul", *scales))
    call.gives(0, call.add("Add", result, call.operand(bias)) if call.has(bias) else result)


def matmul_nbits(call: Call) -> None:
    """A @ dequantised B, B in blocks of 2, 4 or 8 bits along K, the lowest bits of a byte first."""
    bits, block = int(call.attr("bits", 4)), int(call.attr("block_size", 0))
    inner, columns = int(call.attr("K", 0)), int(call.attr("N", 0))
    if bits not in (2, 4, 8) or block < 16 or inner < 1 or columns < 1:
        raise Opaque(f"{bits} bits in blocks of {block}")
    call.refuse_operands(4)
    blocks = -(-inner // block)
    like = call.operand(2)
    scales = call.add("Reshape", like, call.ints(columns, blocks, 1))
    levels = _levels(call, call.operand(1), like, bits)
    levels = call.add("Reshape", levels, call.ints(columns, blocks, block))
    if not call.has(3):
        zero = call.number(float(1 << (bits - 1)), like)
    elif call.dtypes.get(call.node.input[3]) == TensorProto.UINT8:
        zero = call.add("Reshape", _levels(call, call.operand(3), like, bits), call.ints(columns, -1))
        zero = call.add("Slice", zero, call.ints(0), call.ints(blocks), call.ints(1))
        zero = call.add("Unsqueeze", zero, call.ints(2))
    elif call.node.input[3] in call.dtypes:
        zero = call.add("Reshape", call.operand(3), call.ints(columns, blocks, 1))
    else:
        raise Opaque("the dtype of the zero points is not known")
    real = call.add("Mul", call.add("Sub", levels, zero), scales)
    flat = call.add("Reshape", real, call.ints(columns, blocks * block))
    flat = call.add("Slice", flat, call.ints(0), call.ints(inner), call.ints(1))
    product = call.add("MatMul", call.operand(0), call.add("Transpose", flat, perm=[1, 0]))
    call.gives(0, call.add("Add", product, call.operand(5)) if call.has(5) else product)


def _levels(call: Call, packed: str, like: str, bits: int) -> str:
    """Bytes as numbers of so many bits, in a new last dim, of the element type of ``like``."""
    byte = call.add("Unsqueeze", packed, call.ints(-1))
    if bits == 8:
        return call.add("CastLike", byte, like)
    base, parts = call.add("CastLike", call.ints(1 << bits), byte), []
    for place in range(8 // bits):
        shifted = (
            call.add("Div", byte, call.add("CastLike", call.ints(1 << bits * place), byte)) if place else byte
        )
        parts.append(call.add("Mod", shifted, base))
    return call.add("CastLike", call.add("Concat", *parts, axis=-1), like)


RULES: dict[str, Rule] = {
    "QuantizeLinear": _as_onnx("QuantizeLinear"),
    "DequantizeLinear": _as_onnx("DequantizeLinear"),
    "QGemm": gemm,
    "QLinearSoftmax": softmax,
    "QLinearWhere": where,
    "GatherBlockQuantized": gather_block_quantized,
    "QLinearAdd": _binary("Add"),
    "QLinearMul": _binary("Mul"),
    "QLinearSigmoid": sigmoid,
    "QLinearLeakyRelu": leaky_relu,
    "QLinearAveragePool": average_pool,
    "QLinearGlobalAveragePool": global_average_pool,
    "QLinearConcat": concat,
    "MatMulIntegerToFloat": matmul_integer_to_float,
    "DynamicQuantizeMatMul": dynamic_quantize_matmul,
    "MatMulNBits": matmul_nbits,
}
