"""Artifacts: StableHLO for four platforms, loaded by a process that has no frontend."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import accelc
from accelc.errors import ArtifactError

jax = pytest.importorskip("jax", reason="target xla needs accelc[jax]")

from accelc.targets.jax_xla.export import stored_program  # noqa: E402

HEAD = '<ir_version: 10, opset_import: ["" : 21]>'
FIXED = f"""{HEAD} g (float[2,3] x) => (float[2,4] y) <float[3,4] w = {{1,2,3,4,5,6,7,8,9,10,11,12}}> {{
  m = MatMul(x, w)  y = Softmax(m)
}}"""
FREE = f"""{HEAD} g (float[N,4] x) => (float[N,2,2] y, float[P] z)
  <int64[3] shape = {{-1, 2, 2}}, int64[1] flat = {{-1}}> {{
  t = Exp(x)  y = Reshape(t, shape)  z = Reshape(t, flat)
}}"""
CUT = f"""{HEAD} g (float[N] x) => (float[M] y) <float[1] zero = {{0}}, int64[1] all = {{-1}}> {{
  m = Greater(x, zero)  n = NonZero(m)  i = Reshape(n, all)  v = Gather(x, i)  y = Exp(v)
}}"""


def forms(folder: Path) -> list[dict[str, object]]:
    functions = json.loads((folder / "functions.json").read_text())["functions"]
    return [form for function in functions for form in function["forms"]]


def test_another_process_runs_it_without_the_frontend(tmp_path: Path) -> None:
    exe = accelc.compile(FIXED, target="xla")
    exe.save(tmp_path / "m.accel")
    x = np.arange(6, dtype=np.float32).reshape(2, 3) / 10
    np.save(tmp_path / "x.npy", x)
    code = f"""
import sys, numpy as np, accelc
exe = accelc.load({str(tmp_path / "m.accel")!r})
np.save({str(tmp_path / "y.npy")!r}, exe(x=np.load({str(tmp_path / "x.npy")!r})))
assert not [name for name in sys.modules if name.startswith(("accelc.frontend.", "accelc.passes."))], "frontend"
assert exe.verification.status == "verified"
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), exe(x=x))


def test_platforms_without_their_devices(tmp_path: Path) -> None:
    folder = accelc.compile(FIXED, target="xla").save(tmp_path / "m.accel")
    (form,) = forms(folder)
    assert set(form["files"]) == {"cpu", "cuda", "rocm", "tpu"}  # type: ignore[arg-type]
    for path in folder.glob("*.stablehlo"):
        content = path.read_bytes()
        assert b"StableHLO" in content
        assert b".py" not in content  # no path of this machine


def test_the_same_bytes_again(tmp_path: Path) -> None:
    first, second = (accelc.compile(FREE, target="xla").save(tmp_path / name) for name in ("a", "b"))
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def test_free_dims_stay_free(tmp_path: Path) -> None:
    exe = accelc.compile(FREE, target="xla")
    folder = exe.save(tmp_path / "m.accel")
    (form,) = forms(folder)
    assert form["symbolic"]
    assert form["takes"] == [["float32", ["N", "4"]]]
    loaded = accelc.load(folder)
    for rows in (1, 5, 0):  # 0 is no size that a symbol stands for: it is traced
        x = np.full((rows, 4), 0.5, np.float32)
        for a, b in zip(exe.run(None, {"x": x}), loaded.run(None, {"x": x}), strict=True):
            np.testing.assert_array_equal(a, b)


def test_programs_with_host_steps(tmp_path: Path) -> None:
    exe = accelc.compile(CUT, target="xla")
    loaded = accelc.load(exe.save(tmp_path / "m.accel"))
    for x in ([1, -1, 2], [-1], [3, 4, 5, 6, 7]):
        given = np.array(x, np.float32)
        np.testing.assert_array_equal(loaded(x=given), exe(x=given))
    again = loaded.save(tmp_path / "again.accel")
    assert (again / "functions.json").read_bytes() == (tmp_path / "m.accel" / "functions.json").read_bytes()


def test_a_changed_list_of_functions_is_refused(tmp_path: Path) -> None:
    folder = accelc.compile(FIXED, target="xla", verify=False).save(tmp_path / "m.accel")
    (folder / "functions.json").write_text("{}")
    with pytest.raises(ArtifactError, match="the artifact is damaged"):
        accelc.load(folder)


def test_calls_into_this_process_are_refused() -> None:
    spec = jax.ShapeDtypeStruct((2,), np.float32)
    name = "xla_ffi_python_cpu_callback"
    checks = [jax.export.DisabledSafetyCheck.custom_call(name)]
    function = jax.jit(lambda x: jax.ffi.ffi_call(name, spec)(x))
    hostile = jax.export.export(function, platforms=["cpu"], disabled_checks=checks)(spec)
    with pytest.raises(ArtifactError, match="not made by accelc"):
        stored_program(bytes(hostile.serialize()))
    fine = jax.export.export(jax.jit(jax.numpy.linalg.det))(jax.ShapeDtypeStruct((3, 3), np.float32))
    assert stored_program(bytes(fine.serialize())) is not None
    assert stored_program(b"nothing of the kind") is None
