"""The emitted graph as one file, or two where the weights are too large for protobuf."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import accelc
from accelc.errors import UsageError
from accelc.model_file import portable, write_model
from accelc.reference import run_onnxruntime
from accelc.testing import model_from_text

TEXT = """g (float[N,64] x) => (float[N,8] y) <float[64,8] w, float[64,8] v, float[8] b = {1,1,1,1,1,1,1,1}> {
  p = MatMul(x, w) q = MatMul(x, v) s = Add(p, q) y = Add(s, b) }"""
X = {"x": np.linspace(-1, 1, 128, dtype=np.float32).reshape(2, 64)}


def model() -> ir.Model:
    rng = np.random.default_rng(0)
    weights = {name: np.asarray(rng.standard_normal((64, 8)), np.float32) for name in "wv"}
    return model_from_text(TEXT, weights=weights)


def test_one_file_holds_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "m.onnx"
    assert write_model(model(), path) == (path,)
    assert [p.name for p in path.parent.iterdir()] == ["m.onnx"]
    np.testing.assert_array_equal(run_onnxruntime(path, X)[0], run_onnxruntime(model(), X)[0])
    first = path.read_bytes()
    write_model(model(), path)
    assert path.read_bytes() == first


def test_types_between_nodes_are_left_to_inference_where_it_knows_them(tmp_path: Path) -> None:
    text = """<ir_version: 11, opset_import: ["" : 24, "other" : 1]>
      g (float[N,64] x) => (float[N,64] y) <float[N,64] s, float[N,64] t> {
      s = Neg(x) t = other.Op(s) y = Neg(t) }"""
    write_model(portable(ir.from_onnx_text(text)), tmp_path / "m.onnx")
    written = onnx.load(tmp_path / "m.onnx")
    graph = written.graph
    assert {entry.domain: entry.version for entry in written.opset_import} == {"": 24, "other": 1}
    assert [info.name for info in graph.value_info] == ["t"]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_large_weights_lie_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    assert write_model(model(), path, max_inline_bytes=1000) == (path, tmp_path / "m.onnx.data")
    assert (tmp_path / "m.onnx.data").stat().st_size == 2 * 64 * 8 * 4
    onnx.checker.check_model(path, full_check=True)
    np.testing.assert_array_equal(run_onnxruntime(path, X)[0], run_onnxruntime(model(), X)[0])


def test_a_model_may_replace_the_file_it_was_read_from(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    write_model(model(), path)
    expected = run_onnxruntime(path, X)[0]
    exe = accelc.compile(path, target="onnx")
    assert exe.save(path) == path
    np.testing.assert_allclose(run_onnxruntime(path, X)[0], expected, rtol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_a_folder_in_the_way_is_an_artifact_or_an_error(tmp_path: Path) -> None:
    exe = accelc.compile(model(), target="onnx", verify=False)
    (tmp_path / "d.onnx").mkdir()
    assert (exe.save(tmp_path / "d.onnx") / "manifest.json").is_file()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write .*m\.onnx"):
        exe.save(tmp_path / "file" / "m.onnx")
