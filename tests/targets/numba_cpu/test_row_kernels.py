"""Row kernels called directly: other vector widths, strided operands, tasks, and what ``check`` lets through."""

from typing import Any

import numpy as np
import pytest
from kernel_harness import run_family

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.elementwise import Elementwise
from accelc.targets.numba_cpu.kernels.expr import Expr, ExprBuilder
from accelc.targets.numba_cpu.kernels.normalize import Normalize
from accelc.targets.numba_cpu.kernels.reduce import Reduce
from accelc.targets.numba_cpu.kernels.softmax import Softmax

RNG = np.random.default_rng(1)


def affine() -> Expr:
    """relu(x0 * x1 + x2)."""
    builder = ExprBuilder()
    x, y, z = (builder.operand(k, "float32") for k in range(3))
    total = builder.add("float32", "add", builder.add("float32", "mul", x, y), z)
    return builder.build(builder.add("float32", "relu", total))


MAP: dict[str, Any] = {
    "expr": affine().to_json(), "access": ["unit", "any", "zero"], "loops": 3, "cost": 3,
}  # fmt: skip
SUM: dict[str, Any] = {
    "expr": Expr.identity("float32").to_json(), "access": ["any"], "kind": "sum", "axes": [1], "inner": "reduced",
    "order": [0, 1], "kept": 2, "folded": 2, "dtype": "float32", "full": 0, "cost": 1,
}  # fmt: skip
ROWS: dict[str, Any] = {
    "expr": Expr.identity("float32").to_json(), "access": ["unit"], "order": [0, 1], "span": 1, "loops": 2,
    "cost": 1, "tables": 0,
}  # fmt: skip


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("bits", [256, 512])
def test_elementwise_at_other_widths_and_strides(bits: int) -> None:
    x, scale = normal(3, 5, 7, 19), np.float32([2.0])
    y = normal(5, 7, 38)
    for other in (y[:, :, ::2], y[:, :, 18::-1], y[:, :1, :19], y[:, :, :1], y[0, 0, :19], y[0, 0, :1]):
        out = np.zeros_like(x)
        run_family(Elementwise(), MAP, [x, other, scale], [out], Isa.host(bits), threads_simulated=3)
        np.testing.assert_allclose(out, np.maximum(x * other + 2, 0), 1e-5, 1e-6)


def test_elementwise_in_place() -> None:
    x, y = normal(5, 2000), normal(5, 1)
    expected = np.maximum(x * y + 2, 0)
    run_family(Elementwise(), MAP, [x, y, np.float32([2.0])], [x], threads_simulated=2)
    np.testing.assert_allclose(x, expected, 1e-5, 1e-6)


@pytest.mark.parametrize("bits", [512])
@pytest.mark.parametrize("n", [0, 1, 7, 8, 33, 5000])
def test_reduce_at_other_widths_and_strides(bits: int, n: int) -> None:
    x = normal(4, max(n, 1) * 2)[:, : 2 * n]
    for operand in (x, x[:, ::2], np.asfortranarray(x)):
        out = np.full(4, 9, np.float32)
        run_family(Reduce(), SUM, [operand], [out], Isa.host(bits), threads_simulated=2)
        np.testing.assert_allclose(out, operand.astype(np.float64).sum(1), 1e-5, 1e-4)


@pytest.mark.parametrize("bits", [512])
@pytest.mark.parametrize("n", [1, 3, 16, 37, 300])
def test_softmax_and_normalize_at_other_widths(bits: int, n: int) -> None:
    x = normal(9, n) * 4
    wide = x.astype(np.float64)
    out = np.zeros_like(x)
    run_family(Softmax(), {**ROWS, "log": False}, [x], [out], Isa.host(bits), threads_simulated=2)
    top = np.exp(wide - wide.max(1, keepdims=True))
    np.testing.assert_allclose(out, top / top.sum(1, keepdims=True), 3e-6, 1e-7)
    scale, bias = normal(n), normal(n)
    params = {**ROWS, "tables": 2, "center": True, "epsilon": 1e-5}
    run_family(Normalize(), params, [x, scale, bias], [out], Isa.host(bits), threads_simulated=2)
    normed = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(out, normed * scale + bias, 1e-5, 1e-5)


def test_operands_that_do_not_broadcast_are_named() -> None:
    with pytest.raises(CallError, match=r"operand of shape \[4\] does not broadcast to \[2, 3\]"):
        run_family(Elementwise(), MAP, [normal(2, 3), normal(4), np.float32([2.0])], [normal(2, 3)])


@pytest.mark.parametrize(
    ("family", "params", "change"),
    [
        (Elementwise(), MAP, {"loops": -1}),
        (Elementwise(), MAP, {"access": ["unit", "any"]}),
        (Elementwise(), MAP, {"access": ["unit", "any", "x); evil("]}),
        (Elementwise(), MAP, {"expr": "x"}),
        (Elementwise(), MAP, {"cost": True}),
        (Reduce(), SUM, {"kind": "sum; evil"}),
        (Reduce(), SUM, {"dtype": "float64"}),
        (Reduce(), SUM, {"order": [0, 0]}),
        (Reduce(), SUM, {"axes": ["1"]}),
        (Reduce(), SUM, {"kept": 1000}),
        (Softmax(), {**ROWS, "log": False}, {"log": 1}),
        (Softmax(), {**ROWS, "log": False}, {"span": 3}),
        (Normalize(), {**ROWS, "center": True, "epsilon": 0.1}, {"epsilon": "0); evil("}),
        (Normalize(), {**ROWS, "center": True, "epsilon": 0.1}, {"tables": 3}),
    ],
)
def test_check_refuses(family: Any, params: dict[str, Any], change: dict[str, Any]) -> None:
    family.check(params)
    with pytest.raises(ArtifactError):
        family.check({**params, **change})
