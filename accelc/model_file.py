"""The emitted graph as a file for other runtimes: one .onnx, and large weights beside it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import onnx_ir as ir

from accelc.errors import UsageError
from accelc.ir.cost import weight_bytes
from accelc.ir.lower_opset import lower_opset
from accelc.ir.rewrite import regions
from accelc.ir.weights import skeleton

SUFFIX = ".onnx"
MAX_INLINE_BYTES = (1 << 31) - (64 << 20)
"""Weights of more bytes go to a file of their own: a protobuf message ends at 2 GiB, and the graph needs room."""


def is_model_file(path: Path) -> bool:
    """Whether a path to write to names a model file rather than an artifact's folder."""
    return path.suffix == SUFFIX and not path.is_dir()


def portable(model: ir.Model) -> ir.Model:
    """A copy as other tools get it: near the opset that the model came in, and without what every runtime infers.

    Types of values between nodes are left out but for the results of ops that neither a schema nor a function in the
    model tells of: a runtime plans memory by the names of dims, which here only say what holds for the sizes that work
    without broadcasting. Weights are shared with ``model``.
    """
    copy = model.clone()
    lower_opset(copy)
    for graph in regions(copy):
        for node in graph:
            if node.domain == "" or node.op_identifier() in copy.functions:
                for value in node.outputs:
                    if not value.is_graph_output():
                        value.type = value.shape = None
    return copy


def write_model(model: ir.Model, path: Path, *, max_inline_bytes: int = MAX_INLINE_BYTES) -> tuple[Path, ...]:
    """Write ``model`` to ``path``; the same model gives the same bytes, and nothing is left half-written.

    Args:
        model: What to write; its weights may be mapped from the very file that is replaced.
        path: The .onnx file; replaced if it exists.
        max_inline_bytes: With more bytes of weights, those lie in ``<path>.data``, aligned to be mapped.

    Returns:
        The files written, the model first.

    Raises:
        UsageError: The file cannot be written.
    """
    path = Path(os.path.abspath(path))
    data = path.with_name(f"{path.name}.data")
    token = secrets.token_hex(4)
    staged: list[tuple[Path, Path]] = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if weight_bytes(model) > max_inline_bytes:
            staged.append((path.with_name(f".{data.name}.{token}"), data))
            model = _with_weights_in(model, *staged[0])
        staged.append((path.with_name(f".{path.name}.{token}"), path))
        staged[-1][0].write_bytes(ir.to_proto(model).SerializeToString(deterministic=True))
        for temporary, final in staged:
            temporary.replace(final)
    except OSError as error:
        raise UsageError(f"cannot write {path}", why=error.strerror or str(error)) from error
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)
    return tuple(final for _, final in reversed(staged))


def _with_weights_in(model: ir.Model, temporary: Path, final: Path) -> ir.Model:
    """The graph with references to the weights, which are written now."""
    small, weights = skeleton(model, location=final.name)
    with temporary.open("wb") as file:
        for weight in weights:
            if weight.offset < file.tell():
                continue  # the tensor has its place already
            file.write(b"\0" * (weight.offset - file.tell()))
            file.write(weight.tensor.tobytes())
    return small
