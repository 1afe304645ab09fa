"""What a report says, as plain data: gathered once, drawn and written down by the other modules."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import onnx_ir as ir

from accelc.inspection import FUSED, free_symbols, op_name
from accelc.ir.cost import Cost, inlined, node_cost
from accelc.ir.editor import origin_of
from accelc.ir.pass_base import Trace, node_name
from accelc.ir.shapes import describe, infer
from accelc.ir.walk import all_nodes
from accelc.ir.weights import subgraphs_of
from accelc.target import StepTime

MOST_LISTED = 60
"""Names, ops, rewrites or refusals listed for one kernel; the rest is counted."""


@dataclass
class Kernel:
    """One node of the optimised graph.

    Args:
        name: Its name in the graph.
        op: Kernel or op, in full.
        ops: Op types that it does, in order: ``Conv, Add, Relu``.
        inputs: Operands that are computed, as text.
        weights: Operands that are not.
        outputs: Results, as text.
        origin: Nodes of the user's model that it stands for: name, op, results.
        body: The fused function, or the branches and bodies of control flow, one line per op.
        flops: Operations of one run.
        bytes: Bytes read and written.
        ms: Time of its steps; None if they were not measured.
        steps: What ran for it.
        history: What passes did with it or refused to do, in order.
    """

    name: str
    op: str
    ops: tuple[str, ...]
    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    outputs: tuple[str, ...]
    origin: tuple[tuple[str, str, str], ...]
    body: tuple[str, ...]
    flops: int
    bytes: int
    ms: float | None = None
    steps: list[dict[str, Any]] = field(default_factory=list)
    history: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What it does, for people: ``Conv + Add + Relu``."""
        if len(self.ops) > 4:
            return f"{' + '.join(self.ops[:3])} + {len(self.ops) - 3} more"
        return " + ".join(self.ops)

    def to_json(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**asdict(self), "title": self.title, "family": family_of(self.ops)}


@dataclass(frozen=True)
class Work:
    """Size of a graph: top-level kernels or nodes, operations, bytes moved between them and memory."""

    nodes: int
    flops: int
    bytes: int


@dataclass(frozen=True)
class GraphFacts:
    """The optimised graph.

    Args:
        kernels: Its top-level nodes, in order.
        edges: (producer, consumer, value as text); producers and consumers count from 0 as in ``kernels``,
            inputs of the graph are -1, -2, ..., outputs follow the kernels.
        inputs: Inputs as text.
        outputs: Outputs as text.
        before: Size of the imported graph.
        after: Size of the optimised one.
        symbols: Sizes of free dims, for which work is counted.
        joint: Steps that run several kernels at once, where a target merges them further; they have the work of
            these kernels, and the kernels have no times.
    """

    kernels: tuple[Kernel, ...]
    edges: tuple[tuple[int, int, str], ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    before: Work
    after: Work
    symbols: Mapping[str, int]
    joint: tuple[Kernel, ...] = ()

    @property
    def timed(self) -> tuple[Kernel, ...]:
        """What has a time: kernels and joint steps."""
        return tuple(each for each in (*self.joint, *self.kernels) if each.ms is not None)


FAMILIES: Mapping[str, tuple[str, ...]] = {
    "conv": ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv"),
    "product": ("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "Einsum"),
    "attention": ("Attention", "Softmax", "LogSoftmax"),
    "recurrent": ("LSTM", "GRU", "RNN", "Scan", "Loop", "If", "SequenceMap"),
    "norm": ("LayerNormalization", "RMSNormalization", "BatchNormalization", "InstanceNormalization"),
    "pool": ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "Resize", "LRN"),
    "reduce": ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ArgMax", "ArgMin", "TopK"),
    "move": (
        *(
            "Transpose",
            "Reshape",
            "Concat",
            "Split",
            "Slice",
            "Gather",
            "Pad",
            "Flatten",
            "Squeeze",
            "Unsqueeze",
        ),
        *("Expand", "Tile", "Cast", "ScatterND", "GatherND", "GatherElements", "Shape", "Constant"),
    ),
}
"""Ops with a colour of their own, most telling first: a fused kernel is what its most telling op is."""


def family_of(ops: Sequence[str]) -> str:
    """The colour of a kernel that does these ops; ``element`` if none tells."""
    for family, names in FAMILIES.items():
        if any(op in names for op in ops):
            return family
    return "element"


def graph_facts(
    original: ir.Model,
    final: ir.Model,
    *,
    trace: Trace,
    steps: Sequence[StepTime] = (),
    symbols: Mapping[str, int] | None = None,
) -> GraphFacts:
    """Gather what is known of the optimised graph. Near-linear; the models are not changed.

    Args:
        original: The imported model.
        final: The optimised one.
        trace: What the passes did.
        steps: Steps with their times, where the target gives them.
        symbols: Sizes of free dims; 1 for those not named.
    """
    sizes = {**free_symbols(final), **(symbols or {})}
    kernels = _kernels(original, final, sizes)
    joint = _add_steps(kernels, steps, _owners_of_bodies(final))
    _add_history(kernels, trace)
    edges, inputs, outputs = _edges(final)
    after = sum((node_cost(node, sizes) for node in final.graph), Cost())
    return GraphFacts(
        tuple(kernels),
        edges,
        inputs,
        outputs,
        _work(original, sizes),
        Work(len(kernels), sum(k.flops for k in kernels), after.bytes_read + after.bytes_written),
        sizes,
        tuple(joint),
    )


def _work(model: ir.Model, sizes: Mapping[str, int]) -> Work:
    costs = sum((node_cost(node, sizes) for node in all_nodes(model.graph)), Cost())
    nodes = sum(1 for _ in model.graph)
    return Work(nodes, costs.flops, costs.bytes_read + costs.bytes_written)


def _kernels(original: ir.Model, final: ir.Model, sizes: Mapping[str, int]) -> list[Kernel]:
    known = {node_name(node): node for node in all_nodes(original.graph)}
    flops = _flops(final, sizes)
    sharing = Counter(origin_of(node) for node in final.graph if node.domain == FUSED)
    kernels = []
    for node in final.graph:
        function = final.functions.get(node.op_identifier())
        inner = list(function.graph) if function is not None else []
        bodies = [each for graph in subgraphs_of(node) for each in all_nodes(graph)]
        cost = node_cost(node, sizes)
        origin = origin_of(node)
        kernels.append(
            Kernel(
                name=node_name(node),
                op=node.op_type if node.domain == FUSED else op_name(node),
                ops=tuple(each.op_type for each in inner if each.op_type != "Constant") or (op_name(node),),
                inputs=tuple(describe(v) for v in node.inputs if v is not None and not _is_weight(v)),
                weights=tuple(describe(v) for v in node.inputs if v is not None and _is_weight(v)),
                outputs=tuple(describe(v) for v in node.outputs if v.name),
                origin=tuple(_origin(name, known.get(name)) for name in origin),
                body=tuple(_line(each) for each in (*inner, *bodies)[:MOST_LISTED]),
                flops=flops[origin] // sharing[origin] if node.domain == FUSED else _deep_flops(node, sizes),
                bytes=cost.bytes_read + cost.bytes_written,
            )
        )
    return kernels


def _is_weight(value: ir.Value) -> bool:
    return value.is_initializer() or value.const_value is not None


def _origin(name: str, node: ir.Node | None) -> tuple[str, str, str]:
    if node is None:
        return name, "", ""
    return name, op_name(node), "; ".join(describe(value) for value in node.outputs if value.name)


def _line(node: ir.Node) -> str:
    """``y = Conv(x, w)``: names of a function's body are short and our own."""
    inputs = ", ".join(str(value.name) if value is not None else "-" for value in node.inputs)
    outputs = ", ".join(str(value.name) for value in node.outputs if value.name)
    return f"{outputs} = {op_name(node)}({inputs})"


def _flops(final: ir.Model, sizes: Mapping[str, int]) -> dict[tuple[str, ...], int]:
    """Operations of the fused kernels, by origin: those of their bodies, whose shapes are inferred anew."""
    found: dict[tuple[str, ...], int] = defaultdict(int)
    if final.functions:
        flat = inlined(final)
        infer(flat)
        for node in flat.graph:
            found[origin_of(node)] += node_cost(node, sizes).flops
    return found


def _deep_flops(node: ir.Node, sizes: Mapping[str, int]) -> int:
    """Operations of a node and of its branches and bodies, each counted once."""
    total = node_cost(node, sizes).flops
    return total + sum(
        node_cost(inner, sizes).flops for graph in subgraphs_of(node) for inner in all_nodes(graph)
    )


def _owners_of_bodies(final: ir.Model) -> dict[str, int]:
    """The top-level node around each node of a branch or body, by the names that this stands for."""
    return {
        name: i
        for i, node in enumerate(final.graph)
        for graph in subgraphs_of(node)
        for inner in all_nodes(graph)
        for name in origin_of(inner)
    }


def _add_steps(
    kernels: Sequence[Kernel], steps: Sequence[StepTime], bodies: Mapping[str, int]
) -> list[Kernel]:
    """Give each step to the kernel of the same origin, else to the one that shares its first node.

    Args:
        kernels: The kernels, whose steps and times are filled in.
        steps: All steps, those of bodies too.
        bodies: The kernel around each node of a body.

    Returns:
        Steps that stand for more than one kernel.
    """
    exact: dict[tuple[str, ...], int] = {}
    first = dict(bodies)
    for i, kernel in enumerate(kernels):
        names = tuple(name for name, _, _ in kernel.origin)
        exact.setdefault(names, i)
        for name in (*names, kernel.name):
            first.setdefault(name, i)
    joint = []
    for step in steps:
        facts = {k: v for k, v in step.facts.items() if isinstance(v, int | float | str | bool)}
        entry = {"kernel": step.kernel, "ms": step.ms, "facts": facts}
        whole = exact.get(step.origin)
        owners = sorted({first[name] for name in step.origin if name in first}) if whole is None else [whole]
        if len(owners) == 1:
            kernels[owners[0]].steps.append(entry)
        elif owners:
            joint.append(_joint(step, entry, [kernels[i] for i in owners]))
    for kernel in kernels:
        times = [each["ms"] for each in kernel.steps if each["ms"] is not None]
        kernel.ms = sum(times) if times else None
    return joint


def _joint(step: StepTime, entry: dict[str, Any], members: Sequence[Kernel]) -> Kernel:
    return Kernel(
        name=f"{len(members)} kernels",
        op=step.kernel,
        ops=(step.kernel,),
        inputs=(),
        weights=(),
        outputs=(),
        origin=tuple(each for member in members for each in member.origin),
        body=(),
        flops=sum(member.flops for member in members),
        bytes=sum(member.bytes for member in members),
        ms=step.ms,
        steps=[entry],
    )


def _add_history(kernels: Sequence[Kernel], trace: Trace) -> None:
    """Rewrites that made a kernel or took one of its nodes, and refusals about it."""
    owners: dict[str, int] = {}
    for i, kernel in enumerate(kernels):
        for name in (kernel.name, *(name for name, _, _ in kernel.origin)):
            owners.setdefault(name, i)
    for record in trace.records:
        for rewrite in record.rewrites:
            about = {owners[n] for n in (rewrite.result, *rewrite.nodes) if n in owners}
            note = f" ({rewrite.note})" if rewrite.note else ""
            for i in about:
                kernels[i].history.append(
                    f"{record.name}: {rewrite.rule} of {', '.join(rewrite.nodes)}{note}"
                )
        for refusal in record.refusals:
            if refusal.node in owners:
                text = f"{record.name} refused {refusal.rule or 'it'} at {refusal.node}: {refusal.why}"
                kernels[owners[refusal.node]].history.append(text)
    for kernel in kernels:
        lines = list(dict.fromkeys(kernel.history))
        more = [f"and {len(lines) - MOST_LISTED} more"] if len(lines) > MOST_LISTED else []
        kernel.history = lines[:MOST_LISTED] + more


def _edges(
    final: ir.Model,
) -> tuple[tuple[tuple[int, int, str], ...], tuple[str, ...], tuple[str, ...]]:
    """Edges between kernels, inputs and outputs of the graph; each pair of ends once."""
    maker: dict[ir.Value, int] = {}
    inputs = [v for v in final.graph.inputs if not v.is_initializer()]
    for i, value in enumerate(inputs):
        maker[value] = -1 - i
    edges: dict[tuple[int, int], str] = {}
    count = 0
    for count, node in enumerate(final.graph, start=1):
        taken = [v for v in node.inputs if v is not None]
        taken += [
            v
            for graph in subgraphs_of(node)
            for inner in all_nodes(graph)
            for v in inner.inputs
            if v is not None
        ]
        for value in taken:
            if value in maker:
                edges.setdefault((maker[value], count - 1), describe(value))
        for value in node.outputs:
            maker[value] = count - 1
    for i, value in enumerate(final.graph.outputs):
        if value in maker:
            edges.setdefault((maker[value], count + i), describe(value))
    return (
        tuple((source, target, text) for (source, target), text in edges.items()),
        tuple(describe(v) for v in inputs),
        tuple(describe(v) for v in final.graph.outputs),
    )
