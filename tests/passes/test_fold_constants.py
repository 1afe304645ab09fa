from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.ir import shapes
from accelc.ir.pass_base import Limits
from accelc.passes.fold_constants import FoldConstants
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning, model_from_text, run_pass

INT_MIN = -(2**31)


def test_golden() -> None:
    assert_rewrites(
        FoldConstants(),
        """g (float[2] x) => (float[2] y) <float[2] a = {1, 2}, float[2] b = {3, 4}> {
             s = Add(a, b) two = Constant<value_float = 2.0>() t = Mul(s, two) y = Sub(x, t) }""",
        "g (float[2] x) => (float[2] y) <float[2] t = {8, 12}> { y = Sub(x, t) }",
    )


def test_golden_a_constant_graph_output_keeps_its_name() -> None:
    assert_rewrites(
        FoldConstants(),
        "g (float[2] x) => (float[2] y, float[2] z) <float[2] a = {1, -2}> { y = Relu(a) z = Exp(x) }",
        "g (float[2] x) => (float[2] y, float[2] z) <float[2] c = {1, 0}> { y = Identity(c) z = Exp(x) }",
    )


def test_golden_several_outputs_and_optional_operands() -> None:
    assert_rewrites(
        FoldConstants(),
        """g (float[2] x) => (float[2] y) <float[4] a = {1, 2, 3, 4}, float high = {3}> {
             p, q = Split<num_outputs = 2>(a) r = Clip(q, "", high) y = Sum(x, p, r) }""",
        "g (float[2] x) => (float[2] y) <float[2] p = {1, 2}, float[2] r = {3, 3}> { y = Sum(x, p, r) }",
    )


def test_golden_subgraphs_use_outer_constants() -> None:
    assert_rewrites(
        FoldConstants(),
        """g (bool p, float[2] x) => (float[2] y) <float[2] a = {1, 2}> {
             n = Neg(a)
             y = If (p) <then_branch = t () => (float[2] q) { m = Mul(n, n) q = Add(x, m) },
                         else_branch = e () => (float[2] r) { r = Constant<value_floats = [1.0, 2.0]>() }>
        }""",
        """g (bool p, float[2] x) => (float[2] y) {
             y = If (p) <then_branch = t () => (float[2] q) <float[2] m = {1, 4}> { q = Add(x, m) },
                         else_branch = e () => (float[2] r) { r = Constant<value_floats = [1.0, 2.0]>() }>
        }""",
    )


def test_golden_if_and_loop_of_constants_fold_whole() -> None:
    assert_rewrites(
        FoldConstants(),
        """g (float[2] x) => (float[2] y) <bool p = {1}, int64 n = {3}, float[2] a = {1, 2}> {
             u = If (p) <then_branch = t () => (float[2] q) { q = Neg(a) },
                         else_branch = e () => (float[2] r) { r = Exp(a) }>
             v = Loop (n, p, u) <body = b (int64 i, bool c, float[2] s) => (bool d, float[2] s2) {
                 d = Identity(c) s2 = Add(s, s) }>
             y = Mul(x, v)
        }""",
        "g (float[2] x) => (float[2] y) <float[2] v = {-8, -16}> { y = Mul(x, v) }",
    )


@pytest.mark.parametrize(
    ("body", "weights", "why"),
    [
        ("a = RandomNormal<shape = [3]>() y = Add(x, a)", "", "RandomNormal is random"),
        ("a = Bernoulli(w) y = Add(x, a)", "<float[3] w>", "Bernoulli is random"),
        (
            "a = DequantizeLinear(w, s) y = Add(x, a)",
            "<int8[3] w = {1, 2, 3}, float s = {0.5}>",
            "a quantised weight stays quantised",
        ),
        (
            "a = Div(w, z) b = Cast<to = 1>(a) y = Add(x, b)",
            "<int32[3] w = {1, 2, 3}, int32[3] z = {1, 0, 1}>",
            "division by zero",
        ),
        (
            "a = Div(w, z) b = Cast<to = 1>(a) y = Add(x, b)",
            f"<int32[3] w = {{1, {INT_MIN}, 3}}, int32[3] z = {{1, -1, 1}}>",
            "overflow",
        ),
        (
            "a = Mod(w, z) b = Cast<to = 1>(a) y = Add(x, b)",
            "<int64[3] w = {1, 2, 3}, int64[3] z = {1, 0, 1}>",
            "division by zero",
        ),
        (
            "a = Cast<to = 6>(w) b = Cast<to = 1>(a) y = Add(x, b)",
            "<float[3] w = {1, 3000000000, 1}>",
            "out of the range of INT32",
        ),
        (
            'a = Einsum<equation = "i,j,k->ijk">(w, w, w) b = ReduceSum<keepdims = 0>(a) y = Add(x, b)',
            "<float[40] w>",
            "is slow to evaluate",
        ),
    ],
)
def test_refusals(body: str, weights: str, why: str) -> None:
    assert_refuses(FoldConstants(), f"g (float[3] x) => (float[3] y) {weights} {{ {body} }}", why)


GROWS, UNKNOWN = "max_fold_bytes", "not known beforehand"
BOMBS = [
    ("a = ConstantOfShape(s)", "int64[3] s = {1000000, 1000000, 1000}", GROWS),
    ("a = ConstantOfShape(s)", "int64[2] s = {3037000500, 3037000500}", GROWS),
    ("z = ConstantOfShape(o) a = Expand(z, s)", "int64[1] o = {1}, int64[2] s = {100000, 1000000}", GROWS),
    ("z = ConstantOfShape(o) a = Tile(z, s)", "int64[1] o = {1}, int64[1] s = {100000000000}", GROWS),
    ("z = ConstantOfShape(o) a = Pad(z, s)", "int64[1] o = {1}, int64[2] s = {0, 100000000000}", GROWS),
    (
        "r = Range(l, h, d) a = Cast<to = 1>(r)",
        "int64 l = {0}, int64 h = {100000000000}, int64 d = {1}",
        GROWS,
    ),
    ("r = Range(l, h, d) a = Cast<to = 1>(r)", "int64 l = {0}, int64 h = {10}, int64 d = {0}", UNKNOWN),
    ("r = Range(l, h, d) a = Cast<to = 1>(r)", "float l = {0}, float h = {1e30}, float d = {1e-30}", GROWS),
    ("a = OneHot(s, d, v)", "int64[2] s = {1, 2}, int64 d = {100000000000}, float[2] v = {0, 1}", GROWS),
    ("z = Unsqueeze(v, ax) w = Transpose(z) a = MatMul(z, w)", "float[4000] v, int64[1] ax = {1}", GROWS),
    ("z = Unsqueeze(v, ax) a = Add(z, v)", "float[4000] v, int64[1] ax = {1}", GROWS),
    (
        'q = ConstantOfShape(o) a = Resize(q, "", c)',
        "int64[4] o = {1, 1, 1, 1}, float[4] c = {1, 1, 1e6, 1e6}",
        UNKNOWN,
    ),
]


@pytest.mark.parametrize(("body", "weights", "why"), BOMBS)
def test_bombs_are_seen_before_they_go_off(body: str, weights: str, why: str) -> None:
    text = (
        f"g (float[1] x) => (float y) <{weights}> {{ {body} s2 = ReduceSum<keepdims = 0>(a) y = Add(s2, x) }}"
    )
    model = model_from_text(text.replace("(float y)", "(float[1] y)"))
    _, _, record = run_pass(FoldConstants(), model)
    assert any(why in refusal.why for refusal in record.refusals), record.refusals
    assert (
        sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
        < 2**20
    )


@pytest.mark.parametrize(
    ("trips", "inner", "why"),
    [
        ("1000000000", "s2 = Add(s, s)", "evaluates"),
        (
            "10",
            "big = ConstantOfShape(h) m = ReduceMax<keepdims = 0>(big) s2 = Add(s, m)",
            "not known beforehand",
        ),
    ],
)
def test_loop_bombs(trips: str, inner: str, why: str) -> None:
    text = f"""g (float[2] x) => (float[2] y)
      <bool p = {{1}}, int64 n = {{{trips}}}, float[2] a, int64[2] h = {{100000, 100000}}> {{
        v = Loop (n, p, a) <body = b (int64 i, bool c, float[2] s) => (bool d, float[2] s2) {{
          d = Identity(c) {inner} }}>
        y = Mul(x, v)
      }}"""
    assert_refuses(FoldConstants(), text, why)


def test_a_loop_without_trip_count_is_refused() -> None:
    text = """g (float[2] x) => (float[2] y) <bool p = {1}, float[2] a> {
        v = Loop ("", p, a) <body = b (int64 i, bool c, float[2] s) => (bool d, float[2] s2) {
          d = Identity(c) s2 = Add(s, s) }>
        y = Mul(x, v)
      }"""
    assert_refuses(FoldConstants(), text, "number of iterations is not known")


def test_captured_variables_keep_an_if() -> None:
    text = """g (float[2] x) => (float[2] y) <bool p = {1}> {
        y = If (p) <then_branch = t () => (float[2] q) { q = Neg(x) },
                    else_branch = e () => (float[2] r) { r = Exp(x) }> }"""
    assert_rewrites(FoldConstants(), text, text)


def test_the_budget_counts_all_folds_together() -> None:
    text = """g (float[64] x) => (float[64] y) <int64[1] n = {64}> {
        a = ConstantOfShape(n) b = Exp(a) c = Cos(a) y = Sum(x, b, c) }"""
    model = model_from_text(text)
    shapes.infer(model)
    _, _, record = run_pass(FoldConstants(), model, limits=replace(Limits(), max_fold_bytes=300))
    assert [rewrite.note for rewrite in record.rewrites] == ["ConstantOfShape of constants, 256 bytes"]
    assert "max_fold_bytes leaves 52" in record.refusals[0].why


def test_a_fold_that_shrinks_the_model_needs_no_budget() -> None:
    assert_rewrites(
        FoldConstants(),
        "g (float[4,8] x) => (float[4,8] y) <float[8,4] w> { t = Transpose(w) y = Add(x, t) }",
        "g (float[4,8] x) => (float[4,8] y) <float[4,8] t> { y = Add(x, t) }",
        limits=replace(Limits(), max_fold_bytes=0),
    )


def test_a_weight_with_another_user_is_not_doubled_beyond_the_budget() -> None:
    assert_refuses(
        FoldConstants(),
        """g (float[4,8] x) => (float[4,8] y, float[8,4] z) <float[8,4] w> {
             t = Transpose(w) y = Add(x, t) u = Transpose(x) z = Add(u, w) }""",
        "would grow by 128 bytes",
        limits=replace(Limits(), max_fold_bytes=100),
    )


def test_the_time_limit_is_kept() -> None:
    text = """g (float[2] x) => (float[2] y) <float[2] a> { b = Exp(a) c = Exp(b) y = Mul(x, c) }"""
    model = model_from_text(text)
    _, _, record = run_pass(FoldConstants(), model, limits=replace(Limits(), max_fold_seconds=0.0))
    assert len(record.rewrites) == 1
    assert "for folding are spent" in record.refusals[0].why


def test_absent_external_data_is_not_folded() -> None:
    model = model_from_text("g (float[3] x) => (float[3] y) <float[3] w> { a = Neg(w) y = Add(x, a) }")
    weight = model.graph.initializers["w"]
    weight.const_value = ir.ExternalTensor(
        "nothing.bin", 0, 12, ir.DataType.FLOAT, shape=ir.Shape([3]), name="w", base_dir="/nonexistent"
    )
    _, modified, record = run_pass(FoldConstants(), model)
    assert not modified
    assert "external data is absent" in record.refusals[0].why


def test_an_evaluator_that_contradicts_inference_is_not_believed() -> None:
    model = model_from_text("g (float[3] x) => (float[3] y) <float[3] w> { a = Neg(w) y = Add(x, a) }")
    model.graph[0].outputs[0].dtype = ir.DataType.FLOAT
    model.graph[0].outputs[0].shape = ir.Shape([3])
    for wrong in (np.zeros(4, np.float32), np.zeros(3, np.float64)):
        _, modified, record = run_pass(FoldConstants(), model, evaluator=lambda node, inputs, w=wrong: [w])
        assert not modified
        assert "the reference gives" in record.refusals[0].why


def test_a_view_of_a_weight_is_not_copied() -> None:
    array = np.arange(12, dtype=np.float32)
    text = "g (float[3,4] x) => (float[3,4] y) <float[12] w, int64[2] s = {3, 4}> { v = Reshape(w, s) y = Add(x, v) }"
    model = model_from_text(text)
    model.graph.initializers["w"].const_value = ir.Tensor(array, name="w")
    model.graph[0].outputs[0].shape = ir.Shape([3, 4])
    run_pass(FoldConstants(), model)
    folded = model.graph.initializers["v"].const_value
    assert folded is not None
    assert np.shares_memory(folded.numpy(), array)


UNARY = ["Neg", "Abs", "Exp", "Relu", "Sqrt", "Sign", "Floor", "Transpose", "Flatten"]


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(0, 3),
    columns=st.integers(1, 3),
    ops=st.lists(st.sampled_from(UNARY), max_size=4),
    op=st.sampled_from(["Add", "Sub", "Mul", "Div", "Max", "Min"]),
)
def test_meaning(rows: int, columns: int, ops: list[str], op: str) -> None:
    body = " ".join(f"t{i + 1} = {name}(t{i})" for i, name in enumerate(ops))
    text = f"""g (float x) => (float[A,B] y) <float[{rows},{columns}] w> {{
      t0 = {op}(w, w) {body} y = Add(t{len(ops)}, x) }}"""
    result = assert_same_meaning(FoldConstants(), text, {"x": np.array(1.5, np.float32)})
    assert [node.op_type for node in result.graph] == ["Add"]
