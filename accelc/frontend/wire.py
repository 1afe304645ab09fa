"""Read a serialized ModelProto without its weights.

A model file is mapped, and only the small fields reach protobuf: the raw bytes of large initializers of the main
graph stay in the mapping and are known by offset. So importing costs no copy of the weights, and a file may be
larger than protobuf's 2 GB.
Source: https://protobuf.dev/programming-guides/encoding/ and the field numbers of onnx.proto.
"""

from __future__ import annotations

from dataclasses import dataclass

Buffer = memoryview

MODEL_GRAPH, MODEL_FUNCTIONS = 7, 25
GRAPH_INITIALIZER = 5
TENSOR_RAW_DATA = 9
MIN_STRIPPED_BYTES = 1024
"""Smaller weights go through protobuf: the converter reads some of them (axes, scales)."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_FIELD_BYTES = 1 << 62


class WireError(ValueError):
    """The bytes are not a protobuf message; ``offset`` says where reading stopped."""

    def __init__(self, offset: int, why: str) -> None:
        self.offset = offset
        super().__init__(f"{why} at byte {offset}")


@dataclass(frozen=True)
class Span:
    """Bytes of one initializer in the mapped file."""

    offset: int
    length: int


@dataclass(frozen=True)
class Stripped:
    """A serialized model without large weights.

    Args:
        data: A valid serialization of the rest.
        spans: Index among the main graph's initializers -> where its raw bytes are.
    """

    data: bytes
    spans: dict[int, Span]


def _varint(buffer: Buffer, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end:
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise WireError(at, "a varint is longer than 10 bytes")
    raise WireError(at, "the data ends inside a number")


def _field(buffer: Buffer, at: int, end: int) -> tuple[int, int, int, int]:
    """The field at ``at``: (field number, wire type, start of its content, end of its content)."""
    tag, start = _varint(buffer, at, end)
    kind = tag & 7
    if kind == _BYTES:
        length, start = _varint(buffer, start, end)
        stop = start + length
    elif kind == _VARINT:
        _, stop = _varint(buffer, start, end)
    elif kind == _FIXED64:
        stop = start + 8
    elif kind == _FIXED32:
        stop = start + 4
    else:
        raise WireError(at, f"unknown wire type {kind}")
    if stop > end:
        raise WireError(at, f"a field of {stop - start} bytes exceeds its message by {stop - end}")
    if tag >> 3 == 0:
        raise WireError(at, "field number 0")
    return tag >> 3, kind, start, stop


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _prefixed(number: int, pieces: list[bytes]) -> list[bytes]:
    size = sum(len(piece) for piece in pieces)
    return [_encode_varint(number << 3 | _BYTES), _encode_varint(size), *pieces]


def strip(buffer: Buffer) -> Stripped:
    """Split a serialized ModelProto into small data and the places of large weights.

    Args:
        buffer: The whole file; it is read field by field, weights are not touched.

    Raises:
        WireError: Not a protobuf message.
    """
    spans: dict[int, Span] = {}
    pieces: list[bytes] = []
    at = run = 0
    end = len(buffer)
    index = 0
    while at < end:
        number, kind, start, stop = _field(buffer, at, end)
        if number == MODEL_GRAPH and kind == _BYTES:
            pieces.append(bytes(buffer[run:at]))
            inner, index = _strip_graph(buffer, start, stop, index, spans)
            pieces.extend(_prefixed(MODEL_GRAPH, inner))
            run = stop
        at = stop
    pieces.append(bytes(buffer[run:end]))
    return Stripped(b"".join(pieces), spans)


def _strip_graph(
    buffer: Buffer, at: int, end: int, index: int, spans: dict[int, Span]
) -> tuple[list[bytes], int]:
    """Pieces of a GraphProto without large raw data; runs between large initializers are copied whole."""
    pieces: list[bytes] = []
    run = at
    while at < end:
        number, kind, start, stop = _field(buffer, at, end)
        if number == GRAPH_INITIALIZER and kind == _BYTES:
            if stop - start >= MIN_STRIPPED_BYTES:
                found = _raw_data(buffer, start, stop)
                if found is not None:
                    header, content_start, content_end = found
                    spans[index] = Span(content_start, content_end - content_start)
                    pieces.append(bytes(buffer[run:at]))
                    rest = [bytes(buffer[start:header]), bytes(buffer[content_end:stop])]
                    pieces.extend(_prefixed(GRAPH_INITIALIZER, rest))
                    run = stop
            index += 1
        at = stop
    pieces.append(bytes(buffer[run:end]))
    return pieces, index


def _raw_data(buffer: Buffer, at: int, end: int) -> tuple[int, int, int] | None:
    """Where a TensorProto's only raw_data field is: (field start, content start, content end)."""
    found: tuple[int, int, int] | None = None
    while at < end:
        number, kind, start, stop = _field(buffer, at, end)
        if number == TENSOR_RAW_DATA and kind == _BYTES:
            if found is not None:
                return None
            found = (at, start, stop)
        at = stop
    return found if found is not None and found[2] - found[1] >= MIN_STRIPPED_BYTES else None


# Fields that nest: message -> field number -> message. Only these can make a model deep.
_NESTED: dict[str, dict[int, str]] = {
    "model": {MODEL_GRAPH: "graph", MODEL_FUNCTIONS: "function"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 11: "value_info", 12: "value_info", 13: "value_info"},
    "node": {5: "attribute"},
    "attribute": {6: "graph", 11: "graph", 14: "type", 15: "type"},
    "value_info": {2: "type"},
    "type": {4: "sequence", 5: "map", 9: "sequence"},
    "sequence": {1: "type"},
    "map": {2: "type"},
}


def nesting(buffer: Buffer, stop_at: int) -> int:
    """How deep messages nest, counted up to ``stop_at``: tells a nesting bomb from a damaged file.

    Raises:
        WireError: Not a protobuf message.
    """
    deepest = 0
    work = [("model", 0, len(buffer), 1)]
    while work:
        message, at, end, depth = work.pop()
        deepest = max(deepest, depth)
        if deepest >= stop_at:
            return deepest
        children = _NESTED[message]
        while at < end:
            number, kind, start, stop = _field(buffer, at, end)
            child = children.get(number)
            if child is not None and kind == _BYTES:
                work.append((child, start, stop, depth + 1))
            at = stop
    return deepest
