"""The target as users meet it: compile, verify, save, load, the command line, and what is refused."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hybrid_harness import node, proto
from typer.testing import CliRunner

import accelc
from accelc import artifact
from accelc.errors import ArtifactError, FallbackError, LimitError, UnsupportedError, UsageError
from accelc.targets.quantum_circuit import product, target

pytest.importorskip("qiskit", reason="the quantum target needs Qiskit (accelc[quantum])")
pytest.importorskip("scipy", reason="the quantum target needs SciPy (accelc[quantum])")

RNG = np.random.default_rng(0)


def small_model(extra: bool = False) -> onnx.ModelProto:
    nodes = [
        node("Conv", "x k c", "p", pads=[1, 1, 1, 1]),
        node("Relu", "p", "r"),
        node("Flatten", "r", "f"),
        node("Gemm", "f w b", "z"),
        node("Softmax", "z", "y") if not extra else node("MatMul", "z m", "y"),
    ]
    if extra:
        nodes.insert(4, node("Transpose", "z", "m"))
    weights = {
        "k": RNG.standard_normal((2, 1, 3, 3)),
        "c": RNG.standard_normal(2),
        "w": RNG.standard_normal((18, 3)),
        "b": RNG.standard_normal(3),
    }
    return proto(nodes, {"x": ["N", 1, 3, 3]}, weights, {"y": ["N", "N" if extra else 3]}, "float")


def compiled(model: Any, **options: Any) -> Any:
    return accelc.compile(model, target="quantum", encoding_seconds=1.0, **options)


def test_compile_save_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exe = compiled(small_model(), shots=200, seed=3)
    assert exe.verification.status == "verified"
    assert exe.verification.max_rel_error < 1e-6
    facts = exe.summary["target_facts"]["circuits"]
    assert [each["ops"] for each in facts] == [["Conv"], ["Gemm"]]
    assert facts[0]["bias"] == "circuit"
    x = RNG.standard_normal((3, 1, 3, 3)).astype(np.float32)
    exe.save(tmp_path / "a")
    exe.save(tmp_path / "b")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert {"circuit0.qasm", "circuit1.qasm", "manifest.json", "model.onnx"} <= set(names)
    assert all(
        (tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes()
        for n in names
        if "qpy" not in n
    )
    for name in ("qiskit", "scipy"):
        monkeypatch.setitem(sys.modules, name, None)  # loading needs neither
    loaded = accelc.load(tmp_path / "a")
    np.testing.assert_array_equal(loaded(x=x), exe(x=x))
    exact = accelc.load(tmp_path / "a", shots=0)
    np.testing.assert_array_equal(exact(x=x), exe.run_exactly({"x": x})[0])
    assert "shots" in str(loaded.summary["target_facts"]["detail"])


def edited(folder: Path, change: Any) -> None:
    """Change an artifact and seal it again, as someone who means harm would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest, folder)
    for name in manifest["files"]:
        manifest["files"][name] = artifact._seal(folder / name)
    manifest["seal"] = artifact._manifest_seal(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def circuit(name: str, value: Any) -> Any:
    return lambda manifest, _: manifest["payload"]["circuits"][0].__setitem__(name, value)


def first_gate(text: str) -> Any:
    def change(_: Any, folder: Path) -> None:
        lines = (folder / "circuit0.qasm").read_text().splitlines()
        lines[3] = text
        (folder / "circuit0.qasm").write_text("\n".join(lines) + "\n")

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (first_gate("ry(0.5) q[0];\nwhile (true) { }"), "cannot read line"),
        (first_gate("ry(2.5) q[0];"), "does not hold the weights"),
        (first_gate("ry(nan) q[0];"), "cannot read line"),
        (first_gate("ry(0.1) q[99];"), "cannot act on qubits"),
        (first_gate("qubit[70] q;"), "cannot read line"),
        (circuit("row_qubits", [0, 0]), "cannot number"),
        (circuit("column_qubits", [0]), "cannot number"),
        (circuit("row_qubits", [-1]), "is not a count"),
        (circuit("alpha", float("1e400")), "is not a number"),
        (circuit("alpha", 1.0), "does not hold the weights"),
        (circuit("constant", -1), "is not a number"),
        (circuit("qasm", "../circuit0.qasm"), "is not a circuit of the artifact"),
        (circuit("qasm", "model.onnx"), ""),
        (lambda m, _: m["payload"]["circuits"].pop(), "1 circuits for 2 matrices"),
        (lambda m, _: m["payload"].__setitem__("schema", 9), "expected schema"),
        (lambda m, _: m["payload"].__setitem__("decisions", ["local"]), "decisions do not fit"),
        (lambda m, _: m["payload"].__setitem__("shots", -5), "is not a count"),
    ],
)
def test_edited_artifacts_are_refused(saved: Path, tmp_path: Path, change: Any, why: str) -> None:
    import shutil

    folder = tmp_path / "edited"
    shutil.copytree(saved, folder)
    try:
        edited(folder, change)
    except ValueError:
        return  # JSON of our own kind holds no infinity
    with pytest.raises(ArtifactError) as caught:
        accelc.load(folder)
    assert why in caught.value.why


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nodes = [node("Gemm", "x k c", "h"), node("Relu", "h", "r"), node("MatMul", "r w", "y")]
    weights = {"k": np.arange(15.0).reshape(5, 3) - 4, "c": np.arange(3.0), "w": np.eye(3) + 1}
    model = proto(nodes, {"x": ["N", 5]}, weights, {"y": ["N", 3]}, "float")
    folder: Path = compiled(model, verify=False).save(tmp_path_factory.mktemp("saved") / "m.accel")
    return folder


def test_the_first_line_of_an_artifacts_circuit_is_checked(saved: Path, tmp_path: Path) -> None:
    import shutil

    def grow(_: Any, folder: Path) -> None:
        file = folder / "circuit0.qasm"
        file.write_text(re.sub(r"qubit\[\d+\]", "qubit[64]", file.read_text()))

    folder = tmp_path / "edited"
    shutil.copytree(saved, folder)
    edited(folder, grow)
    with pytest.raises(ArtifactError) as caught:
        accelc.load(folder)
    assert "64 qubits is too large" in caught.value.why


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedError) as caught:
        compiled(small_model())
    assert str(caught.value) == (
        "UnsupportedError: target 'quantum' is not installed\n"
        "  why    qiskit and scipy missing\n"
        "  fix    pip install 'accelc[quantum]'"
    )


def test_products_of_two_operands_are_listed_and_refused_when_strict() -> None:
    exe = compiled(small_model(extra=True))
    assert len(exe.fallbacks) == 1
    assert "both operands of MatMul depend" in exe.fallbacks[0]
    with pytest.raises(FallbackError) as caught:
        compiled(small_model(extra=True), strict=True)
    assert "n_y (MatMul)" in caught.value.where[0]
    assert not compiled(small_model(), strict=True).fallbacks


def test_a_matrix_too_large_is_refused_before_anything_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "free_memory_bytes", lambda: 10_000)
    with pytest.raises(LimitError) as caught:
        compiled(small_model())
    assert caught.value.what == "a matrix is too large to be simulated as a circuit"
    assert caught.value.where[0].startswith("node n_z (Gemm): 18x3 would take 6 qubits and ")
    monkeypatch.setattr(product, "free_memory_bytes", lambda: 40_000)
    with pytest.raises(LimitError, match="the matrices are too large"):
        compiled(small_model())


def test_options_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match=r"encoding_error=1\.5 makes no sense"):
        compiled(small_model(), encoding_error=1.5)
    with pytest.raises(UsageError, match="shots=-1 makes no sense"):
        compiled(small_model(), shots=-1)
    with pytest.raises(UsageError, match="target 'cpu' measures nothing"):
        accelc.compile(small_model(), target="cpu", shots=5)
    with pytest.raises(UnsupportedError, match="has no precision bf16"):
        compiled(small_model(), precision="bf16")


def test_an_allowed_error_is_used_and_verified_within() -> None:
    exe = compiled(small_model(), encoding_error=0.05)
    errors = [each["error"] for each in exe.summary["target_facts"]["circuits"]]
    assert all(error <= 0.05 for error in errors)
    assert exe.tolerance == pytest.approx(max(2e-5, 10 * sum(errors)))
    assert exe.verification.status == "verified"


def test_the_command_line(tmp_path: Path) -> None:
    from accelc.cli.main import app

    file = tmp_path / "m.onnx"
    file.write_bytes(small_model().SerializeToString())
    run = CliRunner().invoke
    options = ["--target", "quantum", "--encoding-seconds", "1"]
    made = run(app, ["compile", str(file), *options, "-o", str(tmp_path / "a"), "--json"])
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["target_facts"]["kernels"] == 2
    for verb in (
        ["run", str(tmp_path / "a"), "--shots", "100"],
        ["verify", str(file), *options, "--sets", "1"],
        ["explain", "n_z", str(tmp_path / "a"), "--rounds", "1"],
        ["inspect", str(tmp_path / "a")],
        ["ops", "--target", "quantum"],
    ):
        done = run(app, verb)
        assert done.exit_code == 0, (verb, done.output)
