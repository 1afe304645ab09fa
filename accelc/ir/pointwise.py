"""Which ONNX ops work element by element, and what is known of them without running them.

Fusion, outlining and cost models read the same sets, so that they agree on what an elementwise op is.
All sets hold op types of the default domain.
"""

from __future__ import annotations

import onnx_ir as ir

from accelc.ir.rewrite import same_dim


def _ops(names: str) -> frozenset[str]:
    return frozenset(names.split())


UNARY: frozenset[str] = _ops(
    "Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Cast Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu "
    "HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu "
    "Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu"
)
"""One operand, one result of the same shape."""

COMPARISON: frozenset[str] = _ops("Equal Greater GreaterOrEqual Less LessOrEqual")
"""Two operands, a bool result."""

BINARY: frozenset[str] = COMPARISON | _ops(
    "Add And BitwiseAnd BitwiseOr BitwiseXor Div Mod Mul Or PRelu Pow Sub Xor"
)
"""Two operands that broadcast; PRelu only broadcasts its slope."""

VARIADIC: frozenset[str] = _ops("Max Mean Min Sum")
"""One or more operands that broadcast."""

BROADCASTING: frozenset[str] = BINARY | VARIADIC | {"Where"}
"""The result has the broadcast shape of the operands."""

POINTWISE: frozenset[str] = UNARY | BROADCASTING | {"Clip"}
"""Every op that computes each element of its one output from one element of each operand."""

COMMUTATIVE: frozenset[str] = _ops("Add And BitwiseAnd BitwiseOr BitwiseXor Equal Mul Or Xor")
"""Two operands whose order does not matter to the last bit."""

FLOATS: frozenset[ir.DataType] = frozenset({ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16})
"""Floating dtypes that fused kernels work in."""

INTEGERS: frozenset[ir.DataType] = frozenset(
    {
        ir.DataType.INT8,
        ir.DataType.INT16,
        ir.DataType.INT32,
        ir.DataType.INT64,
        ir.DataType.UINT8,
        ir.DataType.UINT16,
        ir.DataType.UINT32,
        ir.DataType.UINT64,
    }
)

FUSIBLE: frozenset[ir.DataType] = FLOATS | INTEGERS | {ir.DataType.BOOL}
"""Dtypes that may appear in an elementwise cluster."""

REDUCTIONS: frozenset[str] = _ops(
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
    "ReduceSumSquare"
)
"""Ops that fold axes of their first operand away."""

ROW_OPS: frozenset[str] = _ops("LayerNormalization LogSoftmax RMSNormalization Softmax")
"""Ops that reduce over axes and give a result of their first operand's full shape."""


def is_pointwise(node: ir.Node | None) -> bool:
    """Whether ``node`` is an elementwise ONNX op with one output."""
    return node is not None and node.op_type in POINTWISE and node.domain == "" and len(node.outputs) == 1


def broadcasts_to(operand: ir.Shape | None, result: ir.Shape | None) -> bool:
    """Whether ``operand`` is known to broadcast to ``result`` without enlarging it."""
    if operand is None or result is None or len(operand) > len(result):
        return False
    offset = len(result) - len(operand)
    for axis, dim in enumerate(operand):
        if dim == 1:
            continue
        if not same_dim(dim, result[offset + axis]):
            return False
    return True


def is_scalar(shape: ir.Shape | None) -> bool:
    """Whether the shape is known to hold exactly one element."""
    return shape is not None and all(dim == 1 for dim in shape)
