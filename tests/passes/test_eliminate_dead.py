from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.passes.eliminate_dead import EliminateDead
from accelc.testing import assert_rewrites, assert_same_meaning, model_from_text, run_pass


def test_golden() -> None:
    result = assert_rewrites(
        EliminateDead(),
        """g (float[3] x, float[3] unused) => (float[3] y) <float[3] w = {1, 2, 3}, float[2] v = {1, 2}> {
             a = Relu(x) b = Add(a, w) c = Neg(b) d = RandomNormalLike(c) y = Exp(a) }""",
        "g (float[3] x, float[3] unused) => (float[3] y) { a = Relu(x) y = Exp(a) }",
    )
    assert not result.graph.initializers


def test_golden_subgraphs() -> None:
    result = assert_rewrites(
        EliminateDead(),
        """g (bool p, float[3] x) => (float[3] y) <float[3] w = {1, 2, 3}, float[3] v = {1, 2, 3}> {
             a = Relu(x) b = Neg(x) c = Abs(x)
             dead = If (p) <then_branch = t1 () => (float[3] q1) { q1 = Exp(b) },
                            else_branch = e1 () => (float[3] r1) { r1 = Mul(b, w) }>
             y = If (p) <then_branch = t () => (float[3] q) <float[3] u = {1, 2, 3}> {
                             d = Neg(c) q = Exp(a) },
                         else_branch = e () => (float[3] r) { r = Mul(x, v) }>
        }""",
        """g (bool p, float[3] x) => (float[3] y) <float[3] v = {1, 2, 3}> {
             a = Relu(x)
             y = If (p) <then_branch = t () => (float[3] q) { q = Exp(a) },
                         else_branch = e () => (float[3] r) { r = Mul(x, v) }>
        }""",
    )
    assert list(result.graph.initializers) == ["v"]
    assert all(not graph.initializers for graph in result.graph.subgraphs())


def test_golden_functions() -> None:
    text = """<ir_version: 11, opset_import: ["" : 24, "accelc.fused" : 1]>
      g (float[3] x) => (float[3] y) { y = accelc.fused.outer_00000001(x) }
      <domain: "accelc.fused", opset_import: ["" : 24, "accelc.fused" : 1]>
      outer_00000001 (x) => (y) { y = accelc.fused.inner_00000002(x) }
      <domain: "accelc.fused", opset_import: ["" : 24]> inner_00000002 (x) => (y) { y = Relu(x) }
      <domain: "accelc.fused", opset_import: ["" : 24]> other_00000003 (x) => (y) { y = Neg(x) }"""
    model = model_from_text(text)
    _, modified, record = run_pass(EliminateDead(), model)
    assert modified
    assert sorted(function.name for function in model.functions.values()) == [
        "inner_00000002",
        "outer_00000001",
    ]
    assert [rewrite.rule for rewrite in record.rewrites] == ["dead-function"]


def test_nothing_to_remove() -> None:
    text = "g (float[3] x) => (float[3] x2, float[3] y) { x2 = Relu(x) y = Exp(x2) }"
    assert_rewrites(EliminateDead(), text, text)


def test_budget() -> None:
    model = model_from_text("g (float[3] x) => (float[3] y) { a = Relu(x) b = Neg(a) y = Exp(x) }")
    _, modified, record = run_pass(EliminateDead(), model, max_rewrites=1)
    assert modified
    assert [rewrite.nodes for rewrite in record.rewrites] == [("b",)]
    assert len(model.graph) == 2


@settings(max_examples=20, deadline=None)
@given(picks=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=10))
def test_meaning(picks: list[tuple[int, int]]) -> None:
    names = ["x"]
    body = []
    for i, (left, right) in enumerate(picks):
        body.append(f"t{i} = Add({names[left % len(names)]}, {names[right % len(names)]})")
        names.append(f"t{i}")
    text = f"g (float[3] x) => (float[3] y) {{ {' '.join(body)} y = Neg({names[len(names) // 2]}) }}"
    result = assert_same_meaning(
        EliminateDead(), text, {"x": np.array([1, -2, np.nan], np.float32)}, exact=True
    )
    assert len(result.graph) <= len(picks) + 1
