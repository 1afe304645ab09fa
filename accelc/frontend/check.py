"""Structural checks on a ModelProto before anything else reads it.

What is checked: versions and opset imports, names and single assignment, order and acyclicity, scopes of
subgraphs, arity and attributes against ONNX's schemas, and tensors against their sizes. One walk with an explicit
stack, near-linear in nodes and uses; errors name the original node.
Source: https://onnx.ai/onnx/repo-docs/IR.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import onnx

from accelc.errors import InvalidModelError, LimitError, UnsupportedError
from accelc.frontend.check_node import check_node
from accelc.frontend.order import sorted_order
from accelc.frontend.tensors import check_tensor, data_type
from accelc.ir.pass_base import Limits
from accelc.ir.schemas import domain_of, known_domains

FunctionKey = tuple[str, str, str]
MAX_IR_VERSION = 1000


@dataclass
class _Frame:
    """A graph or function body being walked."""

    proto: onnx.GraphProto | onnx.FunctionProto
    where: str
    nodes: Iterator[tuple[int, onnx.NodeProto]]
    names: set[str]
    holder: onnx.NodeProto | None = None
    free: list[set[str]] = field(default_factory=list)
    pending: list[tuple[str, onnx.GraphProto]] = field(default_factory=list)


class Checker:
    """Checks one model; ``run`` raises, or returns with every graph sorted and the notes filled.

    Args:
        model: The model; nodes of unsorted graphs are reordered, nothing else changes.
        limits: Bounds on nodes and nesting.
        raw_bytes: Size of raw data left in the file, by index of the main graph's initializers.
    """

    def __init__(
        self, model: onnx.ModelProto, limits: Limits, raw_bytes: dict[int, int] | None = None
    ) -> None:
        self.model = model
        self.limits = limits
        self.raw_bytes = raw_bytes or {}
        self.notes: list[str] = []
        self.functions: dict[FunctionKey, onnx.FunctionProto] = {}
        self.opsets: dict[str, int] = {}
        self.in_function = False
        self.count = 0

    def run(self) -> None:
        """Check everything.

        Raises:
            InvalidModelError: The model breaks ONNX's rules.
            UnsupportedError: An opset or IR version is newer than what is installed.
            LimitError: Too many nodes, or nested too deeply.
        """
        model = self.model
        if not model.HasField("graph"):
            raise InvalidModelError("the model has no graph", why="the file is empty or not an ONNX model")
        if not 1 <= model.ir_version <= MAX_IR_VERSION:
            raise InvalidModelError(
                "the model has no valid IR version", why=f"ir_version is {model.ir_version}"
            )
        if model.ir_version > onnx.IR_VERSION:
            raise UnsupportedError(
                f"IR version {model.ir_version} is newer than the installed onnx knows",
                why=f"it knows up to {onnx.IR_VERSION}",
                fix="upgrade the onnx package, or export with an older IR version",
            )
        for function in model.functions:
            key = (domain_of(function.domain), function.name, function.overload)
            if key in self.functions:
                raise InvalidModelError(
                    "a function is defined twice", where=f"function {'.'.join(filter(None, key))}"
                )
            self.functions[key] = function
        self.opsets = self._opsets(model.opset_import, "the model", required=model.ir_version >= 3)
        for info in model.graph.input:
            tensor = info.type.tensor_type if info.type.HasField("tensor_type") else None
            if not info.HasField("type") or (tensor is not None and not tensor.elem_type):
                raise InvalidModelError("a graph input has no type", where=f"input {info.name}")
        self._walk(self._enter_graph(model.graph, "the main graph", None, main=True))
        self.in_function = True
        for key, function in self.functions.items():
            where = f"function {'.'.join(filter(None, key))}"
            self.opsets = self._opsets(function.opset_import, where, required=True)
            self._walk(self._enter_function(function, where))

    def _opsets(
        self, imports: Sequence[onnx.OperatorSetIdProto], where: str, *, required: bool
    ) -> dict[str, int]:
        opsets: dict[str, int] = {}
        for entry in imports:
            domain = domain_of(entry.domain)
            if domain in opsets and opsets[domain] != entry.version:
                why = f"versions {opsets[domain]} and {entry.version}"
                raise InvalidModelError(
                    f"domain {domain or 'ai.onnx'} is imported twice", where=where, why=why
                )
            if entry.version < 1:
                why = f"version {entry.version}"
                raise InvalidModelError(
                    f"domain {domain or 'ai.onnx'} has no valid version", where=where, why=why
                )
            if domain == "" and entry.version > known_domains()[""]:
                raise UnsupportedError(
                    f"opset {entry.version} is newer than the installed onnx knows",
                    where=where,
                    why=f"it knows up to {known_domains()['']}",
                    fix="upgrade the onnx package, or export with an older opset",
                )
            opsets[domain] = entry.version
        if not opsets and not required:
            return {"": 1}
        if not opsets and where == "the model":
            raise InvalidModelError("the model imports no opset", where=where, fix="set opset_import")
        return opsets

    def _enter_graph(
        self, graph: onnx.GraphProto, where: str, holder: onnx.NodeProto | None, *, main: bool = False
    ) -> _Frame:
        names: set[str] = set()
        for info in graph.input:
            _define(info.name, names, where, "graph input")
            self._check_type(info, where)
        seen: set[str] = set()
        for index, tensor in enumerate(graph.initializer):
            raw = self.raw_bytes.get(index) if main else None
            check_tensor(tensor, f"initializer {tensor.name} of {where}", raw_bytes=raw)
            _define(tensor.name, seen, where, "initializer")
        for sparse in graph.sparse_initializer:
            _define(sparse.values.name, seen, where, "sparse initializer")
        names |= seen
        for node in graph.node:
            for name in node.output:
                if name:
                    _define(name, names, where, f"output of {self.place(node)}")
        for info in graph.output:
            if not info.name:
                raise InvalidModelError("a graph output has no name", where=where)
            if info.name not in names and holder is None:
                raise InvalidModelError(f"graph output {info.name} is not defined", where=where)
            self._check_type(info, where)
        for info in graph.value_info:
            self._check_type(info, where)
        if holder is None and len({info.name for info in graph.output}) != len(graph.output):
            self.notes.append("an output is listed twice")
        return _Frame(graph, where, enumerate(graph.node), names, holder)

    def _enter_function(self, function: onnx.FunctionProto, where: str) -> _Frame:
        names: set[str] = set()
        for name in function.input:
            _define(name, names, where, "function input")
        for node in function.node:
            for name in node.output:
                if name:
                    _define(name, names, where, f"output of {self.place(node)}")
        for name in function.output:
            if name not in names:
                raise InvalidModelError(f"function output {name} is not defined", where=where)
        return _Frame(function, where, enumerate(function.node), names)

    def _check_type(self, info: onnx.ValueInfoProto, where: str) -> None:
        if info.type.HasField("tensor_type") and info.type.tensor_type.elem_type:
            data_type(info.type.tensor_type.elem_type, f"value {info.name} of {where}")

    def place(self, node: onnx.NodeProto) -> str:
        """``node conv1 (Conv, opset 13)``; an unnamed node goes by its first output."""
        domain = domain_of(node.domain)
        op = f"{domain}.{node.op_type}" if domain else node.op_type
        name = node.name or next((out for out in node.output if out), "(unnamed)")
        return f"node {name} ({op}, opset {self.opsets.get(domain, '?')})"

    def _walk(self, root: _Frame) -> None:
        """Walk a body and everything nested in it."""
        stack = [root]
        while stack:
            frame = stack[-1]
            if frame.pending:
                label, graph = frame.pending.pop()
                if len(stack) >= self.limits.max_nesting:
                    raise LimitError(
                        f"subgraphs nest deeper than {self.limits.max_nesting}",
                        where=stack[-1].where,
                        fix="raise limits.max_nesting",
                    )
                holder = frame.proto.node[len(frame.free) - 1]
                inner = self._enter_graph(graph, f"{label} of {self.place(holder)}", holder)
                self._check_shadowing(inner, stack)
                stack.append(inner)
                continue
            step = next(frame.nodes, None)
            if step is not None:
                self._visit(step[1], frame)
                continue
            free = self._leave(frame)
            stack.pop()
            if stack:
                stack[-1].free[-1] |= free
            elif free:
                self._undefined(frame, free)

    def _visit(self, node: onnx.NodeProto, frame: _Frame) -> None:
        self.count += 1
        if self.count > self.limits.max_nodes:
            raise LimitError(
                f"the model has more than {self.limits.max_nodes} nodes", fix="raise limits.max_nodes"
            )
        where = self.place(node)
        check_node(node, where, self.opsets, self.functions, in_function=self.in_function)
        frame.free.append({name for name in node.input if name})
        for attr in node.attribute:
            if attr.HasField("g"):
                frame.pending.append((attr.name, attr.g))
            frame.pending.extend((f"{attr.name}[{i}]", graph) for i, graph in enumerate(attr.graphs))

    def _check_shadowing(self, inner: _Frame, stack: list[_Frame]) -> None:
        assert isinstance(inner.proto, onnx.GraphProto)
        for node in inner.proto.node:
            for name in node.output:
                if name and any(name in frame.names for frame in stack):
                    raise InvalidModelError(
                        f"value {name} is defined twice",
                        where=(self.place(node), inner.where),
                        why="a graph around this one defines the same name (SSA)",
                    )

    def _leave(self, frame: _Frame) -> set[str]:
        """Sort the body if needed; the names it takes from outside."""
        free: set[str] = set()
        producers: dict[str, int] = {}
        for index, node in enumerate(frame.proto.node):
            for name in node.output:
                if name:
                    producers[name] = index
        needs: list[list[int]] = []
        in_order = True
        for index, used in enumerate(frame.free):
            mine = [producers[name] for name in used if name in producers]
            in_order = in_order and all(producer < index for producer in mine)
            needs.append(mine)
            free |= {name for name in used if name not in frame.names}
        if not in_order:
            order, cycle = sorted_order(needs)
            if cycle:
                raise InvalidModelError(
                    "the graph has a cycle",
                    where=tuple(self.place(frame.proto.node[index]) for index in cycle[:8]),
                    why=f"{len(cycle)} nodes wait for each other",
                )
            nodes = [frame.proto.node[index] for index in order]
            copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
            del frame.proto.node[:]
            frame.proto.node.extend(copies)
            self.notes.append(f"sorted the nodes of {frame.where}")
        if frame.holder is not None:
            free |= {info.name for info in frame.proto.output if info.name not in frame.names}
        return free

    def _undefined(self, frame: _Frame, free: set[str]) -> None:
        name = min(free)
        users = [
            self.place(node) for node, used in zip(frame.proto.node, frame.free, strict=True) if name in used
        ]
        raise InvalidModelError(
            f"value {name} is used but never defined",
            where=(*users[:3], frame.where),
            why="no node, input or initializer defines it",
        )


def _define(name: str, names: set[str], where: str, what: str) -> None:
    if not name:
        raise InvalidModelError(f"a {what} has no name", where=where)
    if name in names:
        raise InvalidModelError(
            f"value {name} is defined twice", where=(what, where), why="every name is assigned once (SSA)"
        )
    names.add(name)
