"""Short ONNX text for tests: reading it into a model, and a normal form of a model to compare.

The text is ONNX's own (https://github.com/onnx/onnx/blob/main/docs/Syntax.md), with two liberties: the header
with opset and IR version may be left out, and a weight may be declared without values, as ``<float[8,4] w>``.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir

from accelc.ir.rewrite import constant_value

OPSET = 24
IR_VERSION = 11
FUSED_DOMAIN = "accelc.fused"
_DIGEST = re.compile(r"_[0-9a-f]{8,64}$")


def model_from_text(
    text: str, *, weights: Mapping[str, np.ndarray] | None = None, opset: int = OPSET
) -> ir.Model:
    """Read ONNX text.

    Args:
        text: A graph, or a model with its header and functions.
        weights: Values for weights declared without values. The others get values drawn from a generator
            that their name seeds: floats from a normal distribution, integers from 0..3, bools at random.
        opset: Opset of the standard domain if the header is left out.

    Raises:
        onnx.parser.ParseError: The text is not ONNX text.
    """
    if not text.lstrip().startswith("<"):
        fused = f', "{FUSED_DOMAIN}" : 1' if FUSED_DOMAIN in text else ""
        text = f'<ir_version: {IR_VERSION}, opset_import: ["" : {opset}{fused}]>\n{text}'
    proto = onnx.parser.parse_model(text)
    for graph in _graph_protos(proto.graph):
        _fill_weights(graph, weights or {})
    return ir.from_proto(proto)


def _graph_protos(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    pending = [graph]
    while pending:
        current = pending.pop()
        yield current
        for node in current.node:
            pending.extend(a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH)


def _fill_weights(graph: onnx.GraphProto, weights: Mapping[str, np.ndarray]) -> None:
    """Turn declared values that nothing produces into initializers."""
    known = {name for node in graph.node for name in node.output}
    known |= {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    declared = [info for info in graph.value_info if info.name not in known]
    for info in declared:
        graph.value_info.remove(info)
        tensor_type = info.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor_type.elem_type)
        shape = tuple(dim.dim_value for dim in tensor_type.shape.dim)
        array = weights[info.name] if info.name in weights else drawn(info.name, shape, dtype)
        graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array, dtype), info.name))


def drawn(name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The values a weight called ``name`` gets when its text gives none: the same in every run."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        return rng.integers(0, 4, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


@dataclass
class _Namer:
    """Names by order of appearance: values v0.., constants c0.., functions ``stem_#0``.."""

    names: dict[ir.Value, str] = field(default_factory=dict)
    constants: list[ir.Value] = field(default_factory=list)
    functions: dict[tuple[str, str], str] = field(default_factory=dict)
    values: int = 0

    def of(self, value: ir.Value | None) -> str:
        if value is None:
            return '""'
        if value not in self.names:
            if value.is_initializer() and not value.is_graph_input():
                self.names[value] = f"c{len(self.constants)}"
                self.constants.append(value)
            else:
                self.names[value] = f"v{self.values}"
                self.values += 1
        return self.names[value]

    def keep(self, value: ir.Value) -> str:
        self.names[value] = str(value.name)
        return self.names[value]

    def op(self, node: ir.Node) -> str:
        if node.domain == "":
            return node.op_type
        if node.domain != FUSED_DOMAIN:
            return f"{node.domain}.{node.op_type}"
        key = (node.domain, node.op_type)
        if key not in self.functions:
            stem = _DIGEST.sub("", node.op_type)
            self.functions[key] = f"{node.domain}.{stem}#{len(self.functions)}"
        return self.functions[key]


def normal_text(model: ir.Model) -> str:
    """The model's structure as text, the same for models that differ only in inner names and digests.

    Graph inputs and outputs keep their names; other values are numbered in order of appearance. Node names,
    shapes of inner values, metadata and values of weights are left out (see :func:`weights_of` for those).
    """
    return "\n".join(_render(model)[0])


def weights_of(model: ir.Model) -> list[np.ndarray | None]:
    """Weights in order of first use, as :func:`normal_text` numbers them."""
    return [constant_value(value) for value in _render(model)[1].constants]


def constant_names(model: ir.Model) -> list[str]:
    """Names of the weights, in the same order as :func:`weights_of`."""
    return [str(value.name) for value in _render(model)[1].constants]


def elided_weights(text: str) -> frozenset[str]:
    """Names of the weights that ``text`` declares without giving values."""
    declared = re.findall(r"[<,]\s*\w+(?:\[[^\]]*\])?\s+([\w.]+)\s*(?=[,>])", text)
    return frozenset(declared)


def _render(model: ir.Model) -> tuple[list[str], _Namer]:
    namer = _Namer()
    lines = _graph_lines(model.graph, namer, indent="", top=True)
    for value in namer.constants:
        lines.append(f"{namer.of(value)}: {_type(value)}")
    by_key = {(f.domain, f.name): f for f in model.functions.values()}
    rendered: set[tuple[str, str]] = set()
    while len(rendered) < len(namer.functions):  # a body may call functions not named so far
        for key in [k for k in namer.functions if k not in rendered]:
            rendered.add(key)
            if key in by_key:
                lines.extend(_function_lines(by_key[key], namer.functions[key], namer))
    lines.extend(
        f"unused function {_DIGEST.sub('', name)}"
        for domain, name in by_key
        if (domain, name) not in namer.functions
    )
    return lines, namer


def _function_lines(function: ir.Function, name: str, outer: _Namer) -> list[str]:
    namer = _Namer(functions=outer.functions)
    head = f"function {name}({', '.join(namer.of(v) for v in function.inputs)})"
    body = _node_lines(list(function), namer, "  ")
    return [f"{head} => ({', '.join(namer.of(v) for v in function.outputs)}) {{", *body, "}"]


def _graph_lines(graph: ir.Graph, namer: _Namer, indent: str, *, top: bool) -> list[str]:
    name = namer.keep if top else namer.of
    if top:
        for value in graph.outputs:
            namer.keep(value)
    inputs = ", ".join(f"{_type(v)} {name(v)}" if top else name(v) for v in graph.inputs)
    body = _node_lines(list(graph), namer, indent + "  ")
    outputs = ", ".join(f"{_type(v)} {namer.of(v)}" if top else namer.of(v) for v in graph.outputs)
    return [f"{indent}({inputs}) => ({outputs}) {{", *body, f"{indent}}}"]


def _node_lines(nodes: list[ir.Node], namer: _Namer, indent: str) -> list[str]:
    lines: list[str] = []
    for node in nodes:
        plain: list[str] = []
        graphs: list[str] = []
        for name, attribute in sorted(node.attributes.items()):
            if not attribute.is_ref() and attribute.type == ir.AttributeType.GRAPH:
                graphs.append(f"{indent}  {name} =")
                graphs.extend(_graph_lines(attribute.as_graph(), namer, indent + "  ", top=False))
            else:
                plain.append(f"{name}={_attribute(attribute)}")
        inputs = ", ".join(namer.of(v) for v in node.inputs)
        outputs = ", ".join(namer.of(v) for v in node.outputs)
        options = f"<{', '.join(plain)}>" if plain else ""
        lines.append(f"{indent}{outputs} = {namer.op(node)}{options}({inputs})")
        lines.extend(graphs)
    return lines


def _attribute(attribute: ir.Attr) -> str:
    if attribute.is_ref():
        return f"@{attribute.ref_attr_name}"
    if attribute.type == ir.AttributeType.TENSOR:
        array = attribute.as_tensor().numpy()
        return f"{array.dtype}{list(array.shape)} {np.asarray(array).tolist()}"
    if attribute.type == ir.AttributeType.FLOAT:
        return f"{np.float32(attribute.value)!s}"
    return repr(attribute.value)


def _type(value: ir.Value) -> str:
    dtype = value.dtype.name.lower() if value.dtype is not None else "?"
    if value.shape is None:
        return dtype
    return f"{dtype}[{','.join('?' if str(d) == 'None' else str(d) for d in value.shape)}]"
