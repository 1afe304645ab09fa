"""compile() from source to verified executable, through the target that needs no kernels."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx_ir as ir
import pytest

import accelc
from accelc.bisection import bisect
from accelc.errors import CallError, LimitError, NumericsError, PassError, UsageError
from accelc.ir.pass_base import Pass, PassContext, PassResult
from accelc.pipeline import Pipeline
from accelc.request import Request
from accelc.target import Target

HEADER = '<ir_version: 11, opset_import: ["" : 24]>\n'
CHAIN = (
    HEADER
    + "g (float[N,4] x) => (float[N,4] y) { a = Relu(x) b = Neg(a) c = Relu(b) d = Tanh(x) y = Add(c, d) }"
)
PIPELINE = Pipeline(("infer-shapes",))


@dataclass(frozen=True)
class Swap(Pass):
    """Replace each node of one op by another op, one rewrite each: wrong on purpose."""

    op: str = "Relu"
    by: str = "Abs"

    name: ClassVar[str] = "swap"

    def apply(self, model: ir.Model, ctx: PassContext) -> PassResult:
        modified = False
        for node in model.graph:
            if node.op_type == self.op and ctx.may_rewrite():
                node.op_type = self.by
                ctx.rewrote(f"{self.op} to {self.by}", [node])
                modified = True
        return PassResult(model, modified)


@dataclass(frozen=True)
class Fails(Pass):
    """Raise what no pass should."""

    name: ClassVar[str] = "fails"

    def apply(self, model: ir.Model, ctx: PassContext) -> PassResult:
        raise KeyError("oops")


def compile_onnx(model: object, **options: object) -> accelc.Executable:
    return accelc.compile(model, **({"target": "onnx", "pipeline": PIPELINE} | options))


def expected(x: np.ndarray) -> np.ndarray:
    return np.maximum(-np.maximum(x, 0), 0) + np.tanh(x)


def test_compiles_text_verifies_and_runs() -> None:
    stages: list[str] = []
    exe = compile_onnx(CHAIN, progress=lambda what, done, total: stages.append(what))
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_allclose(exe(x=x), expected(x), rtol=1e-6)
    np.testing.assert_allclose(exe.run(["y"], {"x": x})[0], expected(x), rtol=1e-6)
    assert exe.verification.status == "verified"
    assert exe.verification.input_sets == 2
    assert stages[0] == "import"
    assert "verify: onnxruntime" in stages
    assert [spec.name for spec in exe.inputs] == ["x"]
    assert exe.trace["infer-shapes"].nodes_after == 5


def test_summary_is_json_and_complete() -> None:
    exe = compile_onnx(CHAIN)
    summary = json.loads(json.dumps(exe.summary))
    assert summary["nodes"] == {"before": 5, "after": 5}
    assert (summary["flops"], summary["flops_at"]) == (4 * (1 + 1 + 1 + 16 + 1), {"N": 1})
    assert set(summary["times_ms"]) == {"import", "passes", "lower", "verify", "total"}
    assert summary["passes"] == ["infer-shapes"]


@pytest.mark.parametrize("kind", ["path", "bytes", "proto", "ir"])
def test_every_kind_of_source(kind: str, tmp_path: Path) -> None:
    model = ir.from_onnx_text(CHAIN)
    path = tmp_path / "m.onnx"
    ir.save(model, path)
    source = {"path": path, "bytes": path.read_bytes(), "proto": ir.to_proto(model), "ir": model}[kind]
    before = ir.to_onnx_text(model)
    exe = compile_onnx(source)
    assert exe.verification.status == "verified"
    assert ir.to_onnx_text(model) == before


def test_dims_and_shapes_bind() -> None:
    assert compile_onnx(CHAIN, dims={"N": 7}).inputs[0].shape == (7, 4)
    assert compile_onnx(CHAIN, shapes={"x": (2, 4)}).inputs[0].shape == (2, 4)


def test_a_wrong_pass_is_caught() -> None:
    with pytest.raises(NumericsError, match="the compiled model does not give the same answers"):
        compile_onnx(CHAIN, pipeline=PIPELINE.then(Swap()))
    assert compile_onnx(CHAIN, pipeline=PIPELINE.then(Swap()), verify=False).verification.status == "off"


def test_bisect_names_the_rewrite() -> None:
    pipeline = Pipeline((Swap("Tanh", "Tanh"), Swap("Add", "Add"), Swap(), Swap("Neg", "Neg")))
    culprit = bisect(Request(CHAIN, target="onnx", pipeline=pipeline))
    assert culprit is not None
    # The first swap happens to change nothing: what it feeds is cut off below.
    assert (culprit.first_bad, culprit.rewrites, culprit.pass_name) == (4, 5, "swap")
    assert culprit.rewrite is not None
    assert culprit.rewrite.rule == "Relu to Abs"
    assert culprit.rewrite.nodes == ("Relu_2",)


def test_bisect_of_a_right_model_finds_nothing() -> None:
    assert bisect(Request(CHAIN, target="onnx", pipeline=PIPELINE)) is None


def test_bisect_blames_no_rewrite_when_the_target_is_wrong() -> None:
    culprit = bisect(Request(CHAIN, target=WrongTarget(), pipeline=Pipeline((Swap("Tanh", "Tanh"),))))
    assert culprit is not None
    assert (culprit.first_bad, culprit.rewrite) == (0, None)


class WrongTarget(Target):
    """Lowers every Relu to Abs."""

    name: ClassVar[str] = "wrong"

    def lower(self, model: ir.Model, options: object) -> accelc.Executable:
        from accelc.targets.onnx_model.target import OnnxExecutable

        Swap().apply(model, PassContext())
        return OnnxExecutable(model, kernels=1)

    def load(self, folder: object, manifest: object, options: object) -> accelc.Executable:
        raise NotImplementedError


def test_errors_of_usage_say_what_to_do() -> None:
    with pytest.raises(UsageError) as caught:
        compile_onnx(CHAIN, precision="f8")
    assert (
        str(caught.value)
        == "UsageError: there is no precision 'f8'\n  fix    use one of f32, tf32, bf16, f16"
    )
    with pytest.raises(UsageError, match="threads=0 makes no sense"):
        compile_onnx(CHAIN, threads=0)
    with pytest.raises(UsageError, match="dim N=-1 is negative"):
        compile_onnx(CHAIN, dims={"N": -1})
    with pytest.raises(UsageError, match="there is no target 'cppu'"):
        compile_onnx(CHAIN, target="cppu")
    with pytest.raises(UsageError, match="both pipeline= and passes="):
        compile_onnx(CHAIN, passes="infer-shapes")


def test_passes_may_be_text_or_values() -> None:
    assert accelc.compile(CHAIN, target="onnx", passes="infer-shapes", verify=0).summary["passes"] == [
        "infer-shapes"
    ]
    assert (
        accelc.compile(CHAIN, target="onnx", passes=[Swap("Neg", "Neg")], verify=0).summary["rewrites"] == 1
    )
    assert accelc.compile(CHAIN, target="onnx", passes="", verify=0).summary["passes"] == []


def test_a_failing_pass_is_named_with_its_place() -> None:
    with pytest.raises(PassError) as caught:
        compile_onnx(CHAIN, pipeline=PIPELINE.then(Fails()))
    assert str(caught.value) == (
        "PassError: a pass failed\n"
        "  where  pass fails, 2 of 2\n"
        "  why    KeyError: 'oops'\n"
        "  fix    leave the pass out with --passes=-NAME, and report this"
    )


def test_the_time_limit_ends_a_compile() -> None:
    with pytest.raises(LimitError) as caught:
        compile_onnx(CHAIN, time_limit=0)
    assert (
        str(caught.value)
        == "LimitError: the compile ran out of time after import\n  fix    raise --time-limit"
    )


def test_max_rewrites_stops_all_passes() -> None:
    exe = compile_onnx(CHAIN, pipeline=Pipeline((Swap(), Swap("Neg", "Neg"))), max_rewrites=1, verify=0)
    assert [len(record.rewrites) for record in exe.trace.records] == [1, 0]


def test_the_graph_is_printed_after_a_pass() -> None:
    seen: list[tuple[str, str]] = []
    compile_onnx(CHAIN, print_ir_after=["infer-shapes"], emit=lambda name, text: seen.append((name, text)))
    assert [name for name, _ in seen] == ["infer-shapes"]
    assert "Relu" in seen[0][1]


@pytest.mark.parametrize(
    ("feeds", "text"),
    [
        ({}, "CallError: input 'x' is missing\n  why    expected float32[N,4]"),
        ({"z": 1}, "CallError: no input is called 'z'\n  fix    inputs: x"),
        (
            {"x": np.zeros((2, 4))},
            "CallError: input 'x' does not fit\n  why    expected float32[N,4], got float64[2,4]",
        ),
        (
            {"x": np.zeros((2, 5), np.float32)},
            "CallError: input 'x' does not fit\n  why    expected float32[N,4], got float32[2,5]",
        ),
    ],
)
def test_wrong_calls_name_input_expected_and_got(feeds: dict[str, object], text: str) -> None:
    with pytest.raises(CallError) as caught:
        compile_onnx(CHAIN, verify=0)(**feeds)
    assert str(caught.value) == text


def test_subgraphs_run_with_captures() -> None:
    text = (
        HEADER + "g (bool c, float[N] x) => (float[N] y) { a = Neg(x)"
        " y = If(c) <then_branch = t () => (float[N] p) { p = Add(a, x) },"
        " else_branch = e () => (float[N] q) { q = Sub(a, x) }> }"
    )
    exe = compile_onnx(text)
    assert exe.verification.status == "verified"
    assert exe(c=np.array(False), x=np.array([2], np.float32)).tolist() == [-4]


def test_importing_the_driver_loads_no_heavy_library() -> None:
    code = (
        "import sys, accelc; accelc.compile;"
        "print([m for m in ('numba', 'llvmlite', 'jax', 'onnxruntime', 'qiskit') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
