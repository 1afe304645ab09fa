"""A random model under construction: every value carries what it is for each binding of the dynamic dims.

No shape rules are written down here: a new node is run in onnxruntime at once, for every binding, and its
results give the shapes. A second, slightly disturbed copy of every inexact value goes along (the *shadow*):
a node whose result moves much more than its operands did is not taken, so rounding alone never makes the
comparison of two right builds fail (comparing two nearly equal floats, dividing by nearly nothing).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

BINDINGS = 2
"""Sets of sizes for the dynamic dims that every model is made and run for."""
MAX_ELEMENTS = 6000
MAX_MAGNITUDE = 3e3
NOISE = {"float16": 1e-3, "float32": 1e-6, "float64": 1e-10}
"""How much the shadow of an inexact result differs, as a share of max|result|."""
MOVED = {"float16": 2e-2, "float32": 1e-5, "float64": 1e-9}
"""A shadow that is further away than this share of max|result| makes the node ill-conditioned."""

Dim = tuple[int, ...]
"""Size of one dim for each binding."""

ort.set_default_logger_severity(4)


class RejectedError(Exception):
    """The node that was just tried does not fit; the model stays as it was."""


@dataclass(eq=False)
class Value:
    """A tensor of the model: its elements and shadow elements for each binding."""

    name: str
    arrays: list[np.ndarray]
    shadows: list[np.ndarray]
    kind: str  # "input", "const" or "node"

    @property
    def dtype(self) -> str:
        return self.arrays[0].dtype.name

    @property
    def rank(self) -> int:
        return self.arrays[0].ndim

    @property
    def dims(self) -> tuple[Dim, ...]:
        return tuple(zip(*(a.shape for a in self.arrays), strict=True))

    @property
    def noisy(self) -> bool:
        return any(a is not s for a, s in zip(self.arrays, self.shadows, strict=True))

    @property
    def is_static(self) -> bool:
        return all(len(set(dim)) == 1 for dim in self.dims)


def tensor_type(dtype: str) -> int:
    """ONNX element type of a NumPy name."""
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


@dataclass
class Case:
    """A finished model and the values that it was made from."""

    seed: int
    opset: int
    nodes: list[onnx.NodeProto]
    inputs: list[Value]
    constants: list[Value]
    outputs: list[str]
    values: dict[str, Value] = field(default_factory=dict)

    def feeds(self, binding: int) -> dict[str, np.ndarray]:
        """Inputs for one binding."""
        return {value.name: value.arrays[binding] for value in self.inputs}

    def model(self) -> onnx.ModelProto:
        """The model; dims that differ between bindings are symbolic, equal ones of equal names."""
        names: dict[Dim, str] = {}

        def dim_name(dim: Dim) -> int | str:
            return dim[0] if len(set(dim)) == 1 else names.setdefault(dim, f"D{len(names)}")

        inputs = [
            helper.make_tensor_value_info(v.name, tensor_type(v.dtype), [dim_name(d) for d in v.dims])
            for v in self.inputs
        ]
        outputs = []
        for name in self.outputs:
            value = self.values[name]
            outputs.append(helper.make_tensor_value_info(name, tensor_type(value.dtype), [None] * value.rank))
        constants = [onnx.numpy_helper.from_array(v.arrays[0], v.name) for v in self.constants]
        graph = helper.make_graph(self.nodes, f"fuzz_{self.seed}", inputs, outputs, constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)


@dataclass
class Builder:
    """Grows one model. Samplers call ``emit``, ``const``, ``new_input`` and ``pick``."""

    seed: int
    rng: np.random.Generator
    opset: int
    symbols: list[Dim]
    dtype: str = "float32"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    pool: list[Value] = field(default_factory=list)
    inputs: list[Value] = field(default_factory=list)
    constants: list[Value] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    count: int = 0

    # ------------------------------------------------------------------ chance
    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def choose(self, options: Sequence[Any]) -> Any:
        if not options:
            raise RejectedError
        return options[int(self.rng.integers(len(options)))]

    def integer(self, low: int, high: int) -> int:
        """Both ends included."""
        return int(self.rng.integers(low, high + 1))

    # ------------------------------------------------------------------ values
    def _name(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def random_array(self, dtype: str, shape: Sequence[int]) -> np.ndarray:
        """Eighths between -3 and 3 (sums and products of some are exact), small integers, bools."""
        if dtype == "bool":
            return np.asarray(self.rng.random(shape) < 0.5)
        if dtype.startswith("uint"):
            return np.asarray(self.rng.integers(0, 9, shape)).astype(dtype)
        if dtype.startswith("int"):
            return np.asarray(self.rng.integers(-5, 6, shape)).astype(dtype)
        return np.asarray(self.rng.integers(-24, 25, shape) / 8.0).astype(dtype)

    def const(self, array: np.ndarray) -> Value:
        """A constant: an initializer, or now and then a Constant node."""
        array = np.ascontiguousarray(array).reshape(np.shape(array))
        value = Value(self._name("c"), [array] * BINDINGS, [array] * BINDINGS, "const")
        self.values[value.name] = value
        if self.chance(0.2):
            tensor = onnx.numpy_helper.from_array(array, value.name)
            self.nodes.append(helper.make_node("Constant", [], [value.name], value=tensor))
        else:
            self.constants.append(value)
        return value

    def ints(self, *elements: int) -> Value:
        """An int64 vector constant."""
        return self.const(np.array(elements, dtype=np.int64))

    def new_input(self, dtype: str, dims: Sequence[Dim]) -> Value:
        """A model input with these dims."""
        arrays = [self.random_array(dtype, [dim[b] for dim in dims]) for b in range(BINDINGS)]
        value = Value(self._name("x"), arrays, list(arrays), "input")
        self.inputs.append(value)
        self.pool.append(value)
        self.values[value.name] = value
        return value

    def random_dim(self) -> Dim:
        """Static mostly; 1 often; 0 rarely; else one of the model's symbols."""
        roll = self.rng.random()
        if roll < 0.4 and self.symbols:
            return tuple(self.choose(self.symbols))
        size = 0 if roll > 0.985 else self.choose([1, 2, 3, 4, 5, 8, 8, 16, 17])
        return (size,) * BINDINGS

    def random_dims(self, low: int = 0, high: int = 4) -> tuple[Dim, ...]:
        """Dims of a new input."""
        return tuple(self.random_dim() for _ in range(self.integer(low, high)))

    def pick(
        self,
        dtypes: Sequence[str] | None = None,
        rank: tuple[int, int] = (0, 9),
        when: Callable[[Value], bool] | None = None,
    ) -> Value:
        """A value of the model, a recent one rather; a new input if none fits."""
        found = [
            v
            for v in self.pool
            if (dtypes is None or v.dtype in dtypes)
            and rank[0] <= v.rank <= rank[1]
            and (when is None or when(v))
        ]
        if found and self.chance(0.92):
            weights = np.linspace(1, 3, len(found))
            return found[int(self.rng.choice(len(found), p=weights / weights.sum()))]
        if len(self.inputs) > 5:
            raise RejectedError
        dtype = self.dtype if dtypes is None or self.dtype in dtypes else self.choose(dtypes)
        value = self.new_input(dtype, self.random_dims(rank[0], min(rank[1], max(rank[0], 4))))
        if when is not None and not when(value):
            raise RejectedError
        return value

    # ------------------------------------------------------------------ nodes
    def emit(self, op: str, inputs: Sequence[Value | None], outputs: int = 1, **attrs: Any) -> Value:
        """Add a node of one used output."""
        return self.emit_many(op, inputs, outputs, **attrs)[0]

    def emit_many(self, op: str, inputs: Sequence[Value | None], outputs: int, **attrs: Any) -> list[Value]:
        """Add a node; raises RejectedError unless it runs, for every binding, and is well-conditioned."""
        names = [self._name("v") for _ in range(outputs)]
        node = helper.make_node(op, [v.name if v is not None else "" for v in inputs], names, **attrs)
        return self.add(node, [v for v in inputs if v is not None])

    def add(self, node: onnx.NodeProto, operands: Sequence[Value]) -> list[Value]:
        """Add a node that reads ``operands`` (its subgraphs' captures included)."""
        operands = list({v.name: v for v in operands}.values())
        session = self._session(node, operands)
        fed = [v for v in operands if v.kind != "const"]
        arrays = [self._run(session, fed, b, shadow=False) for b in range(BINDINGS)]
        shadows = arrays
        if any(v.noisy for v in fed):
            shadows = [self._run(session, fed, b, shadow=True) for b in range(BINDINGS)]
        made = []
        for i, name in enumerate(node.output):
            pairs = [self._settled(a[i], s[i]) for a, s in zip(arrays, shadows, strict=True)]
            made.append(Value(name, [a for a, _ in pairs], [s for _, s in pairs], "node"))
        self.nodes.append(node)
        self.pool.extend(made)
        self.values.update((v.name, v) for v in made)
        return made

    def _session(self, node: onnx.NodeProto, operands: Sequence[Value]) -> ort.InferenceSession:
        graph = helper.make_graph(
            [node],
            "one",
            [
                helper.make_tensor_value_info(v.name, tensor_type(v.dtype), [None] * v.rank)
                for v in operands
                if v.kind != "const"
            ],
            [helper.make_empty_tensor_value_info(name) for name in node.output],
            [onnx.numpy_helper.from_array(v.arrays[0], v.name) for v in operands if v.kind == "const"],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)
        try:
            return session_of(model)
        except Exception as error:
            raise RejectedError(str(error)) from error

    @staticmethod
    def _run(
        session: ort.InferenceSession, fed: Sequence[Value], binding: int, *, shadow: bool
    ) -> list[np.ndarray]:
        feeds = {v.name: (v.shadows if shadow else v.arrays)[binding] for v in fed}
        try:
            return [np.asarray(a) for a in session.run(None, feeds)]
        except Exception as error:
            raise RejectedError(str(error)) from error

    def _settled(self, array: np.ndarray, shadow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The result and its shadow; raises RejectedError for what no comparison could judge."""
        if array.shape != shadow.shape or array.size > MAX_ELEMENTS or array.ndim > 6:
            raise RejectedError
        if array.dtype.kind != "f":
            if array.dtype.kind not in "iub" or not np.array_equal(array, shadow):
                raise RejectedError
            if array.dtype.kind == "i" and array.size and np.abs(array.astype(np.float64)).max() > 1e6:
                raise RejectedError
            return array, array
        if not np.isfinite(array).all() or not np.isfinite(shadow).all():
            raise RejectedError
        size = float(np.abs(array).max()) if array.size else 0.0
        dtype = array.dtype.name
        if size > MAX_MAGNITUDE or 0 < size < 1e-4:
            raise RejectedError
        moved = float(np.abs(array - shadow).max()) if array.size else 0.0
        if moved > MOVED[dtype] * size:
            raise RejectedError
        grid = array.astype(np.float64) * 64
        if array is shadow and (grid == np.round(grid)).all() and size < 64:
            return array, array  # exact in any order of evaluation
        noise = self.rng.uniform(-1, 1, array.shape) * NOISE[dtype] * size
        return array, (shadow.astype(np.float64) + noise).astype(array.dtype)


def session_of(model: onnx.ModelProto) -> ort.InferenceSession:
    """An onnxruntime session that changes nothing in the graph."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
