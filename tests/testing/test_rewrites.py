"""The assertions themselves: each must fail when a pass does what it may not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_ir as ir
import pytest

from accelc.errors import PassError
from accelc.ir.pass_base import Pass, PassContext, PassResult, Refusal
from accelc.passes.identity_ops import IdentityOps
from accelc.testing import (
    assert_refuses,
    assert_rewrites,
    assert_same_meaning,
    model_from_text,
    normal_text,
    random_feeds,
)

TEXT = "g (float[3] x) => (float[3] y) { a = Relu(x) y = Exp(a) }"


@dataclass(frozen=True)
class Does(Pass):
    """Calls a function on the model and says ``modified``."""

    action: Callable[[ir.Model], None]
    says: bool = True
    reasons: tuple[str, ...] = field(default=())
    name: ClassVar[str] = "does"

    def apply(self, model: ir.Model, ctx: PassContext) -> PassResult:
        for why in self.reasons:
            ctx.refused(Refusal(why), "rule", model.graph[0])
        if ctx.may_rewrite():
            self.action(model)
            return PassResult(model, self.says)
        return PassResult(model, False)


def nothing(model: ir.Model) -> None:
    pass


def to_neg(model: ir.Model) -> None:
    model.graph[0].op_type = "Neg"


def toggle(model: ir.Model) -> None:
    model.graph[0].op_type = "Neg" if model.graph[0].op_type == "Relu" else "Relu"


def rename_output(model: ir.Model) -> None:
    model.graph.outputs[0].name = "z"


def break_graph(model: ir.Model) -> None:
    model.graph.remove(model.graph[0])


@dataclass(frozen=True)
class IgnoresBudget(Pass):
    name: ClassVar[str] = "ignores-budget"

    def apply(self, model: ir.Model, ctx: PassContext) -> PassResult:
        modified = model.graph[0].op_type != "Neg"
        to_neg(model)
        return PassResult(model, modified)


def test_what_holds_passes() -> None:
    assert_rewrites(Does(nothing, says=False), TEXT, TEXT)
    assert_refuses(Does(nothing, says=False, reasons=("w has rank 3",)), TEXT, "rank 3")
    assert_same_meaning(IdentityOps(), TEXT.replace("Exp(a)", "Identity(a)"))


@pytest.mark.parametrize(
    ("pass_", "message"),
    [
        (Does(nothing, says=True), "says modified=True, but the model did not change"),
        (Does(to_neg, says=False), "says modified=False, but the model did change"),
        (Does(toggle), "gives another graph"),
        (IgnoresBudget(), "although ctx.may_rewrite\\(\\) says no"),
    ],
)
def test_dishonest_passes_are_caught(pass_: Pass, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        assert_rewrites(pass_, TEXT, TEXT)


def test_a_pass_that_changes_its_own_result_is_caught() -> None:
    with pytest.raises(AssertionError, match="changes its own result"):
        assert_rewrites(Does(toggle), TEXT, TEXT.replace("Relu", "Neg"))


@pytest.mark.parametrize("action", [rename_output, break_graph])
def test_broken_graphs_are_caught(action: Callable[[ir.Model], None]) -> None:
    with pytest.raises((AssertionError, PassError)):
        assert_rewrites(Does(action), TEXT, TEXT)


def test_refusals_must_be_refusals_with_that_reason() -> None:
    with pytest.raises(AssertionError, match="did not refuse"):
        assert_refuses(Does(to_neg), TEXT, "rank")
    with pytest.raises(AssertionError, match="gave other reasons than 'rank': \\['dtype'\\]"):
        assert_refuses(Does(nothing, says=False, reasons=("dtype",)), TEXT, "rank")


def test_a_change_of_meaning_is_caught() -> None:
    with pytest.raises(AssertionError, match="y: differs by"):
        assert_same_meaning(Does(to_neg), TEXT)


def test_weights_given_in_the_text_are_compared() -> None:
    before = "g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }"
    assert_rewrites(Does(nothing, says=False), before, before.replace(" = {1, 2}", ""))
    with pytest.raises(AssertionError, match="weight w: differs by"):
        assert_rewrites(Does(nothing, says=False), before, before.replace("{1, 2}", "{1, 3}"))


def test_text_and_draws_are_the_same_each_time() -> None:
    text = "g (float[N,2] x, int64[3] i, bool b) => (float[N,2] y) <float[2] w> { y = Add(x, w) }"
    model, again = model_from_text(text), model_from_text(text)
    assert normal_text(model) == normal_text(again)
    first, second = (m.graph.initializers["w"].const_value for m in (model, again))
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.numpy(), second.numpy())
    feeds = random_feeds(model, dims={"N": 3})
    assert {name: (array.dtype.name, array.shape) for name, array in feeds.items()} == {
        "x": ("float32", (3, 2)),
        "i": ("int64", (3,)),
        "b": ("bool", ()),
    }


def test_names_do_not_matter_and_digests_neither() -> None:
    header = '<ir_version: 11, opset_import: ["" : 24, "accelc.fused" : 1]>'
    body = '<domain: "accelc.fused", opset_import: ["" : 24]> relu_{} ({}) => (y) {{ y = Relu({}) }}'
    texts = [
        f"{header} g (float[3] x) => (float[3] y) {{ {a} = accelc.fused.relu_{d}(x) y = Exp({a}) }} "
        + body.format(d, v, v)
        for a, d, v in (("a", "0123456789abcdef", "p"), ("b", "fedcba9876543210", "q"))
    ]
    assert normal_text(model_from_text(texts[0])) == normal_text(model_from_text(texts[1]))
