"""What of a graph is known while tracing, what XLA can hold, and where a value must be seen before going on.

One walk forward finds what could be known, one walk back what has to be; a third gives every node its level. Nodes
of a level are one function; a level ends where a value must be known that only running tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

import onnx_ir as ir

from accelc.ir.pass_base import node_name
from accelc.ir.reading import is_random
from accelc.ir.shapes import dims_of
from accelc.ir.walk import subgraphs_of
from accelc.targets.jax_xla.program import SMALL_CONSTANT, Constants
from accelc.targets.jax_xla.shape_arithmetic import RULES
from accelc.targets.jax_xla.table import LoweringTable, Rule

CONTROL = ("If", "Loop", "Scan")
MAX_STEERING_ELEMENTS = 64
"""A larger input is data: where it decides shapes, the program is cut instead of compiled for each content."""
MAX_UNROLLED_NODES = 2000
"""Copies of a Loop's body that are written out have at most so many nodes in total."""
_KNOWN_FROM_SHAPES = ("Shape", "Size")


def inner_first(graph: ir.Graph) -> Iterator[ir.Node]:
    """All nodes, those of subgraphs before the node that holds them."""
    stack: list[tuple[Iterator[ir.Node], ir.Node | None]] = [(iter(graph), None)]
    while stack:
        nodes, after = stack[-1]
        node = next(nodes, None)
        if node is None:
            stack.pop()
            if after is not None:
                yield after
            continue
        graphs = subgraphs_of(node) if node.attributes else []
        if graphs:
            stack.append((chain.from_iterable(graphs), node))
        else:
            yield node


def is_host_value(value: ir.Value | None) -> bool:
    """Whether XLA cannot hold a value: a string, a sequence, an optional."""
    if value is None:
        return False
    if value.type is not None and not isinstance(value.type, ir.TensorType):
        return True
    return value.dtype == ir.DataType.STRING


@dataclass
class Analysis:
    """The findings on one graph.

    Args:
        graph: The graph, with all nested ones.
        inputs: Values that are given from outside.
        table: The lowerings.
        opsets: Versions of the domains.
        refused: Nodes that turned out not to be compilable, with the reason.
        constants: The graph's constants.
    """

    graph: ir.Graph
    inputs: frozenset[ir.Value]
    table: LoweringTable
    opsets: Mapping[str, int]
    refused: Mapping[ir.Node, str]
    constants: Constants
    reasons: dict[ir.Node, str] = field(default_factory=dict)
    """Nodes that run on the host, and why."""
    static: set[ir.Value] = field(default_factory=set)
    """Values known while tracing, constants aside."""
    cuts: dict[ir.Node, set[ir.Value]] = field(default_factory=dict)
    """Values that a node needs known, and that only an earlier step tells."""
    captured: dict[ir.Node, dict[ir.Value, None]] = field(default_factory=dict)
    """What the bodies of a control-flow node take from outside of it."""

    def __post_init__(self) -> None:
        self._owner: dict[ir.Graph, ir.Node] = {}
        self._can: set[ir.Value] = set()
        self._fixed: set[ir.Value] = set()
        """Values that follow from shapes and constants alone."""
        self._eager: set[ir.Value] = set()
        """Those of them that are known in any case, as they are small."""
        self.order = list(inner_first(self.graph))
        for node in self.order:
            for inner in subgraphs_of(node) if node.attributes else ():
                self._owner[inner] = node
        self._can.update(value for value in self.inputs if _is_small(value))
        self._can.update(counter for node in self.order if (counter := self._counter(node)) is not None)
        for node in self.order:
            self._forward(node)
        self._demand()

    # ------------------------------------------------------------------ rules
    def rule(self, node: ir.Node) -> Rule | None:
        """The lowering of a node."""
        return self.table.find(node.domain, node.op_type, self.version(node))

    def version(self, node: ir.Node) -> int:
        """The opset version of a node's domain."""
        return node.version or self.opsets.get(node.domain, 1)

    def static_operands(self, node: ir.Node) -> list[ir.Value]:
        """Operands that must be known while tracing."""
        rule = self.rule(node)
        places = rule.static if rule is not None else ()
        return [v for i in places if i < len(node.inputs) and (v := node.inputs[i]) is not None]

    def is_control(self, node: ir.Node) -> bool:
        """Whether a node holds bodies that XLA may run."""
        return node.domain == "" and node.op_type in CONTROL

    def is_static(self, value: ir.Value) -> bool:
        """Whether a value is known while tracing."""
        return value in self.static or self._is_plain_constant(value)

    def _is_plain_constant(self, value: ir.Value) -> bool:
        return self.constants.is_constant(value) and not self.constants.is_weight(value)

    def owner(self, node: ir.Node) -> ir.Node | None:
        """The control-flow node in whose body a node lies, if that is part of this graph."""
        return self._owner.get(node.graph) if isinstance(node.graph, ir.Graph) else None

    def _inside(self, value: ir.Value, control: ir.Node) -> bool:
        """Whether a value is defined in a body of ``control``, at any depth."""
        graph = value.graph
        while isinstance(graph, ir.Graph) and graph in self._owner:
            holder = self._owner[graph]
            if holder is control:
                return True
            graph = holder.graph if isinstance(holder.graph, ir.Graph) else None
        return False

    def _counter(self, node: ir.Node) -> ir.Value | None:
        """The iteration number of a Loop that may be written out, so that the number is known in each copy."""
        if node.op_type != "Loop" or node.domain != "" or not node.inputs or node.inputs[0] is None:
            return None
        trips = self.constants.array(node.inputs[0]) if self.constants.is_constant(node.inputs[0]) else None
        body = node.attributes["body"].as_graph()
        if trips is None or trips.size != 1 or not loops_to_the_end(node):
            return None
        return body.inputs[0] if may_unroll(body, int(trips.reshape(-1)[0])) else None

    # ------------------------------------------------------------------ forward
    def _forward(self, node: ir.Node) -> None:
        """Whether XLA can hold the node, and whether its results could be known while tracing."""
        self._note_captures(node)
        if node.domain == "" and node.op_type == "Constant":
            if not self.constants.is_constant(node.outputs[0]) or is_host_value(node.outputs[0]):
                self._to_host(node, "strings and sparse tensors stay on the host")
            return
        why = self.refused.get(node) or (
            self._control_refusal(node) if self.is_control(node) else self._refusal(node)
        )
        if why:
            self._to_host(node, why)
        elif not self.is_control(node):
            self._look_for_cuts(node, self.static_operands(node))
            self._could_be_known(node)

    def _note_captures(self, node: ir.Node) -> None:
        """Tell every control-flow node around ``node`` what it takes from outside of them."""
        control = self.owner(node)
        operands = [value for value in node.inputs if value is not None] if control is not None else []
        operands += self.captured.get(node, ()) if control is not None else ()
        while control is not None and operands:
            operands = [value for value in operands if not self._inside(value, control)]
            self._capture(control, operands)
            control = self.owner(control)
        for graph in subgraphs_of(node) if node.attributes else ():
            self._capture(node, [value for value in graph.outputs if not self._inside(value, node)])

    def _capture(self, control: ir.Node, values: Iterable[ir.Value]) -> None:
        self.captured.setdefault(control, {}).update(dict.fromkeys(values))

    def _to_host(self, node: ir.Node, why: str) -> None:
        """The node runs on the host, and so do all control-flow nodes around it."""
        self.reasons.setdefault(node, why)
        control = self.owner(node)
        while control is not None and control not in self.reasons:
            self.reasons[control] = f"node {node_name(node)} ({node.op_type}) in its body: {why}"
            control = self.owner(control)

    def _refusal(self, node: ir.Node) -> str:
        """Why XLA cannot hold a plain node; empty if it can."""
        if any(map(is_host_value, (*node.inputs, *node.outputs))):
            return "strings, sequences and optionals stay on the host"
        if node.domain == "" and node.op_type in _KNOWN_FROM_SHAPES:
            return ""
        if self.rule(node) is None or subgraphs_of(node):
            domain = f"{node.domain}::" if node.domain else ""
            return f"no lowering for {domain}{node.op_type}"
        return ""

    def _control_refusal(self, node: ir.Node) -> str:
        if node in self.reasons:
            return self.reasons[node]
        values = [*node.inputs, *node.outputs, *self.captured.get(node, ())]
        values += [value for graph in subgraphs_of(node) for value in (*graph.inputs, *graph.outputs)]
        if any(map(is_host_value, values)):
            return "strings, sequences and optionals stay on the host"
        if node.op_type == "Scan" and self.version(node) < 9:
            return "Scan of opset 8 has samples of different lengths"
        if node.op_type == "Loop":
            return self._loop_refusal(node)
        return ""

    def _loop_refusal(self, node: ir.Node) -> str:
        """Outputs of all iterations have a static shape only if it is known how many there are."""
        carried = len(node.inputs) - 2
        if len(node.outputs) <= carried:
            return ""
        trips = node.inputs[0]
        if trips is None or not self._knowable(trips):
            return "the number of iterations is not known before running, and their results are collected"
        if not loops_to_the_end(node):
            return "iterations may end early, and their results are collected"
        return ""

    def _knowable(self, value: ir.Value) -> bool:
        return value in self._can or self.constants.is_constant(value)

    def _look_for_cuts(self, node: ir.Node, operands: list[ir.Value]) -> None:
        """Operands that must be known and are not: the innermost control flow that makes them cannot be held."""
        for value in operands:
            if self._knowable(value):
                continue
            holder: ir.Node = node
            while True:
                self.cuts.setdefault(holder, set()).add(value)
                control = self.owner(holder)
                if control is None:
                    break
                if self._inside(value, control):
                    self._to_host(node, f"{value.name} decides shapes, and is made in the same body")
                    break
                holder = control

    def _could_be_known(self, node: ir.Node) -> None:
        if node.domain == "" and node.op_type in _KNOWN_FROM_SHAPES:
            self._can.update(node.outputs)
            self._fixed.update(node.outputs)
            self._eager.update(node.outputs)
            self.static.update(node.outputs)
            return
        operands = [value for value in node.inputs if value is not None]
        if node in self.cuts or not all(self._knowable(value) for value in operands) or is_random(node):
            return
        is_arithmetic = node.domain == "" and node.op_type in RULES
        if all(value in self._fixed or self.constants.is_constant(value) for value in operands):
            self._fixed.update(node.outputs)
        elif not is_arithmetic or node.op_type.startswith("Reduce"):
            return  # what an input holds is data here: compiling for each content would not pay
        self._can.update(node.outputs)
        if (
            is_arithmetic
            and all(value in self._eager or self._is_plain_constant(value) for value in operands)
            and all(map(_is_shape_like, node.outputs))
        ):
            self._eager.update(node.outputs)
            self.static.update(node.outputs)

    # ------------------------------------------------------------------ back
    def _demand(self) -> None:
        """What must be known makes its operands known too."""
        for node in reversed(self.order):
            if self.on_host(node):
                continue
            wanted = list(self.static_operands(node))
            if self.is_control(node):
                wanted += self._steering(node)
            for value in wanted:
                if value in self._can or self.constants.is_constant(value):
                    self.static.add(value)
            if node.op_type in _KNOWN_FROM_SHAPES and node.domain == "":
                continue
            if any(output in self.static for output in node.outputs):
                self.static.update(node.outputs)
                self.static.update(value for value in node.inputs if value is not None)

    def _steering(self, node: ir.Node) -> list[ir.Value]:
        """Operands of control flow that decide what is compiled."""
        first = node.inputs[0] if node.inputs else None
        if first is None:
            return []
        if node.op_type == "If":
            return [first] if first in self._eager or first in self.inputs else []
        collects = node.op_type == "Loop" and len(node.outputs) > len(node.inputs) - 2
        return [first] if collects else []

    def on_host(self, node: ir.Node) -> bool:
        """Whether a node, or control flow around it, runs on the host."""
        current: ir.Node | None = node
        while current is not None:
            if current in self.reasons:
                return True
            current = self.owner(current)
        return False


def may_unroll(body: ir.Graph, trips: int) -> bool:
    """Whether so many copies of a body are few enough to be written out one after the other."""
    return trips * max(len(body), 1) <= MAX_UNROLLED_NODES


def loops_to_the_end(node: ir.Node) -> bool:
    """Whether the condition of a Loop is true from beginning to end, so that the trip count alone counts."""
    body = node.attributes["body"].as_graph()
    given = node.inputs[1] if len(node.inputs) > 1 else None
    if given is not None and not _is_true(given):
        return False
    flag: ir.Value | None = body.outputs[0]
    while flag is not None and (producer := flag.producer()) is not None:
        if producer.op_type != "Identity" or producer.domain != "":
            break
        flag = producer.inputs[0]
    return flag is not None and (flag is body.inputs[1] or _is_true(flag))


def _is_true(value: ir.Value) -> bool:
    array = Constants().array(value)
    return array is not None and array.size == 1 and bool(array.reshape(-1)[0])


def _is_small(value: ir.Value) -> bool:
    """Whether a given value may steer: a number or a short vector, of integers unless its length is fixed."""
    dims = dims_of(value)
    if is_host_value(value) or dims is None or len(dims) > 1 or value.dtype is None:
        return False
    if dims and not isinstance(dims[0], int):
        return not value.dtype.is_floating_point()
    return not dims or int(dims[0] or 0) <= MAX_STEERING_ELEMENTS


def _is_shape_like(value: ir.Value) -> bool:
    dims = dims_of(value)
    if dims is None or len(dims) > 1 or value.dtype is None:
        return False
    small = not dims or (isinstance(dims[0], int) and dims[0] <= SMALL_CONSTANT)
    return small and (value.dtype.is_integer() or value.dtype == ir.DataType.BOOL)
