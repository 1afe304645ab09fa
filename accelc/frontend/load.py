"""The import, step by step: read, check, take weights out, inline, pin the opset, put weights back, infer."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import onnx_ir as ir

from accelc.errors import InvalidModelError
from accelc.frontend.check import Checker
from accelc.frontend.check_shapes import check_shapes
from accelc.frontend.convert import inline_functions, opset_of, pin_opset
from accelc.frontend.expand import expand_functions
from accelc.frontend.external import ExternalData
from accelc.frontend.finish import (
    bind_dims,
    clean_dims,
    forget_invented_dims,
    keep_input_types,
    refuse_maps,
    set_shapes,
    unique_names,
)
from accelc.frontend.microsoft import expand_microsoft, needs_data
from accelc.frontend.source import ModelSource, Source, read_source, root_cause
from accelc.frontend.weights import put_weights, take_weights
from accelc.ir.pass_base import Limits
from accelc.ir.reading import NEEDS_DATA, SOURCE_OPSET
from accelc.ir.shapes import infer

_NOTHING: Mapping[str, int] = MappingProxyType({})
_NO_SHAPES: Mapping[str, Sequence[int | str]] = MappingProxyType({})


@dataclass(frozen=True)
class Imported:
    """A model ready for passes.

    Args:
        model: Valid ONNX at the pinned opset, without local functions, nodes sorted and named, shapes inferred.
            Large weights are mapped from their files, read-only.
        name: Name of the model: the file's stem, else the graph's name.
        sha256: Hash of the model file or proto, hexadecimal; external data is not part of it.
        notes: What was changed or could not be done, one line each.
    """

    model: ir.Model
    name: str
    sha256: str
    notes: tuple[str, ...]


def load_model(
    source: ModelSource,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    allow_links: Path | None = None,
    dims: Mapping[str, int] = _NOTHING,
    shapes: Mapping[str, Sequence[int | str]] = _NO_SHAPES,
) -> Imported:
    """Import a model: checked, inlined, pinned to one opset, shapes inferred. ``source`` is not changed.

    Args:
        source: Path of an .onnx file, bytes, ModelProto, ir.Model, or ONNX text (a path ending in .onnxtxt or
            .txt, or a string holding ``=>``; a missing header means opset 24).
        limits: Bounds on what the model may make the import do.
        allow_links: Folder into which symlinks of external data may lead.
        dims: Sizes of symbolic dimensions, for example ``{"batch": 1}``.
        shapes: Shapes of inputs, for example ``{"x": (1, 3, "H", "W")}``.

    Raises:
        UsageError: The file cannot be read, or dims and shapes do not fit the inputs.
        InvalidModelError: The model breaks ONNX's rules (UnsafeModelError: it reaches outside its folder).
        UnsupportedError: An opset or IR version newer than the installed onnx.
        LimitError: A limit was reached.
    """
    with _no_collection():
        read = read_source(source, limits)
        checker = Checker(read.proto, limits, {index: span.length for index, span in read.spans.items()})
        checker.run()
        notes = list(checker.notes)
        return _finish(read, notes, limits, allow_links, dims, shapes)


def _finish(
    read: Source,
    notes: list[str],
    limits: Limits,
    allow_links: Path | None,
    dims: Mapping[str, int],
    shapes: Mapping[str, Sequence[int | str]],
) -> Imported:
    graph = read.proto.graph
    order = [*(t.name for t in graph.initializer), *(s.values.name for s in graph.sparse_initializer)]
    order = read.order or order
    weights, weight_notes = take_weights(read, ExternalData(read.folder, allow_links), limits)
    inlined = expand_functions(inline_functions(read.proto, limits), limits)
    notes += check_shapes(inlined)
    source_opset = opset_of(inlined)
    proto, pin_notes = pin_opset(inlined)
    reason = needs_data(proto)
    proto, opaque_notes = expand_microsoft(proto, limits)
    refuse_maps(proto.graph)
    keep_input_types(proto.graph)
    try:
        model = ir.from_proto(proto)
        put_weights(model.graph, weights, order)
    except (RuntimeError, ValueError, TypeError) as error:
        raise InvalidModelError("the model cannot be read", where=read.name, why=root_cause(error)) from error
    model.ir_version = proto.ir_version
    if source_opset is not None:
        model.graph.meta[SOURCE_OPSET] = source_opset
    if reason:
        model.graph.meta[NEEDS_DATA] = reason
    unique_names(model)
    bind_dims(model, dims)
    notes += [*weight_notes, *pin_notes, *opaque_notes, *set_shapes(model, shapes), *clean_dims(model)]
    forget_invented_dims(model)
    notes += infer(model)
    return Imported(model, read.name, read.sha256, tuple(notes))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Pause the garbage collector: it walks the growing graph again and again, half of a large import's time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
