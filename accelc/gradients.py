"""Training what an ONNX file holds: the model as a pure JAX function, and new weights written back to ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from accelc.errors import UsageError
from accelc.ir.pass_base import Limits


def to_jax(
    model: Any,
    *,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int | str]] | None = None,
    precision: str = "f32",
    allow_links: str | Path | None = None,
    limits: Limits | None = None,
) -> tuple[Callable[..., dict[str, Any]], dict[str, Any]]:
    """A model as ``f(params, inputs) -> outputs`` and its params, all dicts of arrays by name.

    ``f`` is pure: ``jax.jit``, ``jax.grad`` and ``jax.vmap`` apply to it. Params are the floating-point weights, by
    the names that they have in the file; ``f.constants`` names those that are none, with the reason (running
    statistics of BatchNormalization, single numbers, values that decide what is computed). ``f.inputs`` and
    ``f.outputs`` are the names in order. A model that draws random numbers takes ``key=``.

    Args:
        model: Path, bytes, ``onnx.ModelProto``, ``onnx_ir.Model`` or ONNX text.
        dims: Sizes of symbolic dims.
        shapes: Shapes of inputs.
        precision: Of products and convolutions: ``f32``, ``tf32``, ``bf16`` or ``f16``.
        allow_links: External data may be links into this folder.
        limits: Bounds on what the model may make the import do.

    Raises:
        UnsupportedError: JAX is not installed, part of the model runs on the host, or inputs decide shapes.
    """
    from accelc.frontend import load_model
    from accelc.machine import usable_cpus
    from accelc.target import TargetOptions
    from accelc.targets.jax_xla.target import Xla

    imported = load_model(
        model,
        limits=limits if limits is not None else Limits(),
        allow_links=Path(allow_links) if allow_links is not None else None,
        dims=dict(dims or {}),
        shapes=dict(shapes or {}),
    )
    function = Xla().function(imported.model, TargetOptions(threads=usable_cpus(), precision=precision))
    return function, function.params()


def with_params(model: Any, params: Mapping[str, Any]) -> onnx.ModelProto:
    """A copy of an ONNX model with other weights; everything else stays as it is.

    Args:
        model: Path, bytes or ``onnx.ModelProto``: what was given to :func:`to_jax`.
        params: New values by the names of initializers (or of the outputs of Constant nodes).

    Returns:
        The model; ``onnx.save`` writes it.

    Raises:
        UsageError: There is no such weight, or its shape or dtype is another.
    """
    proto = _proto(model)
    tensors = _weights_of(proto)
    for name, value in params.items():
        if name not in tensors:
            raise UsageError(
                f"the model has no weight called {name!r}", fix="take the names from accelc.to_jax"
            )
        _put(tensors[name], name, np.asarray(value))
    return proto


def _proto(model: Any) -> onnx.ModelProto:
    """A copy of the user's own model, with the data of its weights."""
    copy = onnx.ModelProto()
    if isinstance(model, onnx.ModelProto):
        copy.CopyFrom(model)
    elif isinstance(model, bytes):
        copy.ParseFromString(model)
    elif isinstance(model, str | Path):
        copy = onnx.load(str(model))
    else:
        raise UsageError(
            f"weights cannot be written into a {type(model).__name__}",
            fix="give a path, bytes or a ModelProto",
        )
    return copy


def _weights_of(proto: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Tensors by name: initializers and constants of the main graph and of those nested in it."""
    found: dict[str, onnx.TensorProto] = {}
    graphs = [proto.graph]
    while graphs:
        graph = graphs.pop()
        found.update((tensor.name, tensor) for tensor in graph.initializer)
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.name == "value":
                    found.setdefault(node.output[0], attribute.t)
                graphs += [attribute.g] if attribute.HasField("g") else []
                graphs += attribute.graphs
    return found


def _put(tensor: onnx.TensorProto, name: str, value: np.ndarray) -> None:
    """Replace the data of a tensor, its name and dtype kept."""
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if tuple(tensor.dims) != value.shape:
        raise UsageError(
            f"weight {name!r} has another shape", why=f"expected {list(tensor.dims)}, got {list(value.shape)}"
        )
    if value.dtype != dtype:
        raise UsageError(f"weight {name!r} has another dtype", why=f"expected {dtype}, got {value.dtype}")
    kept = tensor.name, tensor.doc_string
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape)))
    tensor.name, tensor.doc_string = kept
