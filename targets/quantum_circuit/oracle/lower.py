"""ONNX graphs as binary networks: every element of every tensor becomes a Linear, exactly, or an error says why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from accelc.errors import UnsupportedError
from accelc.ir.pass_base import node_name
from accelc.ir.reading import constant_value
from accelc.reference import evaluate_node
from accelc.targets.quantum_circuit.oracle.network import Linear, Literal, Network, bit

Tensor = np.ndarray
"""A constant, or an object array of Linear."""
Handler = Callable[["Lowering", ir.Node, Sequence[Any]], Tensor]

_MOVES = frozenset(
    {
        "Concat",
        "Dropout",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "Identity",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
    }
    | {"Tile", "Transpose", "Unsqueeze"}
)
_MANTISSA = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}
_MOST_INTEGER_BITS = 53


@dataclass(frozen=True)
class Lowering:
    """What a handler needs.

    Args:
        network: Where new bits are made.
        operands_are_bool: Dtype of the node's first operand, for ops that mean another thing on bool.
    """

    network: Network
    operands_are_bool: bool


@dataclass(frozen=True)
class InputBits:
    """How a model's inputs are read from bits.

    Args:
        name: The input.
        shape: Its shape.
        dtype: Its dtype.
        first: Number of its first bit; elements follow in row-major order.
        signs: Bits 0 and 1 mean -1 and 1, else 0 and 1.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    first: int
    signs: bool

    @property
    def size(self) -> int:
        """Number of bits."""
        return int(np.prod(self.shape, dtype=np.int64))

    def decode(self, bits: np.ndarray) -> np.ndarray:
        """Values for rows of bits bool [rows, all bits of the model]: the rows stacked on the first axis."""
        own = bits[:, self.first : self.first + self.size].astype(np.int64)
        own = own.reshape((len(bits) * self.shape[0], *self.shape[1:]) if self.shape else ())
        return np.asarray(2 * own - 1 if self.signs else own).astype(self.dtype)


def input_bits(model: ir.Model, *, signs: bool = True) -> tuple[InputBits, ...]:
    """One bit per element of each input; bool and unsigned inputs are 0 and 1 whatever ``signs`` says.

    Raises:
        UnsupportedError: An input has a free dim, or is no tensor of numbers.
    """
    found: list[InputBits] = []
    first = 0
    for value in model.graph.inputs:
        if value.name in model.graph.initializers:
            continue
        shape = value.shape
        if shape is None or value.dtype is None or not all(isinstance(dim, int) for dim in shape):
            raise UnsupportedError(
                f"input {value.name} has no fixed shape", fix="give its dims, as in --dim N=1"
            )
        dtype = value.dtype.numpy()
        if dtype.kind not in "biuf":
            raise UnsupportedError(f"input {value.name} of {value.dtype} cannot be a row of bits")
        dims = tuple(dim for dim in shape if isinstance(dim, int))
        found.append(InputBits(str(value.name), dims, dtype, first, signs and dtype.kind not in "bu"))
        first += found[-1].size
    return tuple(found)


def lower(
    model: ir.Model, inputs: Sequence[InputBits], bits: Sequence[Linear], network: Network
) -> list[Tensor]:
    """The model's outputs as Linears over the network, for inputs given as 0-1 Linears.

    Args:
        model: An imported model of fixed shapes.
        inputs: How its inputs are made of bits.
        bits: Those bits.
        network: Where new bits are made.

    Raises:
        UnsupportedError: An op that has no exact form over bits, with all such ops listed.
    """
    known = {*_MOVES, "Constant"}
    missing = sorted({n.op_type for n in model.graph if _handler(n) is None and n.op_type not in known})
    values: dict[str, Tensor] = {}
    for made in inputs:
        flat = np.empty(made.size, object)
        for i in range(made.size):
            element = bits[made.first + i]
            flat[i] = element * 2.0 - 1.0 if made.signs else element
        values[made.name] = flat.reshape(made.shape)
    for node in model.graph:
        operands = [_read(value, values) for value in node.inputs]
        results: Iterable[Tensor]
        has_graphs = any(attr.type == ir.AttributeType.GRAPH for attr in node.attributes.values())
        if all(x is None or x.dtype != object for x in operands) and not has_graphs:
            results = evaluate_node(node, operands)
        elif node.domain == "" and node.op_type in _MOVES and not _is_lookup(node, operands):
            results = _move(node, operands)
        else:
            results = [_compute(node, operands, network, missing)]
        for value, result in zip(node.outputs, results, strict=False):
            values[str(value.name)] = _exact(result, value, node)
    return [_read(value, values) for value in model.graph.outputs]


def _read(value: ir.Value | None, values: Mapping[str, Tensor]) -> Any:
    if value is None:
        return None
    if (name := str(value.name)) in values:
        return values[name]
    if value.is_initializer() and value.const_value is not None:  # also those that a caller might replace
        return value.const_value.numpy()
    return constant_value(value)


def _handler(node: ir.Node) -> Handler | None:
    from accelc.targets.quantum_circuit.oracle.lower_ops import HANDLERS

    return HANDLERS.get(node.op_type) if node.domain == "" else None


def _compute(node: ir.Node, operands: Sequence[Any], network: Network, missing: Sequence[str]) -> Tensor:
    handler = _handler(node)
    where = f"node {node_name(node)} ({node.op_type})"
    if handler is None:
        raise UnsupportedError(
            f"no reversible circuit for {', '.join(missing)}",
            where=where,
            fix="binary networks are made of MatMul, Gemm, Add, Sign, comparisons, logic, Where and ArgMax",
        )
    first = node.inputs[0]
    is_bool = first is not None and first.dtype == ir.DataType.BOOL
    try:
        return handler(Lowering(network, is_bool), node, operands)
    except ValueError as error:
        raise UnsupportedError("the node has no exact form over bits", where=where, why=str(error)) from error


def _is_lookup(node: ir.Node, operands: Sequence[Any]) -> bool:
    """Whether a gather's places depend on the inputs."""
    return node.op_type in ("Gather", "GatherElements") and operands[1].dtype == object


def _move(node: ir.Node, operands: Sequence[Any]) -> list[Tensor]:
    """Ops that only place elements: the reference moves their numbers, then these stand for the elements."""
    data = list(range(len(operands))) if node.op_type == "Concat" else [0]
    pool: list[Any] = []
    numbered = list(operands)
    for i in data:
        elements = np.asarray(operands[i])
        numbered[i] = np.arange(len(pool), len(pool) + elements.size).reshape(elements.shape)
        pool += [Linear.of(element) for element in elements.ravel()]
    if any(x is not None and x.dtype == object for x in numbered):
        raise UnsupportedError(
            "where elements go depends on the inputs", where=f"node {node_name(node)} ({node.op_type})"
        )
    moved = []
    for order in evaluate_node(node, numbered)[: 1 if node.op_type == "Dropout" else None]:
        out = np.empty(order.size, object)
        out[:] = [pool[k] for k in order.ravel()]
        moved.append(out.reshape(order.shape))
    return moved


def _exact(result: Tensor, value: ir.Value, node: ir.Node) -> Tensor:
    """Refuse values whose sums the model's dtype would round or wrap: bits would differ from the model's."""
    if result.dtype != object or value.dtype is None:
        return result
    dtype = str(value.dtype.numpy())
    where = f"node {node_name(node)} ({node.op_type})"
    for element in result.ravel():
        if dtype in _MANTISSA:
            fits = element.bound <= element.grain * 2.0 ** _MANTISSA[dtype]
        elif dtype == "bool":
            fits = element.literal() is not None or not element.terms
        else:
            info = np.iinfo(dtype)
            most = min(float(info.max), 2.0**_MOST_INTEGER_BITS)
            fits = element.bound <= most and element.grain >= 1 and element.low >= float(info.min)
        if not fits:
            raise UnsupportedError(
                f"sums in {dtype} are not exact here",
                where=where,
                why=f"summands reach {element.bound:g} in steps of {element.grain:g}",
                fix="use weights that are integers, or few-digit multiples of one power of two",
            )
    return result


def input_signals(count: int, start: int = 0) -> list[Linear]:
    """The network's inputs ``start`` to ``start + count`` as 0-1 values."""
    return [bit(Literal(signal)) for signal in range(start, start + count)]
