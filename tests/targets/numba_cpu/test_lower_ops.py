from typing import Any

import numpy as np
import pytest
from lower_harness import check_node, lower_node

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.expr import Expr, ExprBuilder
from accelc.targets.numba_cpu.lower import normalize, reduce

RNG = np.random.default_rng(11)
NHWC = (0, 2, 3, 1)


def normal(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return RNG.normal(size=shape).astype(dtype)


def axes(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


X4 = normal(2, 3, 5, 19)
REDUCTIONS: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("ReduceSum", [X4, axes(1)], {}),
    ("ReduceSum", [X4, axes(-1)], {"keepdims": 0}),
    ("ReduceSum", [X4], {"keepdims": 0}),
    ("ReduceSum", [X4, axes()], {"noop_with_empty_axes": 1}),
    ("ReduceSum", [X4.astype(np.int64), axes(1)], {}),
    ("ReduceMean", [X4, axes(2, 3)], {}),
    ("ReduceMean", [X4.astype(np.float64), axes(3)], {}),
    ("ReduceMean", [normal(3, 40, dtype=np.float16), axes(1)], {}),
    ("ReduceMax", [(X4 * 9).astype(np.int8), axes(1, 3)], {}),
    ("ReduceMin", [X4, axes(0)], {}),
    ("ReduceMin", [X4 > 0, axes(3)], {}),
    ("ReduceSumSquare", [X4, axes(3)], {}),
    ("ReduceL2", [X4, axes(3)], {}),
    ("ReduceLogSum", [np.abs(X4), axes(3)], {}),
    ("ReduceLogSumExp", [X4 * 60, axes(3)], {}),
    ("ReduceLogSumExp", [X4, axes(1)], {"keepdims": 0}),
    ("ReduceSum", [np.zeros((2, 0, 3), np.float32), axes(1)], {}),
    ("ReduceSum", [np.zeros((0, 3), np.float32), axes(1)], {}),
    ("ReduceMax", [np.float32([[1, np.nan, 3], [np.inf, 1, 2]]), axes(1)], {}),
    ("ReduceSum", [np.float32(3.0).reshape(())], {}),
    ("GlobalAveragePool", [X4], {}),
    ("GlobalMaxPool", [X4], {}),
]


@pytest.mark.parametrize("case", range(len(REDUCTIONS)), ids=lambda i: f"{i}-{REDUCTIONS[i][0]}")
def test_reductions(case: int) -> None:
    op_type, inputs, attrs = REDUCTIONS[case]
    half = inputs[0].dtype == np.float16
    for threads in (1, 2):
        check_node(
            reduce.TABLE, op_type, inputs, attrs, constant=(1,), threads=threads, rtol=2e-3 if half else 2e-5
        )


@pytest.mark.parametrize("which", [(1,), (2, 3), (3,), (0, 1, 2, 3)])
def test_reductions_of_channels_last(which: tuple[int, ...]) -> None:
    check_node(reduce.TABLE, "ReduceMean", [X4, axes(*which)], {}, constant=(1,), orders={0: NHWC})


def test_axes_must_be_known() -> None:
    found = lower_node(reduce.TABLE, "ReduceSum", [X4, axes(1)])
    assert isinstance(found, Refusal)
    assert found.why == "the axes are not known at compile time"


def scaled(dtype: str = "float32") -> Expr:
    """x0 * 0.5 + x1."""
    builder = ExprBuilder()
    half = builder.add(dtype, "mul", builder.operand(0, dtype), builder.const(0.5, dtype))
    return builder.build(builder.add(dtype, "add", half, builder.operand(1, dtype)))


def test_reduction_with_prologue_and_epilogue() -> None:
    mask, bias = normal(2, 1, 1, 19), normal(2, 3, 5, 1)
    expected = ((X4 * 0.5 + mask).sum(3, keepdims=True) * 0.5 + bias).astype(np.float32)
    check_node(
        reduce.TABLE, "ReduceSum", [X4, axes(3)], {}, constant=(1,), expected=[expected],
        prologue=scaled(), prologue_operands=(mask,), epilogue=scaled(), epilogue_operands=(bias,),
    )  # fmt: skip


NORMS: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Softmax", [X4], {}),
    ("Softmax", [X4], {"axis": 1}),
    ("Softmax", [X4], {"axis": 0}),
    ("Softmax", [normal(3, 1)], {}),
    ("Softmax", [np.float32([[1, 2, -np.inf], [1000, 1000, 999], [np.nan, 1, 2], [-np.inf] * 3])], {}),
    ("Softmax", [normal(4, 7, dtype=np.float64)], {}),
    ("Softmax", [normal(4, 7, dtype=np.float16)], {}),
    ("Softmax", [np.zeros((0, 5), np.float32)], {}),
    ("LogSoftmax", [X4 * 3], {"axis": 2}),
    ("LayerNormalization", [X4, normal(19), normal(19)], {}),
    ("LayerNormalization", [X4, normal(5, 19), normal(5, 19)], {"axis": 2}),
    ("LayerNormalization", [X4 + 1000, normal(19), normal(19)], {}),
    ("LayerNormalization", [X4, normal(5, 1), normal(19)], {"axis": 2}),
    ("RMSNormalization", [X4, normal(19)], {}),
    ("BatchNormalization", [X4, normal(3), normal(3), normal(3), np.abs(normal(3))], {}),
    ("InstanceNormalization", [X4, normal(3), normal(3)], {}),
    ("GroupNormalization", [normal(2, 6, 4, 5), normal(6), normal(6)], {"num_groups": 3}),
    ("LpNormalization", [X4], {"axis": 1, "p": 2}),
    ("LpNormalization", [np.abs(X4)], {"axis": 3, "p": 1}),
]


@pytest.mark.parametrize("case", range(len(NORMS)), ids=lambda i: f"{i}-{NORMS[i][0]}")
def test_norms(case: int) -> None:
    op_type, inputs, attrs = NORMS[case]
    x = inputs[0]
    tolerance = 2e-3 if x.dtype == np.float16 else 5e-3 if np.abs(x).max(initial=0) > 500 else 5e-5
    tables = tuple(range(1, len(inputs)))
    for constant in (tables, ()) if tables else ((),):
        check_node(
            normalize.TABLE,
            op_type,
            inputs,
            attrs,
            constant=constant,
            threads=2,
            rtol=tolerance,
            atol=tolerance,
        )


@pytest.mark.parametrize("op_type", ["Softmax", "BatchNormalization", "InstanceNormalization"])
def test_norms_of_channels_last(op_type: str) -> None:
    inputs = NORMS[[name for name, _, _ in NORMS].index(op_type)][1]
    attrs = {"axis": 1} if op_type == "Softmax" else {}
    check_node(normalize.TABLE, op_type, inputs, attrs, orders={0: NHWC}, rtol=1e-4, atol=1e-5)


def test_softmax_before_opset_13_flattens() -> None:
    flat = X4.reshape(2, -1).astype(np.float64)
    expected = np.exp(flat - flat.max(1, keepdims=True))
    expected = (expected / expected.sum(1, keepdims=True)).reshape(X4.shape).astype(np.float32)
    check_node(normalize.TABLE, "Softmax", [X4], {}, opset=11, expected=[expected])


def test_softmax_with_mask_and_epilogue() -> None:
    mask, after = normal(2, 1, 1, 19), normal(19)
    scores = (X4 * 0.5 + mask).astype(np.float64)
    probabilities = np.exp(scores - scores.max(-1, keepdims=True))
    probabilities /= probabilities.sum(-1, keepdims=True)
    expected = (probabilities * 0.5 + after).astype(np.float32)
    check_node(
        normalize.TABLE, "Softmax", [X4], {}, expected=[expected], threads=3,
        prologue=scaled(), prologue_operands=(mask,), epilogue=scaled(), epilogue_operands=(after,),
    )  # fmt: skip


def test_layer_norm_with_residual() -> None:
    residual, scale, bias = normal(2, 3, 5, 19), normal(19), normal(19)
    x = (X4 * 0.5 + residual).astype(np.float64)
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale + bias
    check_node(
        normalize.TABLE, "LayerNormalization", [X4, scale, bias], {}, expected=[expected.astype(np.float32)],
        prologue=scaled(), prologue_operands=(residual,), constant=(1, 2), atol=1e-4,
    )  # fmt: skip


def test_half_softmax_with_epilogue_rounds_once() -> None:
    x, after = normal(4, 9, dtype=np.float16), normal(9, dtype=np.float16)
    scores = np.exp(x.astype(np.float64))
    expected = (scores / scores.sum(-1, keepdims=True) * 0.5 + after).astype(np.float16)
    check_node(
        normalize.TABLE, "Softmax", [x], {}, expected=[expected], rtol=3e-3, atol=1e-3,
        epilogue=scaled("float16"), epilogue_operands=(after,),
    )  # fmt: skip
