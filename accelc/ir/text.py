"""Stable text of a model, for people, golden files and diffs: ONNX's text form with weights elided.

The text does not change between runs, processes or machines: values appear in graph order, attributes and
functions by name, and weights as ``float32[64,3,7,7] #1a2b3c4d`` (the start of the SHA-256 of their bytes).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import onnx_ir as ir

from accelc.ir.shapes import dims_of, dtype_name

MAX_INLINE_ELEMENTS = 8
"""Tensors up to this many elements are written out, larger ones as shape and hash."""
INDENT = "  "


def to_text(model: ir.Model, *, elide: bool = True) -> str:
    """The whole model as text: header, main graph, functions in order of their names.

    Args:
        model: Any model; it is not changed.
        elide: Write large tensors as shape and hash; False writes every element.
    """
    writer = _Writer(elide)
    writer.line(0, f"<ir_version: {model.ir_version}, opset_import: {_opsets(model.opset_imports)}>")
    writer.graph(model.graph, f"{model.graph.name or 'main'} ")
    for key in sorted(model.functions):
        function = model.functions[key]
        writer.line(0, "")
        writer.line(0, f"<domain: {key[0]!r}, opset_import: {_opsets(function.opset_imports)}>")
        attributes = ", ".join(
            name if attr.value is None else f"{name} = {writer.attribute(attr)}"
            for name, attr in sorted(function.attributes.items())
        )
        title = ".".join(part for part in key[1:] if part) + (f" <{attributes}>" if attributes else "")
        writer.graph(function.graph, f"{title} ")
    return "\n".join(writer.lines) + "\n"


def tensor_text(tensor: ir.TensorProtocol, *, elide: bool = True) -> str:
    """One tensor: ``int64[2] {1, -1}``, or ``float32[64,3,7,7] #1a2b3c4d`` if large."""
    head = f"{dtype_name(tensor.dtype)}[{','.join(str(dim) for dim in tensor.shape)}]"
    if elide and tensor.size > MAX_INLINE_ELEMENTS:
        return f"{head} #{digest(tensor)}"
    array = tensor.numpy().reshape(-1)
    return f"{head} {{{', '.join(_element(item, tensor.dtype) for item in array)}}}"


def digest(tensor: ir.TensorProtocol) -> str:
    """First 8 hex digits of the SHA-256 of the tensor's bytes (little endian, as raw_data holds them)."""
    if tensor.dtype == ir.DataType.STRING:
        parts = [
            bytes(item) if isinstance(item, bytes) else str(item).encode() for item in tensor.numpy().flat
        ]
        return hashlib.sha256(b"".join(len(p).to_bytes(8, "little") + p for p in parts)).hexdigest()[:8]
    array = tensor.numpy()
    if array.flags.c_contiguous and array.nbytes == tensor.nbytes and array.dtype.byteorder in "=|<":
        # Hash mapped weights in place: tobytes() would copy all of them.
        return hashlib.sha256(array.reshape(-1).view(np.uint8).data).hexdigest()[:8]
    return hashlib.sha256(tensor.tobytes()).hexdigest()[:8]


def type_text(value: ir.Value) -> str:
    """Dtype and shape of a value: ``float32[N,3]``; ``float32`` alone if the rank is unknown."""
    if isinstance(value.type, ir.SequenceType | ir.OptionalType):
        return str(value.type)
    dims = dims_of(value)
    shape = "" if dims is None else f"[{','.join('?' if dim is None else str(dim) for dim in dims)}]"
    return f"{dtype_name(value.dtype)}{shape}"


class _Writer:
    """Collects lines; nested graphs wait on a stack, so that nesting costs no Python frames."""

    def __init__(self, elide: bool) -> None:
        self.elide = elide
        self.lines: list[str] = []

    def line(self, depth: int, text: str) -> None:
        self.lines.append(INDENT * depth + text if text else "")

    def graph(self, root: ir.Graph, title: str) -> None:
        """Write a graph and what is nested in it, in reading order."""
        work: list[tuple[int, str | ir.Node]] = []
        self._open(root, title, 0, work)
        while work:
            depth, item = work.pop()
            if isinstance(item, str):
                self.line(depth, item)
                continue
            self._node(item, depth, work)

    def _open(self, graph: ir.Graph, title: str, depth: int, work: list[tuple[int, str | ir.Node]]) -> None:
        """Write the head of a graph now; its nodes and closing brace are put on ``work``."""
        self.line(depth, f"{title}({_listed(graph.inputs)}) => ({_listed(graph.outputs)}) {{")
        for name, value in graph.initializers.items():
            shown = tensor_text(value.const_value, elide=self.elide) if value.const_value else "(no data)"
            self.line(depth + 1, f"{name} = {shown}")
        work.append((depth, "}"))
        work.extend((depth + 1, node) for node in reversed(graph))

    def _node(self, node: ir.Node, depth: int, work: list[tuple[int, str | ir.Node]]) -> None:
        outputs = ", ".join(out.name or '""' for out in node.outputs)
        inputs = ", ".join(value.name or "?" if value is not None else '""' for value in node.inputs)
        op = ".".join(part for part in (node.domain, node.op_type, node.overload) if part)
        plain, graphs = [], []
        for name, attr in sorted(node.attributes.items()):
            if not attr.is_ref() and attr.type == ir.AttributeType.GRAPH:
                graphs.append((name, attr.as_graph()))
            elif not attr.is_ref() and attr.type == ir.AttributeType.GRAPHS:
                graphs.extend((f"{name}[{i}]", graph) for i, graph in enumerate(attr.as_graphs()))
            else:
                plain.append(f"{name} = {self.attribute(attr)}")
        label = f"[{node.name}] " if node.name else ""
        options = f" <{', '.join(plain)}>" if plain else ""
        types = ", ".join(type_text(out) if out.name else "_" for out in node.outputs)
        comment = f"  # {types}" if any(out.type is not None for out in node.outputs) else ""
        self.line(depth, f"{label}{outputs} = {op}{options}({inputs}){comment}")
        for name, graph in reversed(graphs):
            nested = _Writer(self.elide)
            later: list[tuple[int, str | ir.Node]] = []
            nested._open(graph, f"{name}: {graph.name or ''} ", depth + 1, later)
            work.extend(later)
            work.extend((0, text) for text in reversed(nested.lines))

    def attribute(self, attr: ir.Attr) -> str:
        """An attribute's value on one line."""
        if attr.is_ref():
            return f"@{attr.ref_attr_name}"
        value = attr.value
        if attr.type == ir.AttributeType.TENSOR:
            return tensor_text(attr.as_tensor(), elide=self.elide)
        if attr.type == ir.AttributeType.TENSORS:
            return f"[{', '.join(tensor_text(tensor, elide=self.elide) for tensor in attr.as_tensors())}]"
        if isinstance(value, str):
            return repr(value)
        if isinstance(value, float):
            return _number(value)
        if isinstance(value, Sequence) and not isinstance(value, bytes):
            return f"[{', '.join(_number(v) if isinstance(v, float) else repr(v) for v in value)}]"
        return str(value)


def _listed(values: Iterable[ir.Value]) -> str:
    return ", ".join(
        f"{type_text(value)} {value.name}" if value.type else str(value.name) for value in values
    )


def _opsets(imports: dict[str, int]) -> str:
    return "[" + ", ".join(f'"{domain}": {version}' for domain, version in sorted(imports.items())) + "]"


def _number(value: float) -> str:
    """The shortest text that reads back as the same float32 (attributes are float32)."""
    return str(np.float32(value)) if np.isfinite(value) else repr(float(value))


def _element(item: object, dtype: ir.DataType) -> str:
    if dtype == ir.DataType.STRING:
        return repr(item.decode("utf-8", "backslashreplace") if isinstance(item, bytes) else str(item))
    if dtype == ir.DataType.BOOL:
        return str(bool(item))
    return str(item)
