"""Products: MatMul, Gemm, Einsum, Det, and the precisions they are computed in."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("jax", reason="the xla target needs JAX (accelc[jax])")

from lowering_harness import Case, assert_close, case, check, lowered, run

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def test_matmul_shapes_and_dtypes() -> None:
    shapes = [((3, 4), (4, 5)), ((4,), (4,)), ((2, 1, 3, 4), (5, 4, 2)), ((0, 4), (4, 3)), ((2, 0), (0, 3))]
    cases = [case("MatMul", normal(*a), normal(*b)) for a, b in [*shapes, ((4,), (2, 4, 3))]]
    for dtype in (np.float64, np.float16, np.int32, np.uint64):
        a, b = (np.abs(normal(*shape) * 4).astype(dtype) for shape in ((3, 4), (4, 2)))
        cases.append(case("MatMul", a, b))
    check(*cases)


def test_halves_are_summed_in_float32() -> None:
    for dtype in (np.float16, ml_dtypes.bfloat16):
        a, b = np.full((1, 4096), 0.5, dtype), np.ones((4096, 1), dtype)
        (y,) = lowered("MatMul", a, b)
        assert y.dtype == dtype
        assert y.astype(np.float32).item() == 2048


def test_gemm() -> None:
    a, b = normal(3, 4), normal(4, 5)
    check(
        case("Gemm", a, b),
        case("Gemm", a, b, normal(3, 5), alpha=0.0, beta=0.0),
        case("Gemm", a, b, normal(5), alpha=0.5, beta=2.0),
        case("Gemm", a.T.copy(), b, normal(3, 1), transA=1),
        case("Gemm", a, b.T.copy(), normal(), transB=1),
        case("Gemm", *(np.arange(9).reshape(3, 3) for _ in range(3)), beta=1.0),
    )


def test_einsum() -> None:
    sizes = {"i": 3, "j": 4, "k": 5, "b": 2, "h": 3, "d": 4}
    cases: list[Case] = []
    for equation in ("ij,jk->ik", "...ij,...jk", " i i -> i", "bhd,bkd->bhk"):
        terms = equation.replace(" ", "").split("->")[0].split(",")
        shapes = [((2,) if "." in t else ()) + tuple(sizes[c] for c in t.replace(".", "")) for t in terms]
        cases.append(case("Einsum", *(normal(*shape) for shape in shapes), equation=equation))
    check(*cases)


def test_det() -> None:
    check(*(case("Det", normal(2, n, n), rtol=1e-4) for n in (1, 2, 3, 5)))


@pytest.mark.parametrize(("precision", "eps"), [("bf16", 2.0**-8), ("f16", 2.0**-11), ("tf32", 2.0**-23)])
def test_precision_rounds_the_operands(precision: str, eps: float) -> None:
    a, b = normal(8, 32), normal(32, 8)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    found: list[Any] = run([case("MatMul", a, b, precision=precision, platform=p) for p in ("cpu", "tpu")])
    for (y,) in found:
        assert_close(y, exact.astype(np.float32), rtol=0, atol=32 * 4 * eps)
