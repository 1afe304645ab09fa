"""The optimised graph as plain ONNX. What it gives is a file; running it here is slow and for checks only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir

from accelc.artifact import read_model
from accelc.errors import CallError, UnsupportedError
from accelc.feeds import checked_feeds
from accelc.ir.cost import weight_bytes
from accelc.ir.inline import inline_all
from accelc.ir.runnable import make_runnable
from accelc.ir.schemas import newest_ops
from accelc.ir.shapes import dims_of
from accelc.model_file import portable
from accelc.pipeline import Pipeline
from accelc.reference import captured_values, evaluate_node
from accelc.target import Executable, MemorySummary, Support, Target, TargetOptions, TensorSpec


@dataclass(frozen=True)
class OnnxModel(Target):
    """Emit plain ONNX, for any runtime: what onnxruntime runs best, names and metadata kept.

    Some runtimes reject model-local functions, so nothing is fused unless ``TargetOptions.keep_functions`` asks for
    it, and calls that are there all the same are inlined.
    """

    name: ClassVar[str] = "onnx"
    aliases: ClassVar[tuple[str, ...]] = ("onnx_model",)
    emits: ClassVar[bool] = True

    def lower(self, model: ir.Model, options: TargetOptions) -> OnnxExecutable:
        """Inline the fused kernels, and write ops that runtimes lack by others; nothing else changes."""
        if options.precision != "f32":
            raise UnsupportedError(
                f"target 'onnx' has no precision {options.precision}",
                fix="use --precision f32, which changes no dtype",
            )
        plain = model.clone()
        if not options.keep_functions:
            inline_all(plain)
            make_runnable(plain)
        return OnnxExecutable(plain, kernels=sum(1 for _ in model.graph))

    def pipeline(self, level: int, options: TargetOptions) -> Pipeline:
        """No fusion, but forms that other runtimes are good at; the usual passes with ``keep_functions``."""
        return Pipeline.default(level) if options.keep_functions else Pipeline.emitting(level)

    def load(self, folder: Path, manifest: Mapping[str, Any], options: TargetOptions) -> OnnxExecutable:
        """Read ``model.onnx`` back."""
        model = read_model(folder, manifest)
        return OnnxExecutable(model, kernels=sum(1 for _ in model.graph))

    def ops(self) -> Sequence[Support]:
        """Every op of the standard passes through."""
        return [
            Support(domain, op, since, ("any",), way="emitted")
            for (domain, op), since in newest_ops().items()
        ]

    def doctor(self) -> Mapping[str, str]:
        """The library that writes the file."""
        import onnx

        return {"onnx": onnx.__version__, "onnx-ir": ir.__version__}


class OnnxExecutable(Executable):
    """A plain ONNX model, run node by node with onnx.reference: right, slow, without any kernel.

    Args:
        model: The graph, at the opset that the reference runs; ``emitted`` is its form for others.
        kernels: Top-level nodes before inlining.
    """

    target_name = "onnx"

    def __init__(self, model: ir.Model, *, kernels: int) -> None:
        self.model = model
        self.emitted = portable(model)
        initial = set(model.graph.initializers)
        self.inputs = tuple(spec_of(v) for v in model.graph.inputs if v.name not in initial)
        self.outputs = tuple(spec_of(v) for v in model.graph.outputs)
        self.summary = {"kernels": kernels}
        self._weights = {v.name: v for v in model.graph.initializers.values()}
        self._last_use = _last_uses(model.graph)
        self._peak = 0

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[np.ndarray]:
        """Run once; values are freed after their last use.

        Raises:
            CallError: An input is missing, unknown, or of another dtype or shape.
            UnsupportedError: The reference cannot run a node.
        """
        wanted = self._wanted(output_names)
        values: dict[int, np.ndarray] = {}
        for value, array in zip(self._model_inputs(), checked_feeds(self.inputs, feeds), strict=True):
            values[id(value)] = array
        for value in self._weights.values():
            if value.const_value is not None:
                values[id(value)] = value.const_value.numpy()
        given = set(values)  # the caller's and the model's own memory does not count
        live = peak = 0
        for index, node in enumerate(self._graph()):
            for output, array in zip(node.outputs, self._evaluate(node, values), strict=False):
                values[id(output)] = array
                live += array.nbytes
            peak = max(peak, live)
            for dead in self._last_use.get(index, ()):
                if dead not in given and dead in values:
                    live -= values.pop(dead).nbytes
        self._peak = peak
        return [np.array(values[id(value)]) for value in wanted]

    def _graph(self) -> ir.Graph:
        if self.model is None:
            raise CallError("the executable has no model")
        return self.model.graph

    def _model_inputs(self) -> list[ir.Value]:
        return [value for value in self._graph().inputs if value.name not in self._weights]

    def _wanted(self, names: Sequence[str] | None) -> list[ir.Value]:
        outputs = {str(value.name): value for value in self._graph().outputs}
        unknown = [name for name in names or () if name not in outputs]
        if unknown:
            raise CallError(f"no output is called {unknown[0]!r}", fix=f"outputs: {', '.join(outputs)}")
        return [outputs[name] for name in names] if names is not None else list(self._graph().outputs)

    def _evaluate(self, node: ir.Node, values: Mapping[int, np.ndarray]) -> list[np.ndarray]:
        operands = [None if value is None else values[id(value)] for value in node.inputs]
        captures = {str(v.name): values[id(v)] for v in captured_values(node) if id(v) in values}
        return evaluate_node(node, operands, captures=captures)

    @property
    def memory_plan(self) -> MemorySummary:
        """What the last run held at once; 0 before the first run, as there is no plan."""
        return MemorySummary(self._peak, 0, weight_bytes(self.model) if self.model else 0)

    def payload(self, folder: Path) -> dict[str, Any]:
        """Nothing beside the model, which the artifact writes."""
        return {"cpu": "any"}


def _last_uses(graph: ir.Graph) -> dict[int, list[int]]:
    """For each node index, the values nobody needs after it."""
    last: dict[int, int] = {}
    for index, node in enumerate(graph):
        for value in (*node.inputs, *captured_values(node), *node.outputs):
            if value is not None:
                last[id(value)] = index
    for value in graph.outputs:
        last.pop(id(value), None)
    uses: dict[int, list[int]] = {}
    for key, index in last.items():
        uses.setdefault(index, []).append(key)
    return uses


def spec_of(value: ir.Value) -> TensorSpec:
    """Name, NumPy dtype and dims of a model input or output."""
    dtype = np.dtype(object) if value.dtype in (None, ir.DataType.STRING) else value.dtype.numpy()
    return TensorSpec(str(value.name), dtype, dims_of(value))
