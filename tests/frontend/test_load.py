from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto as T
from onnx import helper as h

from accelc.errors import LimitError, UnsafeModelError, UsageError
from accelc.frontend import IR_VERSION, OPSET, Limits, load_model
from accelc.ir.shapes import dims_of
from accelc.ir.text import to_text
from accelc.ir.verify import verify

TEXT = "g (float[N,1,4] x) => (float[N,4] y) <int64[1] axes = {1}> { s = Squeeze(x, axes) y = Relu(s) }"


def proto(opset: int = 11) -> onnx.ModelProto:
    """Squeeze by attribute: it takes an input from opset 13 on. One weight is large enough to be mapped."""
    weight = np.arange(2048, dtype=np.float32).reshape(4, 512)
    nodes = [
        h.make_node("Squeeze", ["x"], ["s"], name="squeeze1", axes=[1]),
        h.make_node("MatMul", ["s", "w"], ["m"]),
        h.make_node("Add", ["m", "b"], ["y"], name="add1"),
    ]
    graph = h.make_graph(
        nodes,
        "net",
        [h.make_tensor_value_info("x", T.FLOAT, ["N", 1, 4])],
        [h.make_tensor_value_info("y", T.FLOAT, ["N", 512])],
        [onnx.numpy_helper.from_array(weight, "w"), h.make_tensor("b", T.FLOAT, [1], [0.5])],
    )
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", opset)])
    model.ir_version = 7
    return model


def weight_of(model: ir.Model, name: str = "w") -> np.ndarray:
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    return np.asarray(tensor.numpy())


def test_every_source_gives_the_same_model(tmp_path: Path) -> None:
    source = proto()
    before = source.SerializeToString()
    path = tmp_path / "net.onnx"
    path.write_bytes(before)
    texts = set()
    for given in (path, str(path), before, source, ir.from_proto(source)):
        imported = load_model(given)
        verify(imported.model)
        assert imported.name == "net"
        assert len(imported.sha256) == 64
        assert imported.notes == ()
        texts.add(to_text(imported.model))
        np.testing.assert_array_equal(
            weight_of(imported.model), np.arange(2048, dtype=np.float32).reshape(4, 512)
        )
    assert len(texts) == 1
    assert source.SerializeToString() == before


def test_is_pinned_inferred_and_named() -> None:
    model = load_model(proto()).model
    assert model.opset_imports == {"": OPSET}
    assert model.ir_version == IR_VERSION
    assert [node.op_type for node in model.graph][-3:] == ["Squeeze", "MatMul", "Add"]
    assert dims_of(model.graph.outputs[0]) == ("N", 512)
    assert all(node.name for node in model.graph)
    assert list(model.graph.initializers) == ["w", "b"]
    onnx.checker.check_model(ir.to_proto(model))


def test_ir_model_is_not_changed() -> None:
    given = ir.from_proto(proto())
    before = to_text(given)
    load_model(given, dims={"N": 3})
    assert to_text(given) == before


def test_text_with_and_without_header(tmp_path: Path) -> None:
    path = tmp_path / "net.onnxtxt"
    path.write_text('<ir_version: 10, opset_import: ["": 21]> ' + TEXT)
    assert load_model(path).name == "net"
    assert dims_of(load_model(TEXT).model.graph.outputs[0]) == ("N", 4)


def test_dims_and_shapes() -> None:
    assert dims_of(load_model(TEXT, dims={"N": 7}).model.graph.outputs[0]) == (7, 4)
    assert dims_of(load_model(TEXT, shapes={"x": ("B", 1, 4)}).model.graph.outputs[0]) == ("B", 4)
    changed = load_model(TEXT, shapes={"x": (2, 1, 5)})
    assert dims_of(changed.model.graph.outputs[0]) == (2, 5)
    assert "input x was declared" in changed.notes[0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dims": {"M": 1}}, "no input has a dimension called 'M'"),
        ({"dims": {"N": -1}}, "not a natural number"),
        ({"shapes": {"z": (1,)}}, "no input called 'z'"),
        ({"shapes": {"x": (1, 4)}}, "wrong rank"),
        ({"shapes": {"x": (1, 1, "a b")}}, "is no dimension"),
    ],
)
def test_wrong_dims_and_shapes(options: dict[str, dict[str, object]], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        load_model(TEXT, **options)  # type: ignore[arg-type]


def test_missing_file() -> None:
    with pytest.raises(UsageError, match="cannot read"):
        load_model("/nowhere/model.onnx")
    with pytest.raises(UsageError, match="cannot read a model from int"):
        load_model(3)  # type: ignore[arg-type]


def test_odd_dimension_names_become_symbols() -> None:
    model = proto()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch-size"
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch-size"
    imported = load_model(model)
    assert dims_of(imported.model.graph.outputs[0]) == ("batch_size", 512)
    assert imported.notes == ("dimension 'batch-size' is called batch_size",)
    assert dims_of(load_model(model, dims={"batch-size": 2}).model.graph.outputs[0]) == (2, 512)


def test_old_initializers_that_are_inputs_become_constants() -> None:
    model = proto(opset=9)
    model.ir_version = 3
    model.graph.input.extend(
        [h.make_tensor_value_info("w", T.FLOAT, [4, 512]), h.make_tensor_value_info("b", T.FLOAT, [1])]
    )
    imported = load_model(model)
    assert [value.name for value in imported.model.graph.inputs] == ["x"]
    assert imported.notes == ()
    model.ir_version = 7
    assert "default value" in load_model(model).notes[0]


@pytest.mark.parametrize("linear", [True, False])
def test_sparse_initializers(linear: bool) -> None:
    indices = [1, 5] if linear else [0, 1, 1, 1]
    dims = [2] if linear else [2, 2]
    sparse = h.make_sparse_tensor(
        h.make_tensor("w", T.FLOAT, [2], [3.0, 4.0]), h.make_tensor("i", T.INT64, dims, indices), [2, 4]
    )
    graph = h.make_graph(
        [h.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [h.make_tensor_value_info("x", T.FLOAT, [2, 4])],
        [h.make_tensor_value_info("y", T.FLOAT, [2, 4])],
        sparse_initializer=[sparse],
    )
    model = load_model(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)).model
    np.testing.assert_array_equal(weight_of(model), [[0, 3, 0, 0], [0, 4, 0, 0]])


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.int8, np.bool_, ml_dtypes.bfloat16, np.complex64, ml_dtypes.int4]
)
@pytest.mark.parametrize("shift", [0, 1])
def test_external_data_is_mapped(tmp_path: Path, dtype: type, shift: int) -> None:
    values = (np.arange(3003).reshape(3, 1001) % 7).astype(dtype)
    tensor = onnx.numpy_helper.from_array(values, "w")
    (tmp_path / "w.bin").write_bytes(bytes(shift) + tensor.raw_data)
    graph = h.make_graph(
        [h.make_node("Identity", ["w"], ["y"])],
        "g",
        [],
        [h.make_tensor_value_info("y", tensor.data_type, None)],
        [tensor],
    )
    weight = graph.initializer[0]
    for key, value in (("location", "w.bin"), ("offset", shift), ("length", len(tensor.raw_data))):
        weight.external_data.add(key=key, value=str(value))
    weight.data_location = T.EXTERNAL
    weight.ClearField("raw_data")
    path = tmp_path / "m.onnx"
    path.write_bytes(
        h.make_model(graph, opset_imports=[h.make_opsetid("", 21)], ir_version=10).SerializeToString()
    )
    loaded = weight_of(load_model(path).model)
    np.testing.assert_array_equal(loaded, values)
    assert loaded.flags.aligned
    if shift == 0 and dtype is np.float32:
        assert not loaded.flags.writeable
        assert not loaded.flags.owndata


def test_links_only_where_allowed(tmp_path: Path) -> None:
    hub, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    hub.mkdir()
    snapshot.mkdir()
    (hub / "0a1b").write_bytes(np.ones(4, np.float32).tobytes())
    (snapshot / "w.bin").symlink_to(os.path.join("..", "blobs", "0a1b"))
    weight = T(name="w", data_type=T.FLOAT, dims=[4], data_location=T.EXTERNAL)
    weight.external_data.add(key="location", value="w.bin")
    graph = h.make_graph(
        [h.make_node("Identity", ["w"], ["y"])],
        "g",
        [],
        [h.make_tensor_value_info("y", T.FLOAT, [4])],
        [weight],
    )
    path = snapshot / "m.onnx"
    path.write_bytes(
        h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    with pytest.raises(UnsafeModelError, match="symlink"):
        load_model(path)
    with pytest.raises(UnsafeModelError, match="symlink"):
        load_model(path, allow_links=tmp_path / "elsewhere")
    np.testing.assert_array_equal(weight_of(load_model(path, allow_links=hub).model), np.ones(4))
    with pytest.raises(UnsafeModelError, match="did not come from a file"):
        load_model(path.read_bytes())


def test_functions_are_inlined() -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "local": 1]>
    g (float[N] x) => (float[N] y) { t = local.outer(x) y = local.scaled<a = 3.0>(t) }
    <domain: "local", opset_import: ["": 17, "local": 1]> outer (v) => (r) { u = local.inner(v) r = local.inner(u) }
    <domain: "local", opset_import: ["": 13]> inner (v) => (r) { r = Relu(v) }
    <domain: "local", opset_import: ["": 17]> scaled <a> (v) => (r) { r = LeakyRelu<alpha: float = @a>(v) }
    """
    model = load_model(text).model
    verify(model)
    assert not model.functions
    assert [node.op_type for node in model.graph] == ["Relu", "Relu", "LeakyRelu"]
    assert model.graph[2].attributes["alpha"].as_float() == 3.0


def test_limits() -> None:
    with pytest.raises(LimitError, match="more than 1 nodes"):
        load_model(TEXT, limits=Limits(max_nodes=1))
    with pytest.raises(LimitError, match="bytes"):
        load_model(TEXT, limits=Limits(max_model_bytes=10))
    with pytest.raises(LimitError, match="brackets deep"):
        load_model("g (float x) => (float y) " + "{" * 5000)


def test_what_cannot_be_converted_keeps_its_opset() -> None:
    text = '<ir_version: 8, opset_import: ["": 12, "com.acme": 1]> g (float[2,N] x) => (y, z)'
    imported = load_model(text + " { y = Relu(x) z = com.acme.Foo(x) }")
    assert imported.model.opset_imports == {"": OPSET, "com.acme": 1}
    body = (
        "{ ya, za = Scan<num_scan_inputs = 1, body = b (float[2] s, float[2] e) => (float[2] n, float[2] o)"
    )
    body += ' { n = Add(s, e) o = Identity(n) }>("", s0, xs) }'
    head = '<ir_version: 3, opset_import: ["": 8]> '
    signature = "g (float[1,2] s0, float[1,3,2] xs) => (float[1,2] ya, float[1,3,2] za) "
    imported = load_model(head + signature + body)
    assert imported.model.opset_imports == {"": 8}
    assert "kept at opset 8" in imported.notes[0]


def test_import_is_light() -> None:
    code = (
        "import sys, accelc.frontend\n"
        "print([name for name in ('onnxruntime', 'jax', 'numba', 'qiskit') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_that_nothing_binds_give_way_to_what_follows_from_the_inputs() -> None:
    model = load_model("g (float[N,4] x) => (float[unk__1,unk__2] y) { y = Concat<axis = 1>(x, x) }").model
    assert dims_of(model.graph.outputs[0]) == ("N", 8)


def test_an_output_that_is_an_input_keeps_the_inputs_shape() -> None:
    imported = load_model("g (float[1] x, float[N] y) => (float[?] x, float[N] z) { z = Mul(x, y) }")
    assert dims_of(imported.model.graph.inputs[0]) == (1,)
    assert dims_of(imported.model.graph.outputs[1]) == ("N",)
