"""Targets that emit a model: what onnxruntime makes of it, where onnxruntime masters the original."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from accelc.conformance.cases import Case
from accelc.errors import AccelcError, UnsupportedError

EMITTING = frozenset({"onnx", "onnx_model"})
"""Names of the targets whose result is a model for other runtimes."""

_NARROW = ("bfloat16", "float8", "float4", "float6", "int4", "uint4", "int2", "uint2")
"""Element types that onnxruntime and NumPy exchange as bytes only."""


def onnxruntime_answers(model: bytes, inputs: Sequence[Any]) -> list[Any]:
    """Run a model once in onnxruntime, with its default optimisations, on one thread.

    Args:
        model: A serialized ModelProto.
        inputs: Values of the first inputs: arrays, lists of arrays, or None for an optional without one.

    Returns:
        The outputs in order: arrays (bfloat16 and 8-bit floats as ml_dtypes), lists or None.

    Raises:
        UnsupportedError: onnxruntime cannot load or run it.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        names = [argument.name for argument in session.get_inputs()]
        feeds = {name: _to_feed(x) for name, x in zip(names, inputs, strict=False)}
        if not any(_is_narrow(argument.type) for argument in session.get_outputs()):
            return list(session.run(None, feeds))
        values = {
            name: x if isinstance(x, ort.OrtValue) else ort.OrtValue.ortvalue_from_numpy(x)
            for name, x in feeds.items()
            if x is not None
        }
        return [_to_array(value) for value in session.run_with_ort_values(None, values)]
    except Exception as error:  # onnxruntime raises a dozen unrelated classes
        why = " ".join(str(error).split())
        raise UnsupportedError("onnxruntime cannot run the model", why=why) from error


def _is_narrow(kind: str) -> bool:
    return kind.startswith("tensor(") and kind[len("tensor(") :].startswith(_NARROW)


def _to_feed(value: Any) -> Any:
    import onnxruntime as ort

    if isinstance(value, np.generic):
        value = np.asarray(value)  # the suite's scalars
    if not isinstance(value, np.ndarray) or not value.dtype.name.startswith(_NARROW):
        return value
    tensor = onnx.numpy_helper.from_array(value)  # packs what is narrower than a byte
    feed = ort.OrtValue.ortvalue_from_shape_and_type(list(value.shape), tensor.data_type)
    ctypes.memmove(feed.data_ptr(), tensor.raw_data, len(tensor.raw_data))
    return feed


def _to_array(value: Any) -> np.ndarray:
    tensor = onnx.TensorProto(data_type=value.element_type(), dims=value.shape())
    if not onnx.TensorProto.DataType.Name(tensor.data_type).lower().startswith(_NARROW):
        return np.asarray(value.numpy())
    tensor.raw_data = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return np.asarray(onnx.numpy_helper.to_array(tensor))


def try_emitted(case: Case, options: Mapping[str, Any]) -> tuple[bool, str]:
    """Run the model that ``accelc.compile`` emits for a case in onnxruntime.

    Args:
        case: The case.
        options: Arguments of ``accelc.compile``.

    Returns:
        Whether the case counts, which takes an onnxruntime that passes it on the original model; and what is
        wrong with the emitted one, empty if nothing is.

    Raises:
        AccelcError: The case counts and accelc refuses it.
    """
    from accelc.conformance.judge import differs
    from accelc.driver import compile as compile_model

    sets = list(case.data())
    original = case.load().SerializeToString()
    try:
        for inputs, expected in sets:
            if why := differs(expected, onnxruntime_answers(original, inputs), case.rtol, case.atol):
                return False, f"onnxruntime gives other answers on the original: {why}"
    except UnsupportedError as error:
        return False, f"onnxruntime does not run the original: {error.why}"
    exe = compile_model(case.load(), verify=False, **options)
    if exe.emitted is None:
        raise AccelcError("the target emits no model")
    emitted = ir.to_proto(exe.emitted).SerializeToString()
    try:
        for inputs, expected in sets:
            if why := differs(expected, onnxruntime_answers(emitted, inputs), case.rtol, case.atol):
                return True, why
    except UnsupportedError as error:
        return True, f"onnxruntime does not run the optimised model: {error.why}"
    return True, ""
