"""Where a model comes from: file, bytes, ModelProto, ir.Model or ONNX text, all made into one stripped proto."""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import onnx.parser
import onnx_ir as ir
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]

from accelc.errors import InvalidModelError, LimitError, UnsupportedError, UsageError
from accelc.frontend.wire import MIN_STRIPPED_BYTES, Span, WireError, nesting, strip
from accelc.ir.pass_base import Limits

TEXT_SUFFIXES = (".onnxtxt", ".txt")
DEFAULT_HEADER = '<ir_version: 11, opset_import: ["": 24]>\n'
PROTO_DEPTH = 100
"""Messages nested deeper than this are refused by protobuf itself."""

ModelSource = str | os.PathLike[str] | bytes | bytearray | memoryview | onnx.ModelProto | ir.Model


@dataclass
class Source:
    """A model as read: the proto without large weights, and where those are.

    Args:
        proto: The model; large initializers are in it without data.
        name: Name for people: the file's stem, else the graph's name.
        sha256: Hash of what was read (of the file; external data is not part of it).
        folder: Folder that external data may come from.
        buffer: The bytes that ``spans`` point into.
        spans: Index of a main-graph initializer -> its raw bytes.
        tensors: Weights that were never serialized, by name; graph inputs stand for them in ``proto``.
        order: Names of all initializers as an ir.Model listed them; empty for other sources.
    """

    proto: onnx.ModelProto
    name: str
    sha256: str
    folder: Path | None = None
    buffer: memoryview = field(default_factory=lambda: memoryview(b""))
    spans: dict[int, Span] = field(default_factory=dict)
    tensors: dict[str, ir.TensorProtocol] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)


def read_source(source: ModelSource, limits: Limits) -> Source:
    """Read any kind of source.

    Args:
        source: A path, the bytes of a model, a ModelProto, an ir.Model, or ONNX text (a path ending in .onnxtxt
            or .txt, or a string holding ``=>``).
        limits: Bounds; ``max_model_bytes`` and ``max_nesting`` apply here.

    Raises:
        UsageError: No such file, or a source of an unknown type.
        InvalidModelError: Not a model.
        LimitError: Too large or nested too deeply.
    """
    if isinstance(source, ir.Model):
        return _from_ir(source)
    if isinstance(source, onnx.ModelProto):
        try:
            data = source.SerializeToString(deterministic=True)
        except (EncodeError, ValueError) as error:
            raise UnsupportedError(
                "the ModelProto is larger than protobuf can serialize (2 GB)",
                why=str(error),
                fix="save it with external data and pass the path",
            ) from error
        return _from_buffer(memoryview(data), "", None, limits)
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_buffer(memoryview(source).cast("B"), "", None, limits)
    if isinstance(source, str) and "=>" in source:
        return _from_text(source, "", None, limits)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.suffix in TEXT_SUFFIXES:
            return _from_text(_read_text(path, limits), path.stem, path.parent, limits)
        return _from_buffer(_map_file(path, limits), path.stem, path.parent, limits)
    raise UsageError(
        f"cannot read a model from {type(source).__name__}", fix="pass a path, bytes, ModelProto or ir.Model"
    )


def _map_file(path: Path, limits: Limits) -> memoryview:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{path} is not a file", fix="pass the path of an .onnx file")
        if status.st_size > limits.max_model_bytes:
            raise LimitError(
                f"the model file has {status.st_size} bytes",
                where=str(path),
                fix="raise limits.max_model_bytes",
            )
        if status.st_size == 0:
            raise InvalidModelError("the model file is empty", where=str(path))
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot read {path}", why=reason) from error


def _read_text(path: Path, limits: Limits) -> str:
    data = _map_file(path, limits)
    try:
        return bytes(data).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidModelError("the file is not text", where=str(path), why=str(error)) from error


def _from_text(text: str, name: str, folder: Path | None, limits: Limits) -> Source:
    depth = deepest = 0
    for character in text:
        if character in "{(<[":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "})>]":
            depth = max(depth - 1, 0)
    if deepest > 4 * limits.max_nesting:
        # The text parser recurses in native code: what is too deep for it must not reach it.
        raise LimitError(f"the text nests {deepest} brackets deep", fix="raise limits.max_nesting")
    if not text.lstrip().startswith("<"):
        text = DEFAULT_HEADER + text
    try:
        proto = onnx.parser.parse_model(text)
    except onnx.parser.ParseError as error:
        raise InvalidModelError("the ONNX text cannot be parsed", why=" ".join(str(error).split())) from error
    return _from_buffer(memoryview(proto.SerializeToString(deterministic=True)), name, folder, limits)


def _from_buffer(buffer: memoryview, name: str, folder: Path | None, limits: Limits) -> Source:
    where = f"file {name}" if name else ""
    if len(buffer) > limits.max_model_bytes:
        raise LimitError(
            f"the model has {len(buffer)} bytes", where=where, fix="raise limits.max_model_bytes"
        )
    if len(buffer) == 0:
        raise InvalidModelError("the model is empty", where=where)
    try:
        stripped = strip(buffer)
        proto = onnx.ModelProto.FromString(stripped.data)
    except WireError as error:
        raise InvalidModelError(
            "this is not an ONNX model",
            where=where,
            why=str(error),
            fix="the file is damaged or of another format",
        ) from error
    except DecodeError as error:
        raise _undecodable(buffer, where, error) from error
    return Source(
        proto, name or proto.graph.name, hashlib.sha256(buffer).hexdigest(), folder, buffer, stripped.spans
    )


def _undecodable(buffer: memoryview, where: str, error: DecodeError) -> Exception:
    """Protobuf refuses deep nesting and damage alike; tell them apart."""
    try:
        deep = nesting(buffer, PROTO_DEPTH) >= PROTO_DEPTH
    except WireError as damage:
        return InvalidModelError("this is not an ONNX model", where=where, why=str(damage))
    if deep:
        return LimitError(
            f"the model nests {PROTO_DEPTH} messages or more",
            where=where,
            why="subgraphs or types hold each other too deeply",
        )
    return InvalidModelError("this is not an ONNX model", where=where, why=str(error))


def _from_ir(model: ir.Model) -> Source:
    """A clone of the model as a proto; large weights stay as the tensors they are."""
    tensors: dict[str, ir.TensorProtocol] = {}
    digest = hashlib.sha256()
    try:
        clone = model.clone()
        inputs = {id(value) for value in clone.graph.inputs}
        for name, value in list(clone.graph.initializers.items()):
            tensor = value.const_value
            if tensor is None or tensor.nbytes < MIN_STRIPPED_BYTES or tensor.dtype == ir.DataType.STRING:
                continue
            tensors[name] = tensor
            digest.update(name.encode())
            digest.update(tensor.numpy().tobytes())
            del clone.graph.initializers[name]
            value.const_value = None
            value.type, value.shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.shape.numpy())
            if id(value) not in inputs:
                clone.graph.inputs.append(value)
        proto = ir.to_proto(clone)
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        raise InvalidModelError("the ir.Model cannot be written as ONNX", why=root_cause(error)) from error
    digest.update(proto.SerializeToString(deterministic=True))
    return Source(
        proto, proto.graph.name, digest.hexdigest(), tensors=tensors, order=list(model.graph.initializers)
    )


def root_cause(error: BaseException) -> str:
    """The message of the first error in a chain, on one line and cut short."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:300] or type(error).__name__
