from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.ir import shapes
from accelc.ir.groups import MAX_GROUP
from accelc.ir.pass_base import Refusal
from accelc.passes.fuse_elementwise import MAX_OPERANDS, FuseElementwise
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning, model_from_text, run_pass

OPSETS = '<ir_version: 11, opset_import: ["" : 24, "accelc.fused" : 1]>\n'


def function(name: str, count: int, body: str, result: str) -> str:
    operands = ", ".join(f"x{i}" for i in range(count))
    return (
        f'<domain: "accelc.fused", opset_import: ["" : 24]>\n{name} ({operands}) => ({result}) {{ {body} }}\n'
    )


def test_golden_one_cluster_with_broadcast_operands() -> None:
    head = "g (float[N,8] x, float[N,1] r, bool[8] c) => (float[N,8] y) <float[8] b, float two = {2}> {"
    before = head + " a = Mul(b, x)  d = Add(a, r)  e = Pow(d, two)  f = Where(c, e, a)  y = Sub(f, d) }"
    name = "map_mul_add_pow_where_sub_0123456789abcdef"
    body = (
        "c0 = Constant<value = float {2}>()"
        "  t0 = Mul(x0, x1)  t1 = Add(t0, x2)  t2 = Pow(t1, c0)  t3 = Where(x3, t2, t0)  t4 = Sub(t3, t1)"
    )
    after = OPSETS + head.replace(", float two = {2}", "") + f" y = accelc.fused.{name}(x, b, r, c) }}\n"
    assert_rewrites(FuseElementwise(), before, after + function(name, 4, body, "t4"))


def test_golden_a_value_of_two_clusters_is_computed_once() -> None:
    head = "g (float[N,8] x) => (float[N,8] y, float[N,8] z) {"
    before = head + " a = Exp(x)  b = Neg(a)  y = Abs(b)  z = Tanh(b) }"
    name = "map_exp_neg_0123456789abcdef"
    after = OPSETS + head + f" b = accelc.fused.{name}(x)  y = Abs(b)  z = Tanh(b) }}\n"
    assert_rewrites(FuseElementwise(), before, after + function(name, 1, "t0 = Exp(x0)  t1 = Neg(t0)", "t1"))


def test_golden_in_a_loop_with_captured_values() -> None:
    head = (
        "g (float[3] x, float[3] k) => (float[3] y) <int64 n = {4}, bool t = {1}> {"
        " y = Loop(n, t, x) <body = b (int64 i, bool go, float[3] v) => (bool on, float[3] w) { on = Identity(go)  "
    )
    name = "map_mul_tanh_0123456789abcdef"
    before = head + "m = Mul(v, k)  w = Tanh(m) }> }"
    after = OPSETS + head + f"w = accelc.fused.{name}(v, k) }}> }}\n"
    after += function(name, 2, "t0 = Mul(x0, x1)  t1 = Tanh(t0)", "t1")
    assert_rewrites(FuseElementwise(), before, after)
    assert_same_meaning(FuseElementwise(), before)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("g (float[N,1] x, float[N,8] r) => (float[N,8] y) { a = Exp(x)  y = Mul(a, r) }", "another shape"),
        ("g (int32[N,8] x, int32[8] d) => (int32[N,8] y) { a = Div(x, d)  y = Abs(a) }", "integer division"),
        ("g (int64[3] x) => (int64[3] y) { a = Neg(x)  y = Abs(a) }", "shape arithmetic"),
        ("g (string[N,8] x) => (float[N,8] y) { a = Cast<to=1>(x)  y = Abs(a) }", "do not take"),
        ("g (bfloat16[N,8] x) => (bfloat16[N,8] y) { a = Neg(x)  y = Abs(a) }", "BFLOAT16"),
    ],
)
def test_refusals(text: str, why: str) -> None:
    assert_refuses(FuseElementwise(), text, why)


@pytest.mark.parametrize(
    "text",
    [
        "g (float[N,8] x) => (float[N,8] y, float[N,8] a) { a = Exp(x)  y = Neg(a) }",
        "g (float[N,8] x) => (float[N,8] y) { y = Neg(x) }",
        "g (float[N,8] x) => (float[N,8] y) { a = Exp(x)  y = Softmax(a) }",
        "g (float[N,8] x) => (float[N,8] y) { a = Exp(x)  dead = Neg(a)  y = Abs(x) }",
    ],
)
def test_nothing_to_fuse(text: str) -> None:
    assert_rewrites(FuseElementwise(), text, text)


def test_unknown_shapes_are_refused() -> None:
    model = model_from_text("g (float[N,8] x) => (float[N,8] y) { a = Exp(x)  y = Neg(a) }")
    _, modified, record = run_pass(FuseElementwise(), model)  # without inferred shapes
    assert not modified
    assert any("not known" in refusal.why for refusal in record.refusals)


def test_limits_on_size() -> None:
    count = 3 * MAX_GROUP
    chain = "  ".join(f"t{i + 1} = Neg(t{i})" for i in range(count))
    text = f"g (float[2,2] t0) => (float[2,2] t{count}) {{ {chain} }}"
    result = assert_same_meaning(FuseElementwise(), text)
    assert len(list(result.graph)) == 3
    inputs = ", ".join(f"float[2,2] x{i}" for i in range(2 * MAX_OPERANDS))
    adds = "a1 = Add(x0, x1)  " + "  ".join(f"a{i} = Add(a{i - 1}, x{i})" for i in range(2, 2 * MAX_OPERANDS))
    text = f"g ({inputs}) => (float[2,2] a{2 * MAX_OPERANDS - 1}) {{ {adds} }}"
    result = assert_same_meaning(FuseElementwise(), text)
    assert all(len(node.inputs) <= MAX_OPERANDS for node in result.graph)
    assert len(list(result.graph)) == 3


def test_asks_the_target() -> None:
    class NoExp:
        def can_fuse(self, anchor: ir.Node, epilogue: ir.Node) -> Refusal | None:
            return Refusal("no exp here") if epilogue.op_type == "Exp" else None

    text = "g (float[N,8] x) => (float[N,8] y) { a = Exp(x)  y = Neg(a) }"
    assert_refuses(FuseElementwise(), text, "no exp here", cost=NoExp())


@settings(max_examples=30, deadline=None)
@given(data=st.data(), rows=st.integers(0, 3), seed=st.integers(0, 99))
def test_meaning_of_random_graphs(data: st.DataObject, rows: int, seed: int) -> None:
    """Random elementwise graphs with values read several times; several outputs."""
    floats, bools, body = ["x", "r", "b", "k"], ["c"], []
    for i in range(data.draw(st.integers(1, 10))):
        pick = data.draw(
            st.sampled_from(["Add", "Mul", "Sub", "Tanh", "Abs", "Where", "Less", "Max", "Cast"])
        )
        a, b = (data.draw(st.sampled_from(floats)) for _ in range(2))
        if pick == "Less":
            body.append(f"v{i} = Less({a}, {b})")
            bools.append(f"v{i}")
            continue
        c = data.draw(st.sampled_from(bools))
        body.append(
            {
                "Tanh": f"v{i} = Tanh({a})",
                "Abs": f"v{i} = Abs({a})",
                "Where": f"v{i} = Where({c}, {a}, {b})",
                "Cast": f"v{i} = Cast<to=1>({c})",
            }.get(pick, f"v{i} = {pick}({a}, {b})")
        )
        floats.append(f"v{i}")
    made = [name for name in floats if name.startswith("v")]
    if not made:
        return
    outputs = list(dict.fromkeys([made[-1], *data.draw(st.lists(st.sampled_from(made), max_size=2))]))
    # Adding x makes every output [N, 4], whatever the broadcasts before it.
    body += [f"{name}_out = Add({name}, x)" for name in outputs]
    declared = ", ".join(f"float[N,4] {name}_out" for name in outputs)
    text = f"g (float[N,4] x, float[N,1] r, bool[N,4] c) => ({declared}) <float[4] b, float k> {{ {'  '.join(body)} }}"
    rng = np.random.default_rng(seed)
    feeds = {
        "x": rng.standard_normal((rows, 4)).astype(np.float32),
        "r": rng.standard_normal((rows, 1)).astype(np.float32),
        "c": rng.integers(0, 2, (rows, 4)).astype(bool),
    }
    assert_same_meaning(FuseElementwise(), text, feeds, exact=True)


def test_pipeline_stages_are_borders() -> None:
    model = model_from_text(
        "g (float[2,8] x) => (float[2,8] y) { a = Exp(x)  b = Neg(a)  c = Abs(b)  y = Tanh(c) }"
    )
    shapes.infer(model)
    configuration = model.add_device_configuration("pipeline", num_devices=2)
    for index, node in enumerate(model.graph):
        node.set_pipeline_stage(configuration, index // 2)
    result, _, record = run_pass(FuseElementwise(), model)
    assert [node.device_configurations[0].pipeline_stage for node in result.graph] == [0, 1]
    assert any("another pipeline stage" in refusal.why for refusal in record.refusals)


def test_sharded_nodes_are_left_alone() -> None:
    model = model_from_text("g (float[2,8] x) => (float[2,8] y) { a = Exp(x)  y = Neg(a) }")
    shapes.infer(model)
    configuration = model.add_device_configuration("mesh", num_devices=2)
    first = next(iter(model.graph))
    first.shard(first.outputs[0], configuration=configuration, axis=0, num_shards=2)
    _, modified, record = run_pass(FuseElementwise(), model)
    assert not modified
    assert any("is sharded" in refusal.why for refusal in record.refusals)
