"""The cut of a graph into steps: nodes of one level are one compiled function, host nodes lie in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from accelc.ir.pass_base import node_name
from accelc.ir.reading import is_random
from accelc.ir.walk import subgraphs_of
from accelc.targets.host_ops import HOST_OPS
from accelc.targets.jax_xla.analysis import Analysis, inner_first
from accelc.targets.jax_xla.program import BodyStep, Constants, HostStep, JitStep, Program, Step
from accelc.targets.jax_xla.table import LoweringTable

IN_NUMPY = "done in NumPy: XLA holds neither strings nor sequences, nor shapes that depend on data"
_REFERENCE_DOMAINS = ("", "ai.onnx.ml")


@dataclass
class Partitioner:
    """Makes programs of graphs.

    Args:
        table: The lowerings.
        opsets: Versions of the domains.
        refused: Nodes that turned out not to be compilable, with the reason.
        constants: Constants of the whole model.
    """

    table: LoweringTable
    opsets: Mapping[str, int]
    refused: Mapping[ir.Node, str] = field(default_factory=dict)
    constants: Constants = field(default_factory=Constants)
    impossible: list[tuple[ir.Node, str]] = field(default_factory=list)
    """Nodes that run nowhere, with the reason."""

    def program(self, graph: ir.Graph, inputs: Sequence[ir.Value]) -> Program:
        """The program of a graph whose values ``inputs`` are given from outside."""
        found = Analysis(graph, frozenset(inputs), self.table, self.opsets, self.refused, self.constants)
        levels = _Levels(found)
        steps: list[Step] = []
        for level in sorted(levels.nodes):
            nodes = levels.nodes[level]
            if level % 2:
                steps += [self._host_step(node, found) for node in nodes]
            else:
                steps.append(_jit_step(nodes, level, found, levels))
        outputs = tuple(graph.outputs)
        program = Program(graph, tuple(inputs), outputs, tuple(steps), frozenset(found.static), self.opsets)
        return _with_lifetimes(program)

    def _host_step(self, node: ir.Node, found: Analysis) -> Step:
        reason = found.reasons.get(node, "")
        if found.is_control(node):
            names = ("then_branch", "else_branch") if node.op_type == "If" else ("body",)
            graphs = [node.attributes[name].as_graph() for name in names]
            return BodyStep(node, tuple(self._body(graph) for graph in graphs), reason)
        if (node.domain, node.op_type) in HOST_OPS and not subgraphs_of(node):
            return HostStep(node, "numpy", reason if node in self.refused else IN_NUMPY)
        if node.domain not in _REFERENCE_DOMAINS:
            self.impossible.append((node, reason))
        return HostStep(node, "reference", reason)

    def _body(self, graph: ir.Graph) -> Program:
        """A body as a program of its own; what it takes from outside, constants aside, becomes inputs."""
        taken = [value for value in captures(graph) if not self.constants.is_constant(value)]
        return self.program(graph, [*graph.inputs, *taken])


def captures(graph: ir.Graph) -> list[ir.Value]:
    """Values that a body, at any depth, takes from outside of it, in order of first use."""
    inside: set[ir.Value] = {*graph.inputs, *graph.initializers.values()}
    used: dict[ir.Value, None] = {}
    for node in inner_first(graph):
        inside.update(node.outputs)
        used.update((value, None) for value in node.inputs if value is not None)
        for inner in subgraphs_of(node) if node.attributes else ():
            inside.update((*inner.inputs, *inner.initializers.values()))
            used.update((value, None) for value in inner.outputs)
    used.update((value, None) for value in graph.outputs)
    return [value for value in used if value not in inside]


class _Levels:
    """The level of every top-level node: even ones are compiled, odd ones run on the host before the next."""

    def __init__(self, found: Analysis) -> None:
        self.found = found
        self.of: dict[ir.Value, int] = dict.fromkeys(found.inputs, -1)
        self.nodes: dict[int, list[ir.Node]] = {}
        self.readers: dict[ir.Value, set[int]] = {}
        for node in found.order:
            if found.owner(node) is None:
                self._place(node)

    def _place(self, node: ir.Node) -> None:
        found = self.found
        if all(found.constants.is_constant(output) for output in node.outputs):
            return
        operands = [value for value in node.inputs if value is not None]
        operands += found.captured.get(node, ())
        cuts = found.cuts.get(node, ())
        on_host = node in found.reasons
        level = -1 if on_host else 0
        for value in operands:
            made = self.of.get(value)
            if made is None:
                continue  # a constant
            if on_host:
                level = max(level, made if made % 2 else made + 1)
            else:
                level = max(level, made + 1 if made % 2 else made)
        for value in cuts if not on_host else ():
            made = self.of.get(value, -1)
            level = max(level, made + 1 if made % 2 else made + 2)
        self.nodes.setdefault(level, []).append(node)
        for value in operands:
            self.readers.setdefault(value, set()).add(level)
        for output in node.outputs:
            self.of[output] = level


def _jit_step(nodes: Sequence[ir.Node], level: int, found: Analysis, levels: _Levels) -> JitStep:
    """The step of one level: what goes in, what comes out."""
    constants = found.constants
    inputs: dict[ir.Value, None] = {}
    statics: dict[ir.Value, None] = {}
    weights: dict[ir.Value, None] = {}
    random = False
    for node in nodes:
        inner = [node]
        for graph in subgraphs_of(node) if node.attributes else ():
            inner += inner_first(graph)
        cuts: set[ir.Value] = set()
        for each in inner:
            cuts |= found.cuts.get(each, set())
            random = random or is_random(each)
        read = [value for each in inner for value in each.inputs if value is not None]
        read += found.captured.get(node, ())
        for value in read:
            if constants.is_constant(value):
                if constants.is_weight(value) and value not in found.static:
                    weights[value] = None
            elif value in levels.of and levels.of[value] < level:
                known = value in cuts or value in found.static
                (statics if known else inputs)[value] = None
    for value in statics:
        inputs.pop(value, None)
    outputs, static_outputs = _results(nodes, level, found, levels)
    return JitStep(
        tuple(nodes), tuple(inputs), tuple(statics), tuple(weights), outputs, static_outputs, random=random
    )


def _results(
    nodes: Sequence[ir.Node], level: int, found: Analysis, levels: _Levels
) -> tuple[tuple[ir.Value, ...], tuple[ir.Value, ...]]:
    """Values of a step that are read behind it: those computed, and those known while tracing."""
    outputs: list[ir.Value] = []
    known: list[ir.Value] = []
    final = set(found.graph.outputs)
    for node in nodes:
        for value in node.outputs:
            later = bool(levels.readers.get(value, set()) - {level})
            if later and value in found.static:
                known.append(value)
            if value in final or (later and value not in found.static):
                outputs.append(value)
    return tuple(outputs), tuple(known)


def _with_lifetimes(program: Program) -> Program:
    """Note behind which step each value is read for the last time, and which inputs a step may overwrite."""
    last: dict[ir.Value, int] = {}
    for index, step in enumerate(program.steps):
        for value in reads(step):
            last[value] = index
    kept = set(program.outputs)
    made: set[ir.Value] = set()
    dead: list[list[ir.Value]] = [[] for _ in program.steps]
    for value, index in last.items():
        if value not in kept:
            dead[index].append(value)
    steps: list[Step] = []
    for index, step in enumerate(program.steps):
        if isinstance(step, JitStep):
            freed = frozenset(value for value in step.inputs if value in made and value in set(dead[index]))
            made.update(step.outputs)
            step = JitStep(**{**step.__dict__, "donated": freed})
        steps.append(step)
    return Program(
        program.graph,
        program.inputs,
        program.outputs,
        tuple(steps),
        program.static,
        program.opsets,
        tuple(tuple(values) for values in dead),
    )


def reads(step: Step) -> list[ir.Value]:
    """Values that a step takes."""
    if isinstance(step, JitStep):
        return [*step.inputs, *step.statics]
    values = [value for value in step.node.inputs if value is not None]
    if isinstance(step, BodyStep):
        for body in step.bodies:
            values += body.inputs[len(body.graph.inputs) :]
    return values


def fallbacks(program: Program) -> list[tuple[ir.Node, str]]:
    """Nodes on the single-op reference, with the reason."""
    return [
        (step.node, step.reason)
        for each in program.programs()
        for step in each.steps
        if isinstance(step, HostStep) and step.kind == "reference"
    ]


def name_of(node: ir.Node) -> str:
    """How messages name a node."""
    return f"{node_name(node)} ({node.op_type})"
