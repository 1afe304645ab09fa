from __future__ import annotations

import numpy as np
import onnx_ir as ir
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.passes.infer_shapes import InferShapes
from accelc.reference import run_onnxruntime
from accelc.testing import model_from_text, random_feeds, run_pass


def test_golden_symbols_are_kept() -> None:
    model = model_from_text(
        """g (float[N,S] x) => (float y) <int64[1] t = {-1}> {
             a = Concat<axis = 0>(x, x) b = Reshape(a, t) c = Relu(b) y = ReduceMax<keepdims = 0>(c) }"""
    )
    _, modified, record = run_pass(InferShapes(), model)
    assert modified
    shapes = {str(v.name): str(v.shape) for node in model.graph for v in node.outputs}
    assert shapes == {"a": "[2*N,S]", "b": "[2*N*S]", "c": "[2*N*S]", "y": "[]"}
    assert not record.refusals
    _, modified, _ = run_pass(InferShapes(), model)
    assert not modified


def test_golden_subgraphs() -> None:
    model = model_from_text(
        """g (bool p, float[N,3] x) => (float[N,3] y) {
             y = If (p) <then_branch = t () => (float[A,B] q) { a = Neg(x) q = Exp(a) },
                         else_branch = e () => (float[A,B] r) { r = Abs(x) }> }"""
    )
    run_pass(InferShapes(), model)
    inner = next(iter(model.graph.subgraphs()))
    assert str(inner[0].outputs[0].shape) == "[N,3]"


def test_refusal_unknown_ops_are_named_and_do_not_stop_the_rest() -> None:
    model = model_from_text(
        """<ir_version: 11, opset_import: ["" : 24, "foreign" : 1]>
        g (float[N] x) => (float[N] y) { a = foreign.Op(x) b = Neg(x) c = Add(b, x) y = Mul(c, a) }"""
    )
    run_pass(InferShapes(), model)
    by_name = {str(v.name): v.shape for node in model.graph for v in node.outputs}
    assert by_name["a"] is None
    assert str(by_name["c"]) == "[N]"


def test_a_model_that_lacks_nothing_is_only_looked_at() -> None:
    model = model_from_text("g (float[2,3] x) => (float[2,3] y) { a = Relu(x) y = Exp(a) }")
    _, modified, _ = run_pass(InferShapes(), model)
    assert modified
    model.graph[0].outputs[0].shape = ir.Shape([2, "Q"])  # complete, if not as sharp as it could be
    _, modified, _ = run_pass(InferShapes(), model)
    assert not modified
    assert str(model.graph[0].outputs[0].shape) == "[2,Q]"


@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(0, 3),
    k=st.integers(1, 3),
    ops=st.lists(
        st.sampled_from(
            [
                "Transpose({})",
                "Concat<axis = 0>({}, {})",
                "Relu({})",
                "ReduceSum<keepdims = 1>({}, last)",
                "Tile({}, twice)",
                "Slice({}, one, all)",
            ]
        ),
        max_size=4,
    ),
)
def test_meaning_inferred_shapes_are_the_real_ones(n: int, k: int, ops: list[str]) -> None:
    body = " ".join(f"t{i + 1} = {op.format(f't{i}', f't{i}')}" for i, op in enumerate(ops))
    model = model_from_text(
        f"""g (float[{n},{k}] x) => (float[A,B] y) <int64[1] last = {{-1}}, int64[2] twice = {{2, 1}},
        int64[1] one = {{1}}, int64[1] all = {{99}}> {{ t0 = Neg(x) {body} y = Abs(t{len(ops)}) }}"""
    )
    run_pass(InferShapes(), model)
    inferred = model.graph[-1].inputs[0]
    assert inferred is not None
    (y,) = run_onnxruntime(model, random_feeds(model))
    assert inferred.shape is not None
    np.testing.assert_array_equal(inferred.shape.numpy(), y.shape)
