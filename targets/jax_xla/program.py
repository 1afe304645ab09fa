"""What an optimised graph becomes: jit steps and host steps, in order. A usual model is exactly one jit step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from accelc.ir.reading import constant_tensor

SMALL_CONSTANT = 1024
"""Integers and bools up to so many elements are part of the program; larger ones are arguments like weights."""


@dataclass(frozen=True)
class JitStep:
    """A region that XLA compiles as one function.

    Args:
        nodes: In order; control flow among them runs as ``lax`` control flow.
        inputs: Values made before, as arrays.
        statics: Values made before that must be known while tracing: their content is part of the key.
        weights: Constants that are arguments, placed on the device once.
        outputs: Values used behind the step.
        static_outputs: Values known after tracing that later steps use.
        donated: Inputs that nobody reads again.
        random: Whether it draws random numbers and takes a key.
    """

    nodes: tuple[ir.Node, ...]
    inputs: tuple[ir.Value, ...]
    statics: tuple[ir.Value, ...]
    weights: tuple[ir.Value, ...]
    outputs: tuple[ir.Value, ...]
    static_outputs: tuple[ir.Value, ...]
    donated: frozenset[ir.Value] = frozenset()
    random: bool = False


@dataclass(frozen=True)
class HostStep:
    """One node in NumPy, or on the single-op reference.

    Args:
        node: What runs.
        kind: ``numpy`` or ``reference``.
        reason: Why it is not part of a jit step.
    """

    node: ir.Node
    kind: str
    reason: str


@dataclass(frozen=True)
class BodyStep:
    """Control flow driven from the host: the bodies are programs, compiled in turn.

    Args:
        node: If, Loop or Scan.
        bodies: Programs of its bodies; of an If, then and else.
        reason: Why XLA's own control flow does not hold it.
    """

    node: ir.Node
    bodies: tuple[Program, ...]
    reason: str


Step = JitStep | HostStep | BodyStep


@dataclass
class Program:
    """A graph as steps.

    Args:
        graph: The graph; of a body, the body's.
        inputs: What a call gives: formal inputs, then what a body takes from outside.
        outputs: What it gives back.
        steps: In order.
        static: Values known while tracing.
        opsets: Versions of the domains.
        last_use: For each step, the values that are not needed behind it.
    """

    graph: ir.Graph
    inputs: tuple[ir.Value, ...]
    outputs: tuple[ir.Value, ...]
    steps: tuple[Step, ...]
    static: frozenset[ir.Value]
    opsets: Mapping[str, int]
    last_use: tuple[tuple[ir.Value, ...], ...] = ()

    def programs(self) -> Iterator[Program]:
        """This program and those of all bodies, outer ones first."""
        pending = [self]
        while pending:
            program = pending.pop()
            yield program
            for step in program.steps:
                if isinstance(step, BodyStep):
                    pending.extend(step.bodies)

    def jit_steps(self) -> Iterator[JitStep]:
        """All jit steps, those of bodies included."""
        for program in self.programs():
            for step in program.steps:
                if isinstance(step, JitStep):
                    yield step


@dataclass
class Constants:
    """The arrays of constants, each read once; large ones are weights."""

    arrays: dict[ir.Value, np.ndarray | None] = field(default_factory=dict)

    def array(self, value: ir.Value) -> np.ndarray | None:
        """The array behind a constant; None if it is none. Strings are object arrays."""
        if value not in self.arrays:
            self.arrays[value] = _read(value)
        return self.arrays[value]

    def is_constant(self, value: ir.Value) -> bool:
        """Whether the value is an initializer or comes from a Constant node."""
        return tensor_of(value) is not None or _is_text_constant(value)

    def is_weight(self, value: ir.Value) -> bool:
        """Whether a constant is an argument of the compiled function instead of a part of it."""
        tensor = tensor_of(value)
        if tensor is None or tensor.dtype == ir.DataType.STRING:
            return False
        size = tensor.size
        if tensor.dtype.is_floating_point():
            return size > 1
        return size > SMALL_CONSTANT


def tensor_of(value: ir.Value) -> ir.TensorProtocol | None:
    """The tensor behind an initializer (one that is also an input included) or a Constant node."""
    return value.const_value if value.is_initializer() else constant_tensor(value)


def _is_text_constant(value: ir.Value) -> bool:
    node = value.producer()
    return (
        node is not None
        and node.domain == ""
        and node.op_type == "Constant"
        and any(name in node.attributes for name in ("value_string", "value_strings"))
    )


def _read(value: ir.Value) -> np.ndarray | None:
    tensor = tensor_of(value)
    if tensor is not None:
        array: Any = tensor.numpy()
        return _text(array) if tensor.dtype == ir.DataType.STRING else np.asarray(array)
    if not _is_text_constant(value):
        return None
    node = value.producer()
    assert node is not None  # _is_text_constant looked
    from accelc.ir.attributes import constant_array

    return constant_array(node)


def _text(array: Any) -> np.ndarray:
    """Strings of a tensor as an object array of str."""
    flat = [item.decode("utf-8") if isinstance(item, bytes) else str(item) for item in np.ravel(array)]
    result = np.empty(len(flat), dtype=object)
    result[:] = flat
    return result.reshape(np.shape(array))
