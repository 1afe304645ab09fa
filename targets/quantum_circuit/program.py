"""The hybrid program: segments as circuits, other nodes on the host, in order over one table of values."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from accelc.errors import CallError
from accelc.reference import captured_values
from accelc.targets.quantum_circuit.host import constant_of, run_node, widened
from accelc.targets.quantum_circuit.product import Product
from accelc.targets.quantum_circuit.readout import Reading, Readout
from accelc.targets.quantum_circuit.segments import Cut, HostStep, Segment, Step


@dataclass(frozen=True)
class SegmentReading:
    """How the circuits of a segment went in one call.

    Args:
        segment: Its name.
        readings: One for each circuit; empty where the operand held NaN or infinity.
        note: Why no circuit was run, else empty.
    """

    segment: str
    readings: tuple[Reading, ...]
    note: str = ""


NOT_FINITE = "the operand holds NaN or infinity, which no amplitude can be: computed on the host"


@dataclass(frozen=True)
class Program:
    """A cut graph with a product for every matrix.

    Args:
        inputs: Values that a call gives, in order.
        outputs: Values that it gives back.
        cut: The steps.
        products: For each segment of the cut, one per group.
        opsets: Versions of the domains.
    """

    inputs: tuple[ir.Value, ...]
    outputs: tuple[ir.Value, ...]
    cut: Cut
    products: tuple[tuple[Product, ...], ...]
    opsets: Mapping[str, int]
    last_use: tuple[tuple[ir.Value, ...], ...] = field(default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "last_use", _last_uses(self.cut.steps, self.outputs))

    def run(
        self, given: Sequence[Any], readout: Readout, seed: int, times: dict[int, float] | None = None
    ) -> tuple[list[Any], list[SegmentReading]]:
        """Results for inputs in order, floats as float64, and how the segments went.

        Args:
            given: A value for each input.
            readout: How results are read.
            seed: Of measurements: the same seed draws the same for the same inputs.
            times: Filled with milliseconds by step, if given.

        Raises:
            CallError: Values do not fit an op.
        """
        values: dict[ir.Value, Any] = {v: widened(x) for v, x in zip(self.inputs, given, strict=True)}
        readings: list[SegmentReading] = []
        products = iter(self.products)
        for index, (step, dead) in enumerate(zip(self.cut.steps, self.last_use, strict=True)):
            start = time.perf_counter()
            if isinstance(step, Segment):
                rng = np.random.default_rng((seed, len(readings)))
                readings.append(self._run_segment(step, next(products), values, readout, rng))
            else:
                self._run_host(step.node, values)
            if times is not None:
                times[index] = (time.perf_counter() - start) * 1e3
            for value in dead:
                values.pop(value, None)
        results = [values[v] if v in values else widened(constant_of(v)) for v in self.outputs]
        return results, readings

    def _run_host(self, node: ir.Node, values: dict[ir.Value, Any]) -> None:
        run_node(node, values, node.version or self.opsets.get(node.domain))

    def _run_segment(
        self,
        segment: Segment,
        products: Sequence[Product],
        values: dict[ir.Value, Any],
        readout: Readout,
        rng: np.random.Generator,
    ) -> SegmentReading:
        mapped = segment.map
        x = values[mapped.source] if mapped.source in values else widened(constant_of(mapped.source))
        if not np.isfinite(x).all():
            for node in mapped.nodes:
                self._run_host(node, values)
            return SegmentReading(segment.name, (), NOT_FINITE)
        vectors = mapped.layout.gather(x)
        columns = mapped.matrices[0].shape[1]
        if len(vectors) != len(products) or vectors.shape[2] != columns:
            raise CallError(
                "the operand does not fit the weights",
                where=f"segment {segment.name}",
                why=f"vectors of {vectors.shape[2]} numbers meet a matrix of {columns} columns",
            )
        read = [readout.read(product, each, rng) for product, each in zip(products, vectors, strict=True)]
        values[mapped.result] = mapped.layout.place(np.stack([y for y, _ in read]), x.shape)
        return SegmentReading(segment.name, tuple(reading for _, reading in read))


def _last_uses(steps: Sequence[Step], outputs: Sequence[ir.Value]) -> tuple[tuple[ir.Value, ...], ...]:
    """For each step, the values that nobody reads behind it."""
    last: dict[ir.Value, int] = {}
    for index, step in enumerate(steps):
        for value in _touched(step):
            last[value] = index
    for value in outputs:
        last.pop(value, None)
    dead: list[list[ir.Value]] = [[] for _ in steps]
    for value, index in last.items():
        dead[index].append(value)
    return tuple(map(tuple, dead))


def _touched(step: Step) -> list[ir.Value]:
    """Values that a step reads or makes, those inside a segment too: the host may make them."""
    nodes = step.map.nodes if isinstance(step, Segment) else (step.node,)
    found = [value for node in nodes for value in (*node.inputs, *node.outputs) if value is not None]
    bodies = [value for node in nodes if isinstance(step, HostStep) for value in captured_values(node)]
    return found + bodies
