"""The session answers onnxruntime's calls: on a small executable of our own for the details, on a real model once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

import accelc.driver
import accelc.session as drop_in
from accelc.errors import CallError, UsageError
from accelc.machine import usable_cpus
from accelc.target import Executable, MemorySummary, TensorSpec

DIGITS = Path(__file__).parents[1] / "examples" / "digits"


class Sums(Executable):
    """``total = a + b`` and ``double = 2 * a``, of float32[N, 2]."""

    inputs = tuple(TensorSpec(name, np.dtype(np.float32), ("N", 2)) for name in ("a", "b"))
    outputs = tuple(TensorSpec(name, np.dtype(np.float32), ("N", 2)) for name in ("total", "double"))
    target_name = "sums"

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[np.ndarray]:
        missing = [spec.name for spec in self.inputs if spec.name not in feeds]
        if missing:
            raise CallError(f"input {missing[0]} is missing")
        results = {"total": feeds["a"] + feeds["b"], "double": 2 * feeds["a"]}
        return [results[name] for name in output_names or results]

    @property
    def memory_plan(self) -> MemorySummary:
        return MemorySummary(0, 0, 0)

    def payload(self, folder: Path) -> dict[str, Any]:
        return {}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replaces the compiler by one that gives Sums, and lists what it was asked for."""
    asked: list[dict[str, Any]] = []

    def compile_model(model: Any, **options: Any) -> Sums:
        asked.append({"model": model, **options})
        return Sums()

    monkeypatch.setattr(accelc.driver, "compile", compile_model)
    return asked


A, B = np.ones((3, 2), np.float32), np.full((3, 2), 2, np.float32)


def test_run(calls: list[dict[str, Any]]) -> None:
    session = drop_in.InferenceSession(b"model")
    total, double = session.run(None, {"a": A, "b": B})
    np.testing.assert_array_equal(total, A + B)
    np.testing.assert_array_equal(double, 2 * A)
    assert [len(session.run(names, {"a": A, "b": B})) for names in ([], ["double"], ["double", "total"])] == [
        2,
        1,
        2,
    ]
    with pytest.raises(CallError, match="input b is missing"):
        session.run(None, {"a": A})


def test_defaults_start_as_fast_as_onnxruntime(calls: list[dict[str, Any]]) -> None:
    drop_in.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    assert calls == [
        {"model": Path("model.onnx"), "threads": usable_cpus(), "dims": None, "level": 2, "verify": False}
    ]


def test_options_of_onnxruntime_are_understood(calls: list[dict[str, Any]]) -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = drop_in.InferenceSession(
        b"m", options, disabled_optimizers=["ConstantFolding"], verify=2, cache_dir="c"
    )
    assert calls == [{"model": b"m", "threads": 3, "dims": None, "level": 1, "verify": 2, "cache_dir": "c"}]
    assert session.get_session_options() is options


def test_options_of_our_own(calls: list[dict[str, Any]]) -> None:
    options = drop_in.SessionOptions(intra_op_num_threads=2)
    options.graph_optimization_level = drop_in.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_free_dimension_override_by_name("N", 4)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    drop_in.InferenceSession(b"m", options, dims={"M": 1})
    assert calls == [{"model": b"m", "threads": 2, "dims": {"N": 4, "M": 1}, "level": 0, "verify": False}]


def test_an_artifact_folder_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, dict[str, Any]]] = []

    def load(path: Path, **options: Any) -> Sums:
        asked.append((path, options))
        return Sums()

    monkeypatch.setattr(accelc.driver, "load", load)
    drop_in.InferenceSession(str(tmp_path), threads=2)
    assert asked == [(tmp_path, {"threads": 2})]


def test_what_the_model_takes_and_gives(calls: list[dict[str, Any]]) -> None:
    session = drop_in.InferenceSession(b"m")
    (a, b), (total, _) = session.get_inputs(), session.get_outputs()
    assert (a.name, a.type, a.shape) == ("a", "tensor(float)", ["N", 2])
    assert (b.name, total.name) == ("b", "total")
    assert session.get_overridable_initializers() == []


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (np.float32, "float"),
        (np.float64, "double"),
        (np.float16, "float16"),
        (np.int64, "int64"),
        (np.uint8, "uint8"),
        (np.bool_, "bool"),
        (np.object_, "string"),
        (np.complex64, "complex64"),
        (ml_dtypes.bfloat16, "bfloat16"),
        (ml_dtypes.float8_e4m3fn, "float8e4m3fn"),
    ],
)
def test_type_names(dtype: Any, name: str) -> None:
    assert drop_in._node_arg(TensorSpec("x", np.dtype(dtype), None)).type == f"tensor({name})"


def test_providers(calls: list[dict[str, Any]]) -> None:
    session = drop_in.InferenceSession(b"m", providers=[("CPUExecutionProvider", {"arena": "1"})])
    assert session.get_providers() == drop_in.get_available_providers() == ["CPUExecutionProvider"]
    assert session.get_provider_options() == {"CPUExecutionProvider": {"arena": "1"}}
    with pytest.warns(
        UserWarning, match="CUDAExecutionProvider is not available here; using CPUExecutionProvider"
    ):
        session.set_providers(["CUDAExecutionProvider", "CPUExecutionProvider"], [{"id": "0"}, {}])
    assert session.get_providers() == ["CPUExecutionProvider"]
    with pytest.raises(UsageError, match="1 providers, 2 options"):
        session.set_providers(["CPUExecutionProvider"], [{}, {}])
    assert drop_in.get_device() == "CPU"


def test_model_metadata(calls: list[dict[str, Any]]) -> None:
    session = drop_in.InferenceSession(b"m")
    assert session.get_modelmeta().graph_name == ""
    graph = ir.Graph([], [], nodes=[], name="net", opset_imports={"": 21}, doc_string="a net")
    model = ir.Model(graph, ir_version=10, producer_name="trainer", model_version=7)
    model.metadata_props.update({"names": "cat,dog", "accelc.origin": "internal"})
    session.executable.model = model
    meta = session.get_modelmeta()
    assert (meta.producer_name, meta.graph_name, meta.version) == ("trainer", "net", 7)
    assert (meta.graph_description, meta.custom_metadata_map) == ("a net", {"names": "cat,dog"})


def test_metadata_of_an_artifact(tmp_path: Path) -> None:
    saved = accelc.driver.compile(DIGITS / "mlp.onnx", verify=False).save(tmp_path / "mlp.accel")
    assert drop_in.InferenceSession(saved).get_modelmeta().graph_name == "digits_mlp"


def test_binding_by_array_and_value(calls: list[dict[str, Any]]) -> None:
    session = drop_in.InferenceSession(b"m")
    binding = session.io_binding()
    binding.bind_cpu_input("a", A)
    binding.bind_ortvalue_input("b", ort.OrtValue.ortvalue_from_numpy(B))
    session.run_with_iobinding(binding)
    assert [value.shape() for value in binding.get_outputs()] == [[3, 2], [3, 2]]
    given = ort.OrtValue.ortvalue_from_numpy(np.zeros((3, 2), np.float32))
    binding.bind_ortvalue_output("double", given)
    session.run_with_iobinding(binding)
    (double,) = binding.copy_outputs_to_cpu()
    np.testing.assert_array_equal(double, 2 * A)
    np.testing.assert_array_equal(given.numpy(), 2 * A)
    binding.clear_binding_outputs()
    assert binding.output_names == ["total", "double"]
    binding.clear_binding_inputs()
    with pytest.raises(CallError):
        session.run_with_iobinding(binding)


def test_binding_by_pointer(calls: list[dict[str, Any]]) -> None:
    session = drop_in.InferenceSession(b"m")
    binding, out = session.io_binding(), np.zeros((3, 2), np.float32)
    for name, array in (("a", A), ("b", B)):
        binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    binding.bind_output("total", "cpu", 0, np.float32, out.shape, out.ctypes.data)
    session.run_with_iobinding(binding)
    np.testing.assert_array_equal(out, A + B)
    binding.bind_output("total", "cpu", 0, np.float32, (2, 2), out.ctypes.data)
    with pytest.raises(CallError, match=r"it is float32\[2, 2\], the output float32\[3, 2\]"):
        session.run_with_iobinding(binding)
    with pytest.raises(UsageError, match="bound to cuda"):
        binding.bind_output("total", "cuda")
    with pytest.raises(UsageError, match="cannot be bound"):
        binding.bind_input("a", "cpu", 0, np.float32, (-1, 2), out.ctypes.data)


def test_a_real_model_answers_as_in_onnxruntime(tmp_path: Path) -> None:
    path = DIGITS / "mlp.onnx"
    theirs = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    options = drop_in.SessionOptions(
        intra_op_num_threads=1, optimized_model_filepath=str(tmp_path / "out.onnx")
    )
    ours = drop_in.InferenceSession(path, options)
    for mine, other in zip(
        ours.get_inputs() + ours.get_outputs(), theirs.get_inputs() + theirs.get_outputs(), strict=True
    ):
        assert (mine.name, mine.type, mine.shape) == (other.name, other.type, other.shape)
    assert ours.get_modelmeta().graph_name == theirs.get_modelmeta().graph_name
    assert ours.get_modelmeta().producer_name == theirs.get_modelmeta().producer_name
    for rows in (1, 3):
        feeds = {"pixels": np.random.default_rng(rows).uniform(0, 16, (rows, 64)).astype(np.float32)}
        (mine,), (other,) = ours.run(None, feeds), theirs.run(None, feeds)
        np.testing.assert_allclose(mine, other, atol=1e-5)
    assert ir.load(tmp_path / "out.onnx").graph.outputs[0].name == "probabilities"
