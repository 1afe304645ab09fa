"""onnxruntime's IOBinding for host memory: inputs and outputs bound by name before a run."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from accelc.errors import CallError, UsageError


class BoundValue:
    """A result after a run; answers the calls of onnxruntime's OrtValue that make sense on the host."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def numpy(self) -> np.ndarray:
        """The result itself."""
        return self._array

    def shape(self) -> list[int]:
        """Its shape."""
        return list(self._array.shape)

    def device_name(self) -> str:
        """Where it is: ``cpu``."""
        return "cpu"


class IOBinding:
    """Inputs and outputs bound by name.

    Args:
        all_outputs: Names of the model's outputs; they are all bound until one is bound by hand.
    """

    def __init__(self, all_outputs: Sequence[str]) -> None:
        self._all_outputs = list(all_outputs)
        self._sinks: dict[str, Callable[[np.ndarray], None] | None] = {}
        self._results: list[np.ndarray] = []
        self.feeds: dict[str, np.ndarray] = {}

    @property
    def output_names(self) -> list[str]:
        """The outputs wanted, in the order they were bound."""
        return list(self._sinks) or self._all_outputs

    def bind_cpu_input(self, name: str, arr_on_cpu: np.ndarray) -> None:
        """Bind an array."""
        self.feeds[name] = np.asarray(arr_on_cpu)

    def bind_ortvalue_input(self, name: str, ortvalue: Any) -> None:
        """Bind anything with ``numpy()``: an OrtValue, or a result of an earlier run."""
        self.feeds[name] = ortvalue.numpy()

    def bind_input(
        self,
        name: str,
        device_type: str,
        device_id: int,
        element_type: Any,
        shape: Sequence[int],
        buffer_ptr: int,
    ) -> None:
        """Bind the memory at ``buffer_ptr``: row-major, and alive until the run is over."""
        self.feeds[name] = _view(name, device_type, element_type, shape, buffer_ptr)

    def bind_output(
        self,
        name: str,
        device_type: str = "cpu",
        device_id: int = 0,
        element_type: Any = None,
        shape: Sequence[int] | None = None,
        buffer_ptr: int | None = None,
    ) -> None:
        """Ask for an output; with ``buffer_ptr`` it is also written there."""
        if buffer_ptr is None:
            _on_host(name, device_type)
            self._sinks[name] = None
            return
        target = _view(name, device_type, element_type, shape or (), buffer_ptr)
        self._sinks[name] = lambda result: _copy(name, target, result)

    def bind_ortvalue_output(self, name: str, ortvalue: Any) -> None:
        """Ask for an output and write it into an OrtValue."""
        self._sinks[name] = ortvalue.update_inplace

    def clear_binding_inputs(self) -> None:
        """Forget the inputs."""
        self.feeds.clear()

    def clear_binding_outputs(self) -> None:
        """Forget the outputs, bound and computed."""
        self._sinks.clear()
        self._results = []

    def synchronize_inputs(self) -> None:
        """Nothing to wait for on the host."""

    def synchronize_outputs(self) -> None:
        """Nothing to wait for on the host."""

    def take(self, results: Sequence[np.ndarray]) -> None:
        """Keep a run's results, in the order of ``output_names``, and write them where they were bound."""
        self._results = list(results)
        for sink, result in zip(self._sinks.values(), self._results, strict=False):
            if sink is not None:
                sink(result)

    def copy_outputs_to_cpu(self) -> list[np.ndarray]:
        """The results of the last run."""
        return list(self._results)

    def get_outputs(self) -> list[BoundValue]:
        """The results of the last run as values."""
        return [BoundValue(result) for result in self._results]


def _on_host(name: str, device_type: str) -> None:
    if device_type.lower() != "cpu":
        raise UsageError(
            f"{name} is bound to {device_type}", why="sessions run on the host", fix="bind it to cpu"
        )


def _view(name: str, device_type: str, element_type: Any, shape: Sequence[int], pointer: int) -> np.ndarray:
    """An array over the caller's memory."""
    _on_host(name, device_type)
    dtype = np.dtype(element_type)
    count = int(np.prod([int(n) for n in shape], dtype=np.int64))
    if dtype.hasobject or any(n < 0 for n in shape):
        raise UsageError(f"{name} cannot be bound as {dtype}{list(shape)}", fix="bind a numeric tensor")
    if count == 0:
        return np.empty(tuple(shape), dtype)
    memory = (ctypes.c_byte * (count * dtype.itemsize)).from_address(pointer)
    return np.frombuffer(memory, dtype).reshape(tuple(shape))


def _copy(name: str, target: np.ndarray, result: np.ndarray) -> None:
    if target.shape != result.shape or target.dtype != result.dtype:
        raise CallError(
            f"output {name} does not fit the buffer bound to it",
            why=f"it is {target.dtype}{list(target.shape)}, the output {result.dtype}{list(result.shape)}",
            fix="bind a buffer of the output's dtype and shape",
        )
    target[...] = result
