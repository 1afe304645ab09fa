"""A model as a pure JAX function of its weights and inputs: to be jitted, differentiated and batched by the caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx_ir as ir

from accelc.errors import CallError, UnsupportedError
from accelc.inputs import model_inputs
from accelc.ir.cost import inlined
from accelc.ir.walk import all_nodes
from accelc.targets.jax_xla.compiled_step import Settings, StepFunction
from accelc.targets.jax_xla.partition import Partitioner, name_of
from accelc.targets.jax_xla.program import BodyStep, Constants, HostStep, JitStep, Program, tensor_of

_STATISTICS = {"BatchNormalization": (3, 4)}
"""Operands that training measures instead of learning."""


class JaxFunction:
    """``f(params, inputs)`` of a model, pure.

    Args:
        model: The imported graph; what it computes is not changed by passes, so weights keep their names.
        settings: Lowerings, platform, precision.

    Attributes:
        inputs: Names of the inputs, in order.
        outputs: Names of the outputs, in order.
        constants: Floating-point tensors that are no parameters, by name, with the reason.

    Raises:
        UnsupportedError: Part of the model runs on the host, or values of inputs decide shapes.
    """

    def __init__(self, model: ir.Model, settings: Settings) -> None:
        self._model = inlined(model)
        self._settings = settings
        self._constants = Constants()
        self._given = model_inputs(self._model)
        self._program = Partitioner(settings.table, self._model.opset_imports, {}, self._constants).program(
            self._model.graph, self._given
        )
        self._step = _only_step(self._program)
        self.inputs = tuple(str(value.name) for value in self._given)
        self.outputs = tuple(str(value.name) for value in self._model.graph.outputs)
        self.constants = self._not_trainable()

    def params(self) -> dict[str, jax.Array]:
        """The model's weights, by the names that they have in the file."""
        with jax.enable_x64(True):
            return {
                str(value.name): jnp.asarray(self._constants.array(value))
                for value in self._step.weights
                if value.name not in self.constants and _is_float(value)
            }

    def _not_trainable(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for node in all_nodes(self._model.graph):
            for place in _STATISTICS.get(node.op_type, ()):
                value = node.inputs[place]
                if value is not None and self._constants.is_constant(value):
                    found[str(value.name)] = f"running statistics of {name_of(node)}"
        weights = set(self._step.weights)
        for node in all_nodes(self._model.graph):
            for value in node.inputs:
                if value is None or value in weights or not _is_float(value) or str(value.name) in found:
                    continue
                if self._constants.is_constant(value):
                    known = value in self._program.static
                    why = "it decides what is computed" if known else "a single number"
                    found[str(value.name)] = f"{why}, at {name_of(node)}"
        return found

    def __call__(
        self, params: Mapping[str, Any], inputs: Mapping[str, Any], key: Any = None
    ) -> dict[str, jax.Array]:
        """Outputs by name.

        Args:
            params: Weights by name; a weight left out keeps the model's value.
            inputs: Inputs by name; integers are taken in any width.
            key: ``jax.random`` key, for models that draw random numbers.

        Raises:
            CallError: An input is missing or unknown, or a parameter is unknown.
        """
        self._check(params, inputs, key)
        with jax.enable_x64(True):
            weights = [self._weight(value, params) for value in self._step.weights]
            arrays = {value: _cast(inputs[str(value.name)], value) for value in self._given}
            function = StepFunction(self._step, self._program, self._constants, self._settings, {})
            draw = None if key is None or not self._step.random else jax.random.key_data(key)
            results = function(
                weights,
                [arrays[value] for value in function.kept],
                [arrays[value] for value in function.freed],
                draw,
            )
            made = dict(zip(self._step.outputs, results, strict=True))
            return {
                str(value.name): made[value] if value in made else self._unchanged(value, arrays)
                for value in self._program.outputs
            }

    def _weight(self, value: ir.Value, params: Mapping[str, Any]) -> Any:
        given = params.get(str(value.name))
        return jnp.asarray(self._constants.array(value) if given is None else given)

    def _unchanged(self, value: ir.Value, arrays: Mapping[ir.Value, Any]) -> jax.Array:
        """An output that is an input or a constant itself."""
        return arrays[value] if value in arrays else jnp.asarray(self._constants.array(value))

    def _check(self, params: Mapping[str, Any], inputs: Mapping[str, Any], key: Any) -> None:
        missing = [name for name in self.inputs if name not in inputs]
        unknown = [name for name in inputs if name not in self.inputs]
        if missing or unknown:
            what = f"input {missing[0]!r} is missing" if missing else f"no input is called {unknown[0]!r}"
            raise CallError(what, fix=f"inputs: {', '.join(self.inputs)}")
        known = {str(value.name) for value in self._step.weights}
        strange = [name for name in params if name not in known]
        if strange:
            raise CallError(
                f"no parameter is called {strange[0]!r}",
                why=self.constants.get(strange[0], ""),
                fix="take the parameters that accelc.to_jax gave",
            )
        if self._step.random and key is None:
            raise CallError("the model draws random numbers", fix="pass key=jax.random.key(...)")


def _only_step(program: Program) -> JitStep:
    """The one jit step of a program that is nothing else."""
    host = [step for step in program.steps if isinstance(step, HostStep | BodyStep)]
    if host:
        raise UnsupportedError(
            f"{len(host)} node(s) of the model run on the host, where nothing can be differentiated",
            where=[f"node {name_of(step.node)}: {step.reason}" for step in host[:20]],
        )
    steps = [step for step in program.steps if isinstance(step, JitStep)]
    steering = [value for step in steps for value in step.statics]
    if len(steps) != 1 or steering:
        raise UnsupportedError(
            "values of inputs decide shapes in this model, so that it is no pure function of arrays",
            where=[f"value {value.name}" for value in steering[:20]],
            fix="make those inputs constants of the model",
        )
    return steps[0]


def _is_float(value: ir.Value) -> bool:
    tensor = tensor_of(value)
    return tensor is not None and tensor.dtype.is_floating_point()


def _cast(given: Any, value: ir.Value) -> Any:
    """An input in the dtype that the model declares."""
    array = given if isinstance(given, jax.Array) else np.asarray(given)
    wanted = value.dtype.numpy() if value.dtype is not None else array.dtype
    kinds = (np.dtype(array.dtype).kind, np.dtype(wanted).kind)
    if array.dtype != wanted and kinds[0] != kinds[1] and not set(kinds) <= set("iu"):
        raise CallError(
            f"input {value.name!r} has the wrong dtype", why=f"expected {wanted}, got {array.dtype}"
        )
    return jnp.asarray(array).astype(wanted)
