"""How far rounding moves answers: ill-conditioned models are told from wrong kernels."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from accelc.conditioning import MOST, moved_by_rounding, rounding_spread, terms_of
from accelc.ir.shapes import infer
from accelc.reference import Oracle
from accelc.targets.onnx_model.target import OnnxExecutable
from accelc.verification import check, prepare

HEADER = '<ir_version: 11, opset_import: ["" : 24]>\n'
CONSTANTS = (
    "<int64[1] k = {0}, float[1] eps = {0.000001}, float[1] big = {0.00001}, float[1] share = {0.00390625}, "
    "float[1] more = {1.01}>"
)
NORM = """g (float[256,4] x) => (float[256,4] y) %s {
    m = ReduceMean<keepdims=1>(x, k)  square = Mul(x, x)  e = ReduceMean<keepdims=1>(square, k)
    mm = Mul(m, m)  v = Sub(e, mm)  w = Add(v, eps)  s = Sqrt(w)  c = Sub(x, m)  y = Div(c, s)
}"""
"""A variance as JAX exports it: E[x^2] - E[x]^2."""
OTHER_ORDER = """g (float[256,4] x) => (float[256,4] y) %s {
    t = ReduceSum<keepdims=1>(x, k)  m = Mul(t, share)  square = Mul(x, x)  u = ReduceSum<keepdims=1>(square, k)
    e = Mul(u, share)  mm = Mul(m, m)  v = Sub(e, mm)  w = Add(v, eps)  s = Sqrt(w)  r = Reciprocal(s)
    a = Mul(x, r)  b = Mul(m, r)  y = Sub(a, b)
}"""


def model_of(text: str) -> ir.Model:
    model = ir.from_onnx_text(HEADER + text.replace("%s", CONSTANTS))
    infer(model)
    return model


def _rows_nearly_alike() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"x": (3.7 + 1e-3 * rng.integers(0, 2, (256, 4))).astype(np.float32)}


def test_another_order_of_an_ill_conditioned_model_is_no_error() -> None:
    model, feeds = model_of(NORM), _rows_nearly_alike()
    verdict = check(OnnxExecutable(model_of(OTHER_ORDER), kernels=1), prepare(model, model, data=feeds))
    assert verdict.max_rel_error > 1e-4
    assert verdict.status == "verified"
    assert verdict.max_rel_error <= verdict.bound <= MOST
    assert verdict.reason.startswith("rounding alone moves output y by ")


@pytest.mark.parametrize(("right", "wrong"), [("Add(v, eps)", "Add(v, big)"), ("Sub(x, m)", "Sub(m, x)")])
def test_a_wrong_kernel_is_caught_on_the_same_inputs(right: str, wrong: str) -> None:
    model, feeds = model_of(NORM), _rows_nearly_alike()
    planted = model_of(NORM.replace(right, wrong))
    assert check(OnnxExecutable(planted, kernels=1), prepare(model, model, data=feeds)).status == "failed"


def test_an_error_of_one_percent_is_caught_on_ordinary_inputs() -> None:
    model = model_of(NORM)
    planted = model_of(NORM.replace("y = Div(c, s)", "d = Div(c, s)  y = Mul(d, more)"))
    verdict = check(OnnxExecutable(planted, kernels=1), prepare(model, model))
    assert verdict.status == "failed"
    assert verdict.bound <= 1e-4


def test_well_conditioned_models_hardly_move() -> None:
    model = model_of(
        "g (float[N,64] x, float[64,8] w) => (float[N,8] y) { a = MatMul(x, w)  b = Tanh(a)  y = Softmax(b) }"
    )
    rng = np.random.default_rng(1)
    feeds = {"x": rng.standard_normal((3, 64), np.float32), "w": rng.standard_normal((64, 8), np.float32)}
    (moved,) = rounding_spread(model, feeds, Oracle(model).run(feeds))
    assert 0 < moved < 2e-5


def test_only_rounded_results_are_moved_and_names_stay() -> None:
    model = model_of("g (float[N,4] x) => (float[N,4] y) { a = Relu(x)  b = Add(a, x)  y = Neg(b) }")
    moved = moved_by_rounding(model, 0, {})
    assert [node.op_type for node in moved.graph] == ["Relu", "Add", "Mul", "Neg"]
    assert [value.name for value in moved.graph.outputs] == ["y"]
    assert len(list(model.graph)) == 3
    factor = next(iter(moved.graph.initializers.values())).const_value
    assert factor is not None
    assert abs(float(factor.numpy()) - 1) == 2.0**-23


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("g (float[N,64] x, float[64,8] w) => (float[N,8] y) { y = MatMul(x, w) }", 64),
        ("g (float[9,N] x, float[9,8] w) => (float[N,8] y) { y = Gemm<transA=1>(x, w) }", 9),
        ("g (float[N,6,5,5] x, float[4,3,2,2] w) => (float[N,4,4,4] y) { y = Conv<group=2>(x, w) }", 12),
        ("g (float[N,6,5,5] x) => (float[N,6,1,1] y) { y = GlobalAveragePool(x) }", 25),
        ("g (float[N,6,S] x) => (float[N,6,S] y) { y = Softmax(x) }", 1),
        ("g (float[N,4] x) => (float[N,4] y) { y = Exp(x) }", 1),
        ("g (float[N,4] x) => (float[M,4] y) { y = Exp(x) }", 1),
    ],
)
def test_terms(text: str, terms: int) -> None:
    model = model_of(text)
    assert terms_of(model.graph[0], {"N": 2}) == terms
