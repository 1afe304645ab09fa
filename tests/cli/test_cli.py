"""The command line: verbs, output, exit codes, errors as one message."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from accelc.cli import main as cli
from accelc.errors import AccelcError, FallbackError, LoweringError

HEADER = '<ir_version: 11, opset_import: ["" : 24]>\n'
CHAIN = HEADER + "g (float[N,4] x) => (float[N,4] y) { a = Relu(x) b = Neg(a) y = Tanh(b) }"
FAST = ("-t", "onnx", "--passes", "infer-shapes")
PASS_FILE = '''
from dataclasses import dataclass
from typing import ClassVar
from accelc.ir.pass_base import Pass, PassResult

@dataclass(frozen=True)
class Swap(Pass):
    """Replace Neg by Abs."""
    name: ClassVar[str] = "swap"
    fail: bool = False

    def apply(self, model, ctx):
        if self.fail:
            raise KeyError("oops")
        for node in model.graph:
            if node.op_type == "Neg" and ctx.may_rewrite():
                node.op_type = "Abs"
                ctx.rewrote("Neg to Abs", [node])
        return PassResult(model, True)
'''


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    ir.save(ir.from_onnx_text(CHAIN), tmp_path / "m.onnx")
    (tmp_path / "swap.py").write_text(PASS_FILE)
    return Path("m.onnx")


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: object) -> tuple[int, str, str]:
        code = cli.main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_compile_ends_with_one_summary(run: Run, model: Path) -> None:
    code, out, err = run("compile", model, *FAST)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "m.onnx -> m.accel"
    labels = [line[:16].strip() for line in lines[1:]]
    assert labels == [
        "target",
        "nodes",
        "kernels",
        "parameters",
        "FLOPs",
        "peak memory",
        "verification",
        "fallbacks",
        "time",
        "files",
    ]
    assert "verified against onnxruntime on 2 input sets" in out
    assert Path("m.accel/manifest.json").is_file()


def test_compile_as_json(run: Run, model: Path) -> None:
    code, out, _ = run("compile", model, *FAST, "--json", "--timing", "-o", "out.accel")
    content = json.loads(out)
    assert (code, content["schema"], content["output"]) == (0, 1, "out.accel")
    assert content["verification"]["status"] == "verified"
    assert set(content["files"]) == {"manifest.json", "model.onnx"}
    assert content["trace"][0]["pass"] == "infer-shapes"


def test_timing_and_printing(run: Run, model: Path) -> None:
    code, out, _ = run(
        "compile", model, *FAST, "--timing", "--print-ir-after", "infer-shapes", "--verify", "off"
    )
    assert code == 0
    assert "// after infer-shapes" in out
    assert "= Tanh(" in out
    assert any(line.split()[:1] == ["infer-shapes"] and len(line.split()) == 6 for line in out.splitlines())
    assert "verification  off" in out


def test_every_level_option_is_read(run: Run, model: Path) -> None:
    code, out, _ = run("compile", model, "-t", "onnx", "-O0", "--verify", "off", "--json")
    assert (code, json.loads(out)["passes"]) == (0, ["infer-shapes"])


def test_a_pass_from_a_file_that_is_wrong_exits_1_and_is_bisected(run: Run, model: Path) -> None:
    code, _, err = run("compile", model, *FAST, "--pass-from", "swap.py:Swap")
    assert code == 1
    assert err.startswith(
        "NumericsError: the compiled model does not give the same answers\n  where  model m\n"
    )
    assert not Path("m.accel").exists()
    code, out, _ = run("verify", model, *FAST, "--pass-from", "swap.py:Swap", "--bisect")
    assert code == 1
    assert "1 of 1" in out
    assert "Neg to Abs" in out
    code, out, _ = run("verify", model, *FAST, "--bisect")
    assert (code, out) == (0, "nothing to bisect: the compiled model gives the same answers\n")


def test_run_an_artifact_on_files_and_on_random_inputs(run: Run, model: Path) -> None:
    assert run("compile", model, *FAST)[0] == 0
    np.save("x.npy", np.ones((2, 4), np.float32))
    code, out, _ = run("run", "m.accel", "--input", "x=x.npy", "-o", "results")
    assert code == 0
    assert "out y  float32  [2,4]  -0.761594" in out
    with np.load("results/outputs.npz") as outputs:
        np.testing.assert_allclose(outputs["y"], np.full((2, 4), np.tanh(-1), np.float32), rtol=1e-6)
    code, out, _ = run("run", "m.accel", "--dim", "N=3", "--json")
    content = json.loads(out)
    assert (code, content["outputs"]["y"]["shape"], content["random_inputs"]) == (0, [3, 4], ["x"])
    code, _, err = run("run", "m.accel", "--input", "results/inputs.npz", "--input", "z=x.npy")
    assert (code, err) == (2, "CallError: no input is called 'z'\n  fix    inputs: x\n")


def test_verify_a_model_and_an_artifact(run: Run, model: Path) -> None:
    code, out, _ = run("verify", model, *FAST)
    assert code == 0
    assert "verified against onnxruntime on 3 input sets" in out
    assert run("compile", model, *FAST)[0] == 0
    code, out, _ = run("verify", "m.accel", "--original", model, "--json")
    assert (code, json.loads(out)["files_checked"]) == (0, 1)
    Path("m.accel/model.onnx").write_bytes(b"")
    code, _, err = run("verify", "m.accel")
    assert code == 3
    assert err.startswith("ArtifactError: the artifact is damaged\n  where  file m.accel/model.onnx\n")


def test_inspect_a_model_and_an_artifact(run: Run, model: Path) -> None:
    code, out, _ = run("inspect", model)
    assert code == 0
    assert "Tanh" in out
    assert run("compile", model, *FAST)[0] == 0
    code, out, _ = run("inspect", "m.accel", "--json")
    content = json.loads(out)
    assert (code, content["kind"], content["nodes"]) == (0, "artifact", 3)
    code, out, _ = run("inspect", "m.accel", "--nodes")
    assert code == 0
    assert "Relu" in out


@pytest.mark.parametrize("verb", ["passes", "targets", "doctor", ("ops", "-t", "onnx"), ("cache", "info")])
def test_lists(
    run: Run, verb: str | tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELC_CACHE_DIR", str(tmp_path / "cache"))
    words = (verb,) if isinstance(verb, str) else verb
    code, out, _ = run(*words)
    assert code == 0
    assert len(out.splitlines()) >= 3
    code, out, _ = run(*words, "--json")
    assert (code, json.loads(out)["schema"]) == (0, 1)


def test_passes_of_a_level_in_order(run: Run) -> None:
    code, out, _ = run("passes", "-O1", "--json")
    listed = [item["name"] for item in json.loads(out)["passes"]]
    assert code == 0
    assert listed[0] == "infer-shapes"
    assert listed.index("identity-ops") < listed.index("eliminate-dead")


def test_cache_clear(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("cache", "clear", "--cache-dir", tmp_path / "cache")
    assert code == 0
    assert out.startswith("removed 0 kernels")
    kept = tmp_path / "cache" / "circuits" / "a.npz"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"12")
    _, out, _ = run("cache", "info", "--cache-dir", tmp_path / "cache")
    assert "1 files, 2 B" in out
    _, out, _ = run("cache", "clear", "--cache-dir", tmp_path / "cache")
    assert "removed 1 files of circuits" in out
    assert not kept.exists()


USAGE = [
    (("compile", "nope.onnx"), "UsageError: there is no file nope.onnx\n  fix    give an .onnx file\n"),
    (("compile",), "UsageError: Missing argument 'MODEL'.\n  fix    see accelc compile --help\n"),
    (("fly",), "UsageError: No such command 'fly'.\n  fix    see accelc --help\n"),
    (
        ("compile", "m.onnx", "--dim", "N"),
        "UsageError: cannot read --dim N\n  fix    write --dim NAME=NUMBER, as in --dim batch=1\n",
    ),
    (
        ("compile", "m.onnx", "--shape", "x=1,-3"),
        "UsageError: cannot read --shape x=1,-3\n  fix    write --shape NAME=DIM,DIM, as in --shape x=1,3,224,224\n",
    ),
    (
        ("compile", "m.onnx", "--verify", "maybe"),
        "UsageError: cannot read --verify maybe\n  fix    write --verify off or --verify NUMBER\n",
    ),
    (
        ("compile", "m.onnx", "-t", "cppu"),
        "UsageError: there is no target 'cppu'\n  fix    did you mean cpu? see `accelc targets`\n",
    ),
    (
        ("compile", "m.onnx", "--passes=-nope"),
        "UsageError: pass 'nope' is not in the pipeline\n",
    ),
    (("run", "m.onnx", "--input", "x.npy"), "UsageError: cannot read --input x.npy\n"),
    (("run", "nope"), "UsageError: there is no file nope\n  fix    give an artifact or an .onnx file\n"),
]


@pytest.mark.parametrize(("words", "text"), USAGE)
def test_wrong_usage_exits_2_and_says_what_to_do(
    run: Run, model: Path, words: tuple[str, ...], text: str
) -> None:
    options = FAST[:2] if words[0] == "run" and "nope" not in words else ()
    code, out, err = run(*words, *options)
    assert (code, out) == (2, "")
    assert err.startswith(text) if text.count("fix") == 0 else err == text


def test_usage_errors_as_json(run: Run) -> None:
    code, out, err = run("compile", "--foo", "--json")
    content = json.loads(out)
    assert (code, err, content["error"], content["exit_code"]) == (2, "", "UsageError", 2)


def test_a_folder_in_the_way_is_found_before_the_work(run: Run, model: Path) -> None:
    Path("m.accel").mkdir()
    Path("m.accel/mine.txt").write_text("mine")
    code, _, err = run("compile", model, *FAST)
    assert code == 2
    assert "is in the way" in err
    assert Path("m.accel/mine.txt").is_file()


def test_invalid_model_exits_3(run: Run, model: Path) -> None:
    Path("bad.onnx").write_bytes(b"\xff" * 100)
    code, _, err = run("compile", "bad.onnx", *FAST)
    assert code == 3
    assert err.startswith("InvalidModelError: ")
    assert "Traceback" not in err


def test_unsupported_exits_4(run: Run, model: Path) -> None:
    code, _, err = run("compile", model, *FAST, "--precision", "bf16")
    assert (code, err) == (
        4,
        "UnsupportedError: target 'onnx' has no precision bf16\n"
        "  fix    use --precision f32, which changes no dtype\n",
    )


def test_limit_exits_5(run: Run, model: Path) -> None:
    code, _, err = run("compile", model, *FAST, "--time-limit", "0")
    assert (code, err) == (
        5,
        "LimitError: the compile ran out of time after import\n  fix    raise --time-limit\n",
    )


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            LoweringError(
                "target 'cpu' cannot lower Foo",
                where="node f (my.Foo, opset 1)",
                why="no kernel",
                fix="--target onnx",
            ),
            4,
            "LoweringError: target 'cpu' cannot lower Foo\n"
            "  where  node f (my.Foo, opset 1)\n  why    no kernel\n  fix    --target onnx\n",
        ),
        (
            FallbackError("1 node has no kernel", why="Foo"),
            6,
            "FallbackError: 1 node has no kernel\n  why    Foo\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (MemoryError(), 5, "LimitError: out of memory\n  fix    use a machine with more memory\n"),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_exit_codes_of_what_verbs_raise(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("accelc.cli.output.table", fail)
    monkeypatch.setattr("accelc.cli.targets.table", fail)
    found, out, err = run("targets")
    assert (found, out, err) == (code, "", text)


def test_a_bug_leaves_a_bundle_and_exits_70(run: Run, model: Path) -> None:
    code, _, err = run("compile", model, *FAST, "--pass-from", "swap.py:Swap{fail=True}")
    assert code == 70
    (bundle,) = Path().glob("accelc-repro-*")
    assert err == (
        "PassError: a pass failed\n"
        "  where  pass swap{fail=True}, 2 of 2\n"
        f"  where  bundle {bundle.resolve()}\n"
        "  why    KeyError: 'oops'\n"
        f"  fix    leave the pass out with --passes=-NAME; report this, with the folder {bundle.name}\n"
    )
    report = json.loads((bundle / "report.json").read_text())
    assert report["command"][:2] == ["accelc", "compile"]
    assert "KeyError: 'oops'" in (bundle / "traceback.txt").read_text()
    assert (bundle / "m.onnx").read_bytes() == Path("m.onnx").read_bytes()
    run("compile", model, *FAST, "--pass-from", "swap.py:Swap{fail=True}")
    assert len(list(Path().glob("*accelc-repro*"))) == 1


def test_an_unplanned_exception_is_a_bug_without_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("accelc.cli.targets.target_facts", fail)
    code, _, err = run("targets")
    assert code == 70
    assert err.startswith("InternalError: accelc failed in a way it should not\n  where  bundle ")
    assert "ZeroDivisionError: division by zero" in err
    code, out, _ = run("targets", "--json")
    assert (code, json.loads(out)["error"]) == (70, "AccelcError")


def test_help_and_version_load_nothing_heavy() -> None:
    code = (
        "import sys\nfrom accelc.cli.main import main\nmain(['--help'])\nmain(['--version'])\n"
        "print([m for m in ('numpy', 'numba', 'onnx', 'jax', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "compile" in done.stdout


def test_the_installed_command_runs_and_interrupts(model: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from accelc.cli.main import run; run()", "--version"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"NO_COLOR": "1"},
    )
    assert done.stdout.startswith("accelc ")


def test_every_error_class_has_an_exit_code() -> None:
    pending, codes = [AccelcError], {}
    while pending:
        cls = pending.pop()
        pending += cls.__subclasses__()
        codes[cls.__name__] = cls.exit_code
    assert set(codes.values()) <= {1, 2, 3, 4, 5, 6, 70}
