"""Running a program: its steps in order over one table of values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from accelc.errors import AccelcError, CallError
from accelc.ir.attributes import attributes
from accelc.ir.pass_base import node_name
from accelc.reference import evaluate_node
from accelc.targets.host_ops import HOST_OPS
from accelc.targets.jax_xla.body_run import run_body
from accelc.targets.jax_xla.compiled_step import CompiledStep, Settings, Weights
from accelc.targets.jax_xla.program import BodyStep, HostStep, JitStep, Program


class HostFailure(Exception):  # noqa: N818 - it stands for the error it carries
    """A host step cannot do it with these values: the node, and the error for the user."""

    def __init__(self, node: ir.Node, error: AccelcError) -> None:
        place = f"node {node_name(node)} ({node.op_type})"
        where = error.where if place in error.where else (*error.where, place)
        self.node = node
        self.error = type(error)(error.what, where=where, why=error.why, fix=error.fix)
        super().__init__(str(self.error))


class Runner(Protocol):
    """What runs one step."""

    def run(self, values: dict[ir.Value, Any]) -> None:
        """Run once, putting what the step makes into ``values``."""


class ProgramRunner:
    """Runs a program; safe to call from several threads at once.

    Args:
        program: What to run.
        weights: Constants, shared by all programs of an executable.
        settings: Device, precision, lowerings.
    """

    def __init__(self, program: Program, weights: Weights, settings: Settings) -> None:
        self.program = program
        self.weights = weights
        self.runners = [_runner(step, program, weights, settings) for step in program.steps]

    def run(self, given: Sequence[Any]) -> list[Any]:
        """Results for inputs in order: JAX or NumPy arrays, lists for sequences, None for an empty optional."""
        program = self.program
        values: dict[ir.Value, Any] = dict(zip(program.inputs, given, strict=True))
        for runner, dead in zip(self.runners, program.last_use, strict=True):
            runner.run(values)
            for value in dead:
                values.pop(value, None)
        return [self._result(value, values) for value in program.outputs]

    def _result(self, value: ir.Value, values: dict[ir.Value, Any]) -> Any:
        return values[value] if value in values else _constant(value, self.weights)

    def compiled_steps(self) -> list[CompiledStep]:
        """All jit steps, those of bodies included."""
        found: list[CompiledStep] = []
        pending: list[ProgramRunner] = [self]
        while pending:
            runner = pending.pop()
            for each in runner.runners:
                if isinstance(each, CompiledStep):
                    found.append(each)
                elif isinstance(each, _BodyRunner):
                    pending += each.bodies
        return found


def _runner(step: Any, program: Program, weights: Weights, settings: Settings) -> Runner:
    if isinstance(step, JitStep):
        return CompiledStep(step, program, weights, settings)
    if isinstance(step, HostStep):
        return _HostRunner(step, program, weights)
    return _BodyRunner(step, weights, settings)


def _constant(value: ir.Value, weights: Weights) -> np.ndarray:
    array = weights.constants.array(value)
    if array is None:
        raise CallError(f"value {value.name!r} was never made")
    return array


def _operands(node: ir.Node, values: dict[ir.Value, Any], weights: Weights) -> list[Any]:
    """Operands as the host takes them: NumPy arrays, lists, None."""
    return [
        None if value is None else on_host(values[value] if value in values else _constant(value, weights))
        for value in node.inputs
    ]


def on_host(value: Any) -> Any:
    """A value in NumPy; sequences element by element."""
    if value is None or isinstance(value, np.ndarray):
        return value
    if isinstance(value, list):
        return [on_host(item) for item in value]
    return np.asarray(value)


class _HostRunner:
    """One node in NumPy or on the reference."""

    def __init__(self, step: HostStep, program: Program, weights: Weights) -> None:
        self.step = step
        self.weights = weights
        self.attributes = attributes(step.node)
        self.version = step.node.version or program.opsets.get(step.node.domain, 1)

    def run(self, values: dict[ir.Value, Any]) -> None:
        """See Runner.run."""
        node = self.step.node
        operands = _operands(node, values, self.weights)
        try:
            if self.step.kind == "numpy":
                with np.errstate(all="ignore"):
                    results = HOST_OPS[node.domain, node.op_type](operands, self.attributes)
            else:
                results = list(evaluate_node(node, operands, opset=self.version))
        except AccelcError as error:
            raise HostFailure(node, error) from error
        except (
            ArithmeticError,
            LookupError,
            TypeError,
            ValueError,
        ) as error:  # NumPy, on values that do not fit
            problem = CallError(f"{node.op_type} cannot be computed on these values", why=str(error))
            raise HostFailure(node, problem) from error
        wanted = [output for output in node.outputs if output.name]
        if self.step.kind == "numpy":
            values.update(zip(node.outputs, results, strict=False))
        else:
            values.update(zip(wanted, results, strict=False))


class _BodyRunner:
    """Control flow driven from here; the bodies are compiled programs."""

    def __init__(self, step: BodyStep, weights: Weights, settings: Settings) -> None:
        self.step = step
        self.weights = weights
        self.bodies = [ProgramRunner(body, weights, settings) for body in step.bodies]

    def run(self, values: dict[ir.Value, Any]) -> None:
        """See Runner.run."""
        node = self.step.node
        given = [
            None if v is None else values[v] if v in values else _constant(v, self.weights)
            for v in node.inputs
        ]
        taken = [
            [values[v] for v in body.program.inputs[len(body.program.graph.inputs) :]] for body in self.bodies
        ]
        try:
            results = run_body(node, self.bodies, given, taken)
        except CallError as error:
            where = (*error.where, f"node {node_name(node)} ({node.op_type})")
            raise CallError(error.what, where=where, why=error.why, fix=error.fix) from error
        values.update(zip(node.outputs, results, strict=False))
