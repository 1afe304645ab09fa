"""A graph cut into linear segments, which become circuits, and steps for the host."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from accelc.ir.pass_base import node_name
from accelc.ir.reading import input_of, sole_user, subgraphs_of
from accelc.reference import has_reference
from accelc.targets.host_ops import HOST_OPS
from accelc.targets.quantum_circuit.compose import Choices, Move, Part, is_diagonal
from accelc.targets.quantum_circuit.linear import LinearMap, linear_map

FUNCTION, MOVE, NUMPY, REFERENCE = "function", "move", "numpy", "reference"
"""Kinds of host steps: no linear map, on the host by design; only moves numbers; a host op in NumPy; and an op that no
mode of this target is made for, on the single-op reference."""


@dataclass(frozen=True)
class Segment:
    """A linear map that becomes one circuit, or one for each group of channels.

    Args:
        name: Of its first node, with the number of the others.
        map: The map.
    """

    name: str
    map: LinearMap


@dataclass(frozen=True)
class HostStep:
    """A node that runs on the host.

    Args:
        node: The node.
        kind: One of the kinds above.
        reason: Why it is not part of a circuit.
    """

    node: ir.Node
    kind: str
    reason: str


Step = Segment | HostStep


@dataclass(frozen=True)
class Cut:
    """The steps of a graph in order; ``impossible`` are nodes that nothing here can run, with the reason."""

    steps: tuple[Step, ...]
    decisions: tuple[str, ...]
    impossible: tuple[tuple[ir.Node, str], ...]

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The steps that are circuits."""
        return tuple(step for step in self.steps if isinstance(step, Segment))


def cut(graph: ir.Graph, choices: Choices) -> Cut:
    """Cut a graph. One walk; chains of linear maps are multiplied out from front to back as ``choices`` says.

    Raises:
        ValueError: ``choices`` repeats decisions that do not fit the graph.
    """
    chains: dict[ir.Value, list[Part]] = {}  # by the value that each makes so far
    ends: dict[ir.Node, list[Part]] = {}
    hosted: dict[ir.Node, HostStep] = {}
    impossible: list[tuple[ir.Node, str]] = []
    for node in graph:
        part = _part(node)
        if not isinstance(part, LinearMap | Move):
            step = _host_step(node, part)
            if step is None:
                impossible.append((node, part or "it has no lowering and no reference"))
            else:
                hosted[node] = step
            continue
        chain = chains.pop(part.source, [])
        if not chain or sole_user(part.source) is not node:
            chain = []
        else:
            ends.pop(chain[-1].nodes[-1])
        chain = _longer(chain, part, choices)
        chains[part.result] = ends[node] = chain
    steps: list[Step] = []
    for node in graph:
        if node in hosted:
            steps.append(hosted[node])
        for part in ends.get(node, ()):
            steps += _steps_of(part)
    return Cut(tuple(steps), tuple(choices.made), tuple(impossible))


def _part(node: ir.Node) -> Part | str | None:
    """What a node can be in a chain; else why not, None for what never was meant to be."""
    source = input_of(node, 0)
    if node.domain == "" and node.op_type in _MOVES and source is not None and len(node.outputs) == 1:
        order = None
        if node.op_type == "Transpose":
            count = len(source.shape) if source.shape is not None else 0
            order = tuple(node.attributes.get_ints("perm", tuple(reversed(range(count)))))
        return Move(node, source, node.outputs[0], order)
    return linear_map(node)


def _longer(chain: list[Part], part: Part, choices: Choices) -> list[Part]:
    """A chain with one part more, multiplied out with the last map before it if that is cheaper."""
    moves: list[Move] = []
    first: Part | None = None
    for earlier in reversed(chain if isinstance(part, LinearMap) else ()):
        if isinstance(earlier, LinearMap):
            first = earlier
            break
        moves.insert(0, earlier)
    merged = None
    if isinstance(first, LinearMap) and isinstance(part, LinearMap):
        merged = choices.merged(first, moves, part)
    if merged is not None:
        del chain[len(chain) - len(moves) - 1 :]
    chain.append(part if merged is None else merged)
    return chain


def _steps_of(part: Part) -> list[Step]:
    """A segment; or steps on the host for moves, and for maps that need no circuit or cannot have one."""
    if isinstance(part, Move):
        return [HostStep(part.node, MOVE, "other names for basis states: no gates")]
    reason = _no_circuit(part)
    if reason:
        return [HostStep(node, MOVE if node.op_type in _MOVES else FUNCTION, reason) for node in part.nodes]
    more = len(part.nodes) - 1
    return [Segment(node_name(part.nodes[0]) + (f"+{more}" if more else ""), part)]


def _no_circuit(mapped: LinearMap) -> str:
    """Why a linear map is left to the host; empty if it is not."""
    parts = [*mapped.matrices, *(bias for bias in mapped.biases if bias is not None)]
    if not all(np.isfinite(part).all() for part in parts):
        return "the weights hold NaN or infinity, which no amplitude can be"
    if not any(matrix.any() for matrix in mapped.matrices):
        return "all weights are zero"
    if all(is_diagonal(m) and (np.diag(m) == m[0, 0]).all() for m in mapped.matrices if m.size):
        return "the same factor for all numbers: no gates"
    return ""


def _host_step(node: ir.Node, reason: str | None) -> HostStep | None:
    """How a node runs on the host; None if it cannot."""
    key = (node.domain, node.op_type)
    if node.domain == "" and node.op_type in BY_DESIGN:
        return HostStep(node, FUNCTION, reason or "no linear map")
    if key in HOST_OPS and not any(subgraphs_of(node)):
        return HostStep(node, NUMPY, reason or "no linear map")
    if has_reference(*key):
        return HostStep(node, REFERENCE, reason or f"no mode of target 'quantum' is made for {node.op_type}")
    return None


_MOVES = frozenset(("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"))
_BY_DESIGN = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike
    Ceil Celu Clip Concat Constant ConstantOfShape Cos Cosh CumSum DequantizeLinear Div Dropout Elu Equal Erf Exp Expand
    Flatten Floor Gather GatherElements GatherND Gelu GlobalMaxPool Greater GreaterOrEqual HardSigmoid HardSwish Hardmax
    Identity InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Max MaxPool
    Mean Min Mish Mod Mul Neg Not OneHot Or PRelu Pad Pow QuantizeLinear RMSNormalization Range Reciprocal ReduceL1
    ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu
    Reshape Round Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign Split Sqrt Squeeze Sub
    Sum Swish Tan Tanh ThresholdedRelu Tile Transpose Unsqueeze Where Xor
"""
BY_DESIGN = frozenset(_BY_DESIGN.split())
"""Ops that a hybrid program keeps on the host: functions of single numbers, of rows, and what moves numbers."""
