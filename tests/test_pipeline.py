from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import onnx
import onnx_ir as ir
import pytest

import accelc.passes as registry
from accelc.errors import LimitError, PassError, UsageError
from accelc.ir.pass_base import Pass, PassContext, PassResult
from accelc.passes.identity_ops import IdentityOps
from accelc.pipeline import (
    LEVELS,
    Checks,
    Pipeline,
    Repeat,
    resolved,
    run_passes,
    split_steps,
    step_name,
    step_names,
)
from accelc.testing import model_from_text

TEXT = "g (float[3] x) => (float[3] y) { a = Relu(x) b = Identity(a) y = Exp(b) }"


@dataclass(frozen=True)
class Scale(Pass):
    by: float = 1.0
    label: str = "s"
    name: ClassVar[str] = "scale"

    def apply(self, model: ir.Model, ctx: PassContext) -> PassResult:
        return PassResult(model, False)


@dataclass(frozen=True)
class Fails(Pass):
    name: ClassVar[str] = "fails"

    def apply(self, model: ir.Model, ctx: PassContext) -> PassResult:
        raise KeyError("w")


@dataclass(frozen=True)
class Breaks(Pass):
    """Leaves a graph whose output nobody computes."""

    name: ClassVar[str] = "breaks"

    def apply(self, model: ir.Model, ctx: PassContext) -> PassResult:
        model.graph.remove(model.graph[0])
        return PassResult(model, True)


def test_levels_name_passes_that_exist() -> None:
    for level, steps in enumerate(LEVELS):
        assert Pipeline.default(level).steps == steps
        assert {name for step in steps for name in step_names(step)} <= set(registry.TABLE)
    with pytest.raises(UsageError, match="no optimisation level 4"):
        Pipeline.default(4)


def test_pipelines_of_emitted_models_hold_no_fusion() -> None:
    for level in range(4):
        steps = Pipeline.emitting(level).steps
        assert {name for step in steps for name in step_names(step)} <= set(registry.TABLE)
        assert ("recover-batch-norm" in steps) == (level >= 2)
        assert not {"fuse-epilogues", "fuse-reductions", "fuse-elementwise"} & set(
            Pipeline.emitting(level).names()
        )
    assert Pipeline.emitting(1) == Pipeline.default(1)
    assert Pipeline.emitting().before_fusion("cast-chains").steps[-1] == "cast-chains"


def test_editing_returns_new_pipelines() -> None:
    pipeline = Pipeline(("a", "b", "a", "c{n=2}"))
    assert pipeline.without("a").steps == ("b", "c{n=2}")
    assert pipeline.only("a", "c").steps == ("a", "a", "c{n=2}")
    assert pipeline.then("d", Scale(2.0)).names() == ("a", "b", "a", "c", "d", "scale")
    assert pipeline.before("b", "z").steps == ("a", "z", "b", "a", "c{n=2}")
    assert str(pipeline.then(Scale(2.0))) == "a,b,a,c{n=2},scale{by=2.0}"
    assert step_name(Scale(2.0)) == "scale"
    for wrong in (lambda: pipeline.without("q"), lambda: pipeline.only("q"), lambda: pipeline.before("q")):
        with pytest.raises(UsageError, match="pass 'q' is not in the pipeline"):
            wrong()


def test_a_users_pass_goes_before_fusion() -> None:
    steps = Pipeline.default(2).before_fusion("mine").names()
    assert steps.index("mine") + 1 == steps.index("fuse-epilogues")
    assert Pipeline(("a",)).before_fusion("mine").steps == ("a", "mine")


def test_the_text_of_the_passes_option() -> None:
    base = Pipeline(("a", "b", "c"))
    assert base.edited("x,y{n=2,m=4}").steps == ("x", "y{n=2,m=4}")
    assert base.edited("-b").steps == ("a", "c")
    assert base.edited("a,b,-a").steps == ("b",)
    assert base.edited("+d,-a").steps == ("b", "c", "d")
    assert split_steps("a{x=1,y=2},b") == ["a{x=1,y=2}", "b"]
    for wrong in ("a,,b", "", "-", "a{x=1"):
        with pytest.raises(UsageError, match="cannot read the list of passes"):
            base.edited(wrong)


def test_run_records_what_each_pass_did() -> None:
    ctx = PassContext()
    model = run_passes([IdentityOps(), Scale(2.0)], model_from_text(TEXT), ctx, Checks(verify_each=True))
    assert [node.op_type for node in model.graph] == ["Relu", "Exp"]
    first, second = ctx.trace.records
    assert (first.name, first.nodes_before, first.nodes_after, len(first.rewrites)) == (
        "identity-ops",
        3,
        2,
        1,
    )
    assert (second.name, second.nodes_before, second.nodes_after) == ("scale{by=2.0}", 2, 2)
    assert ctx.trace["scale"] is second
    assert first.ms > 0


@dataclass(frozen=True)
class Halve(Pass):
    """Drop the first of the nodes of one op, if there is more than one node left."""

    op: str

    name: ClassVar[str] = "halve"

    def apply(self, model: ir.Model, ctx: PassContext) -> PassResult:
        first = model.graph[0]
        if first.op_type != self.op or len(model.graph) == 1:
            return PassResult(model, False)
        first.outputs[0].replace_all_uses_with(first.inputs[0])
        model.graph.remove(first, safe=True)
        return PassResult(model, True)


def test_steps_repeat_until_nothing_changes() -> None:
    text = "g (float[2] x) => (float[2] y) { a = Abs(x) b = Neg(a) c = Abs(b) y = Exp(c) }"
    steps = [Repeat((Halve("Neg"), Halve("Abs")))]
    ctx = PassContext()
    assert [node.op_type for node in run_passes(steps, model_from_text(text), ctx).graph] == ["Exp"]
    ran = ["Neg", "Abs", "Neg", "Abs", "Neg"]  # the last Abs made the last change, so only Neg looks again
    assert [record.name for record in ctx.trace.records] == [f"halve{{op={op}}}" for op in ran]
    quiet = PassContext()
    run_passes(steps, model_from_text("g (float[2] x) => (float[2] y) { y = Exp(x) }"), quiet)
    assert len(quiet.trace.records) == 2
    bounded = PassContext()
    model = run_passes([Repeat(steps[0].steps, rounds=1)], model_from_text(text), bounded)
    assert len(bounded.trace.records) == 2
    assert len(model.graph) == 3


def test_repeated_steps_are_edited_as_the_others() -> None:
    pipeline = Pipeline(("a", Repeat(("b", "c")), "d"))
    assert pipeline.names() == ("a", "b", "c", "d")
    assert str(pipeline) == "a,(b,c)*,d"
    assert pipeline.edited(str(pipeline)) == pipeline
    assert pipeline.without("b").steps == ("a", Repeat(("c",)), "d")
    assert pipeline.without("b", "c").steps == ("a", "d")
    assert pipeline.only("d", "c").steps == (Repeat(("c",)), "d")
    assert pipeline.before("c", "z").steps == ("a", "z", Repeat(("b", "c")), "d")
    assert pipeline.edited("+(x,y{n=1})*").steps == (*pipeline.steps, Repeat(("x", "y{n=1}")))
    for wrong in ("(a,b)", "(a,,b)*", "(a,b"):
        with pytest.raises(UsageError, match="cannot read the"):
            pipeline.edited(wrong)


def test_print_after_and_progress() -> None:
    emitted: list[str] = []
    said: list[str] = []
    ctx = PassContext(progress=said.append)
    passes = [IdentityOps(), Scale()]
    run_passes(
        passes,
        model_from_text(TEXT),
        ctx,
        Checks(print_after=["scale"], emit=lambda name, text: emitted.append(name)),
    )
    assert emitted == ["scale"]
    assert said == ["identity-ops", "scale"]
    checks = Checks(print_after=["all"], emit=lambda name, text: emitted.append(text))
    run_passes(passes, model_from_text(TEXT), ctx, checks)
    assert len(emitted) == 3
    assert "Relu" in emitted[-1]


def test_a_failing_pass_names_itself_its_place_and_the_dump(tmp_path: Path) -> None:
    with pytest.raises(PassError) as caught:
        run_passes(
            [IdentityOps(), Fails()], model_from_text(TEXT), PassContext(), Checks(dump_on_error=tmp_path)
        )
    dump = tmp_path / "before-2-fails.onnx"
    assert str(caught.value) == (
        "PassError: a pass failed\n"
        "  where  pass fails, 2 of 2\n"
        f"  where  graph before the pass: {dump}\n"
        "  why    KeyError: 'w'\n"
        "  fix    leave the pass out with --passes=-NAME, and report this"
    )
    assert isinstance(caught.value.__cause__, KeyError)
    assert [node.op_type for node in onnx.load(dump).graph.node] == ["Relu", "Exp"]


def test_verify_each_names_the_pass_that_broke_the_graph() -> None:
    with pytest.raises(PassError) as caught:
        run_passes([Breaks()], model_from_text(TEXT), PassContext(), Checks(verify_each=True))
    assert "pass breaks, 1 of 1" in str(caught.value)


def test_limits_keep_their_kind() -> None:
    with pytest.raises(LimitError) as caught:
        run_passes([IdentityOps()], model_from_text(TEXT), PassContext(deadline=0.0))
    assert caught.value.where == ("pass identity-ops, 1 of 1",)


def test_resolve() -> None:
    assert isinstance(registry.resolve("identity-ops"), IdentityOps)
    assert registry.resolve(passed := Scale(3.0)) is passed
    for step, loaded in zip(LEVELS[3], resolved(LEVELS[3], registry.resolve), strict=True):
        assert str(loaded) == str(step)
    with pytest.raises(UsageError, match="there is no pass 'fold-constant'") as caught:
        registry.resolve("fold-constant")
    assert "did you mean fold-constants?" in str(caught.value)
    with pytest.raises(UsageError, match="has no option 'n'"):
        registry.resolve("identity-ops{n=2}")
    for wrong in ("a{n=2", "a{n}", "a{2=n}"):
        with pytest.raises(UsageError, match="cannot read"):
            registry.parse_options(wrong)
    assert registry.parse_options("p{a=1,b=x, c=0.5,d=True}") == (
        "p",
        {"a": 1, "b": "x", "c": 0.5, "d": True},
    )


USER_PASS = '''
from dataclasses import dataclass
from typing import ClassVar
from accelc import Pass
from accelc.ir.pass_base import PassResult

@dataclass(frozen=True)
class Mine(Pass):
    """A user's pass."""
    times: int = 1
    name: ClassVar[str] = "mine"

    def apply(self, model, ctx):
        return PassResult(model, False)

class NotAPass:
    pass
'''


def test_load_from_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(USER_PASS)
    assert str(registry.load_from_file(f"{file}:Mine")) == "mine"
    assert str(registry.load_from_file(f"{file}:Mine{{times=3}}")) == "mine{times=3}"
    (tmp_path / "bad.py").write_text("1 / 0")
    for spec, message in (
        (f"{file}:Other", "has no class Other"),
        (f"{file}:NotAPass", "is not a pass"),
        (f"{file}", "cannot read"),
        (f"{tmp_path}/no.py:Mine", "there is no file"),
        (f"{tmp_path}/bad.py:Mine", "fails when loaded"),
    ):
        with pytest.raises(UsageError, match=message):
            registry.load_from_file(spec)
