"""Artifacts: byte-identical, movable, and refused when they are not what they say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

import accelc
from accelc import artifact
from accelc.errors import ArtifactError, UsageError
from accelc.pipeline import Pipeline
from accelc.target import Executable

PIPELINE = Pipeline(("infer-shapes",))


def small_model(scale: float = 1.0) -> ir.Model:
    rng = np.random.default_rng(0)
    model = ir.from_onnx_text(
        '<ir_version: 11, opset_import: ["" : 24]>\n'
        "g (float[N,32] x, float[32,16] w, float[16] b) => (float[N,16] y) { t = MatMul(x, w) y = Add(t, b) }"
    )
    for name, shape in (("w", (32, 16)), ("b", (16,))):
        value = next(v for v in model.graph.inputs if v.name == name)
        model.graph.inputs.remove(value)
        value.const_value = ir.tensor((scale * rng.standard_normal(shape)).astype(np.float32), name=name)
        model.graph.initializers.add(value)
    return model


def compiled(scale: float = 1.0) -> Executable:
    return accelc.compile(small_model(scale), target="onnx", pipeline=PIPELINE, verify=0)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled().save(tmp_path_factory.mktemp("artifacts") / "m.accel")


@pytest.fixture
def saved(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy.accel"))


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_same_input_gives_same_bytes(original: Path, tmp_path: Path) -> None:
    again = compiled().save(tmp_path / "other" / "name.accel")
    assert contents(again) == contents(original)


def test_a_copy_elsewhere_loads_and_runs(saved: Path) -> None:
    x = np.ones((3, 32), np.float32)
    np.testing.assert_array_equal(accelc.load(saved)(x=x), compiled()(x=x))


def test_the_graph_inside_runs_in_onnxruntime_and_weights_are_stored_once(saved: Path) -> None:
    session = onnxruntime.InferenceSession(saved / "model.onnx", providers=["CPUExecutionProvider"])
    x = np.ones((3, 32), np.float32)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], compiled()(x=x), rtol=1e-5)
    assert (saved / "initializers.bin").stat().st_size == 32 * 16 * 4
    assert (saved / "model.onnx").stat().st_size < 1000


def test_a_loaded_executable_tells_and_saves_the_same(saved: Path, tmp_path: Path) -> None:
    exe = accelc.load(saved)
    assert exe.summary["nodes"] == {"before": 2, "after": 2}
    assert exe.verification.status == "off"
    assert contents(exe.save(tmp_path / "again.accel")) == contents(saved)


def test_saving_replaces_an_artifact_and_nothing_else(saved: Path, tmp_path: Path) -> None:
    exe = compiled(2.0)
    exe.save(saved)
    np.testing.assert_array_equal(
        accelc.load(saved)(x=np.ones((1, 32), np.float32)), exe(x=np.ones((1, 32), np.float32))
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == [saved.name]
    mine = tmp_path / "photos"
    mine.mkdir()
    (mine / "cat.txt").write_text("cat")
    with pytest.raises(UsageError) as caught:
        exe.save(mine)
    assert str(caught.value) == (
        f"UsageError: {mine} is in the way\n"
        "  why    it is not an accelc artifact\n"
        "  fix    choose another folder with -o, or remove it"
    )
    with pytest.raises(UsageError, match="it is not a folder"):
        exe.save(mine / "cat.txt")


def test_a_failed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exe = compiled()
    monkeypatch.setattr(exe, "payload", lambda folder: (folder / "junk").write_text("x") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        exe.save(tmp_path / "m.accel")
    assert list(tmp_path.iterdir()) == []


def refused(folder: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        accelc.load(folder)
    return str(caught.value)


def test_an_edited_weight_is_refused(saved: Path) -> None:
    file = saved / "initializers.bin"
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    assert refused(saved) == (
        "ArtifactError: the artifact is damaged\n"
        f"  where  file {file}\n"
        "  why    its content does not match the manifest: it was edited\n"
        "  fix    copy it again, or compile the model again"
    )


def test_a_truncated_file_is_refused(saved: Path) -> None:
    file = saved / "initializers.bin"
    file.write_bytes(file.read_bytes()[:-1])
    assert "expected 2048 bytes, found 2047" in refused(saved)


@pytest.mark.parametrize("name", ["model.onnx", "initializers.bin"])
def test_a_missing_file_is_refused(saved: Path, name: str) -> None:
    (saved / name).unlink()
    assert "it is missing, or not a regular file" in refused(saved)


def test_a_link_instead_of_a_file_is_refused(saved: Path, tmp_path: Path) -> None:
    (saved / "model.onnx").rename(tmp_path / "elsewhere.onnx")
    (saved / "model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    assert "it is missing, or not a regular file" in refused(saved)


def test_an_edited_or_cut_manifest_is_refused(saved: Path) -> None:
    file = saved / "manifest.json"
    text = file.read_text()
    file.write_text(text.replace('"target": "onnx"', '"target": "cpu"'))
    assert "it was edited or cut off" in refused(saved)
    file.write_text(text[:-20])
    assert "it is not JSON: it was edited or cut off" in refused(saved)


def reseal(folder: Path, **changes: object) -> None:
    """What someone would do who edits a manifest on purpose."""
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text()) | changes
    manifest["seal"] = artifact._manifest_seal(manifest)
    file.write_text(json.dumps(manifest))


def test_another_schema_is_refused(saved: Path) -> None:
    reseal(saved, schema=99)
    assert refused(saved) == (
        f"ArtifactError: the artifact {saved} has another schema\n"
        "  why    expected schema 1, found 99\n"
        "  fix    compile the model again with this version of accelc"
    )


def test_a_target_that_is_not_installed_is_said(saved: Path) -> None:
    reseal(saved, target="abacus")
    assert refused(saved).startswith(f"ArtifactError: the artifact {saved} needs another target\n")


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../outside"])
def test_files_outside_are_never_opened(saved: Path, name: str) -> None:
    manifest = json.loads((saved / "manifest.json").read_text())
    reseal(saved, files={**manifest["files"], name: {"size": 0, "sha256": ""}})
    assert "it lists a file outside the artifact" in refused(saved)


def test_weights_outside_their_file_are_refused(saved: Path) -> None:
    import onnx

    model = onnx.load(saved / "model.onnx", load_external_data=False)
    weight = next(t for t in model.graph.initializer if t.name == "w")
    for key, value in (
        ("offset", "64"),
        ("offset", "-64"),
        ("location", "../../etc/passwd"),
        ("length", "8"),
    ):
        edited = onnx.ModelProto()
        edited.CopyFrom(model)
        target = next(t for t in edited.graph.initializer if t.name == weight.name)
        next(entry for entry in target.external_data if entry.key == key).value = value
        (saved / "model.onnx").write_bytes(edited.SerializeToString())
        files = json.loads((saved / "manifest.json").read_text())["files"]
        reseal(saved, files={**files, "model.onnx": artifact._seal(saved / "model.onnx")})
        message = refused(saved)
        assert message.startswith("ArtifactError: the artifact is damaged\n")
        assert "weight w: " in message or "it does not parse" in message


def test_not_an_artifact(tmp_path: Path) -> None:
    assert refused(tmp_path) == (
        f"ArtifactError: {tmp_path} is not an artifact\n"
        "  why    it has no manifest.json\n"
        "  fix    accelc compile MODEL -o DIR"
    )
    (tmp_path / "manifest.json").write_text("[]")
    assert "has no format" in refused(tmp_path)


def test_large_files_are_sampled_on_load_and_read_in_full_on_request(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact, "_FULL_DIGEST_BYTES", 1024)
    monkeypatch.setattr(artifact, "_QUICK_CHUNK_BYTES", 8)
    folder = compiled().save(saved.parent / "big.accel")
    file = folder / "initializers.bin"
    data = bytearray(file.read_bytes())
    data[20] ^= 1  # between two samples
    file.write_bytes(data)
    artifact.read(folder)
    with pytest.raises(ArtifactError, match="it was edited"):
        artifact.read(folder, full=True)
    data[0] ^= 1
    file.write_bytes(data)
    with pytest.raises(ArtifactError, match="it was edited"):
        artifact.read(folder)


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    exe = accelc.compile(small_model(), target="cpu")
    assert exe.verification.status == "verified"
    return exe.save(tmp_path_factory.mktemp("native") / "m.accel")


def test_native_artifacts_repeat_byte_by_byte_and_run_elsewhere(native: Path, tmp_path: Path) -> None:
    again = accelc.compile(small_model(), target="cpu").save(tmp_path / "again.accel")
    assert contents(again) == contents(native)
    x = np.ones((3, 32), np.float32)
    np.testing.assert_allclose(accelc.load(again)(x=x), compiled()(x=x), rtol=1e-5, atol=1e-5)


def test_an_artifact_for_another_cpu_is_refused(native: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(native, tmp_path / "foreign.accel"))
    payload = json.loads((folder / "manifest.json").read_text())["payload"]
    here = payload["cpu"]
    reseal(folder, payload={**payload, "cpu": "z80-8-0123456789ab"})
    assert refused(folder) == (
        "ArtifactError: the artifact was made for another CPU\n"
        f"  where  {folder}\n"
        f"  why    made for 'z80-8-0123456789ab', this machine is '{here}'\n"
        "  fix    compile the model again on this machine"
    )


def test_weights_in_a_kernels_layout_are_not_stored_again(native: Path) -> None:
    assert not (native / "initializers.bin").exists()
    model = artifact.read_model(native, artifact.read(native))
    w = model.graph.initializers["w"]
    assert w.const_value is None
    assert w.shape is not None
    assert w.shape.numpy() == (32, 16)
    with pytest.raises(Exception, match="stored-in-the-target-s-own-layout"):
        onnxruntime.InferenceSession(native / "model.onnx", providers=["CPUExecutionProvider"])
