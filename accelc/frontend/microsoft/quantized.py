"""Quantised ops of com.microsoft as ONNX's DequantizeLinear, the plain op, and QuantizeLinear.

Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from onnx import TensorProto

from accelc.frontend.microsoft.call import Call, Opaque, Rule


def _real(call: Call, i: int) -> str:
    """Operands ``i``, ``i + 1`` (scale) and ``i + 2`` (zero point) as real numbers."""
    zero = [call.operand(i + 2)] if call.has(i + 2) else []
    return call.add("DequantizeLinear", call.operand(i), call.operand(i + 1), *zero)


def _gives(call: Call, value: str, scale: int) -> None:
    zero = [call.operand(scale + 1)] if call.has(scale + 1) else []
    call.gives(0, call.add("QuantizeLinear", value, call.operand(scale), *zero))


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
