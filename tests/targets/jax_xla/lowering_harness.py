"""Calls lowerings as the tracer does, and ONNX's reference on the same nodes.

Attributes are written with ONNX's names (``transA``); operands are NumPy arrays, None where absent. Cases of one
call are one jitted function: XLA compiles once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import ml_dtypes
import numpy as np
import onnx_ir as ir

from accelc.ir.attributes import attributes
from accelc.reference import evaluate_node
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.runtime import prepare
from accelc.targets.jax_xla.table import snake
from accelc.targets.jax_xla.tables import table

OPSET = 24
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""What a test compiles runs once: it need not be fast."""
prepare()


@dataclass
class Case:
    """One node and what feeds it.

    Args:
        op_type: The op.
        operands: Its inputs.
        attrs: Attributes by ONNX's names.
        outputs: How many outputs are asked for.
        domain: Domain of the op.
        version: Opset version of the domain.
        out_dtype: Declared dtype of the first output.
        known: Places of operands given as static besides those that must be.
        precision: As in ``Ctx``.
        platform: As in ``Ctx``.
        seed: Makes the node's random key; None for no key.
        rtol: Tolerance of the comparison; None for that of the dtype.
        atol: Absolute tolerance.
        expected: What is right; None for what the reference says.
    """

    op_type: str
    operands: tuple[np.ndarray | None, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    domain: str = ""
    version: int = OPSET
    out_dtype: Any = None
    known: Sequence[int] = ()
    precision: str = "f32"
    platform: str = "cpu"
    seed: int | None = None
    rtol: float | None = None
    atol: float = 1e-6
    expected: Sequence[np.ndarray] | None = None

    def node(self) -> ir.Node:
        """The node that the operands would feed, its input dtypes and shapes known."""
        values = [None if x is None else _value(f"x{i}", x) for i, x in enumerate(self.operands)]
        given = {name: _attribute(value) for name, value in self.attrs.items()}
        node = ir.node(
            self.op_type,
            values,
            attributes=given,
            domain=self.domain,
            num_outputs=self.outputs,
            version=self.version,
        )
        for i, value in enumerate(node.outputs):
            value.name = f"y{i}"
        if self.out_dtype is not None:
            node.outputs[0].type = ir.TensorType(ir.DataType.from_numpy(np.dtype(self.out_dtype)))
        return node

    def fixed(self) -> set[int]:
        """Places of operands that are known while tracing."""
        static = {*self._rule().static, *self.known}
        return {i for i, x in enumerate(self.operands) if x is None or i in static}

    def trace(self, operands: Sequence[Any]) -> Any:
        """Outputs of the lowering on traced operands."""
        node = self.node()
        key = None if self.seed is None else jax.random.key(self.seed)
        ctx = Ctx(node, self.version, self.outputs, self.platform, self.precision, key)
        named = {snake(name): value for name, value in attributes(node).items()}
        found = self._rule().function(ctx, *operands, **named)
        return tuple(found) if isinstance(found, tuple | list) else (found,)

    def reference(self) -> Sequence[np.ndarray]:
        """What is right."""
        if self.expected is not None:
            return self.expected
        with np.errstate(all="ignore"):
            return evaluate_node(self.node(), list(self.operands), opset=self.version)

    def _rule(self) -> Any:
        rule = table().find(self.domain, self.op_type, self.version)
        assert rule is not None, f"{self.op_type}-{self.version} has no lowering"
        return rule

    def __str__(self) -> str:
        shapes = [None if x is None else f"{x.dtype}{list(x.shape)}" for x in self.operands]
        return f"{self.op_type}-{self.version}({', '.join(map(str, shapes))}, {self.attrs})"


def _value(name: str, x: Any) -> ir.Value:
    """A graph value for an operand; one of symbolic dims has no type."""
    if not isinstance(x, np.ndarray) or x.dtype.hasobject:
        return ir.Value(name=name)
    return ir.Value(name=name, type=ir.TensorType(ir.DataType.from_numpy(x.dtype)), shape=ir.Shape(x.shape))


def _attribute(value: Any) -> Any:
    return ir.tensor(value) if isinstance(value, np.ndarray) else value


_OPTIONS = {name for name in Case.__dataclass_fields__ if name not in ("op_type", "operands", "attrs")}


def case(op_type: str, *operands: Any, **options: Any) -> Case:
    """A case; options that are not those of ``Case`` are attributes of the node."""
    arrays = tuple(None if x is None else np.asarray(x) for x in operands)
    attrs = {name: value for name, value in options.items() if name not in _OPTIONS}
    return Case(op_type, arrays, attrs, **{k: v for k, v in options.items() if k in _OPTIONS})


def run(cases: Sequence[Case]) -> list[list[np.ndarray]]:
    """Outputs of all cases, in one compiled function."""
    operands = [
        [x for i, x in enumerate(each.operands) if i not in fixed]
        for each, fixed in ((each, each.fixed()) for each in cases)
    ]

    def traced(given: Sequence[Sequence[Any]]) -> list[Any]:
        results = []
        for each, arrays in zip(cases, given, strict=True):
            left, fixed = iter(arrays), each.fixed()
            taken = [x if i in fixed else next(left) for i, x in enumerate(each.operands)]
            results.append(each.trace(taken))
        return results

    with jax.enable_x64(True):
        found = jax.jit(traced, compiler_options=QUICK)(operands)
    return [[np.asarray(y) for y in outputs] for outputs in found]


def check(*cases: Case) -> list[list[np.ndarray]]:
    """Compare lowerings with the reference: dtypes and shapes equal, values close; gives the outputs."""
    found = run(cases)
    for each, outputs in zip(cases, found, strict=True):
        wanted = each.reference()
        assert len(outputs) == len(wanted), str(each)
        for y, expected in zip(outputs, wanted, strict=True):
            try:
                assert_close(y, np.asarray(expected), rtol=each.rtol, atol=each.atol)
            except AssertionError as error:
                raise AssertionError(f"{each}: {error}") from error
    return found


def onnxruntime_says(each: Case) -> list[np.ndarray]:
    """Outputs of a case by onnxruntime, for ops that ONNX's reference gets wrong."""
    import onnxruntime as ort

    node = each.node()
    graph = ir.Graph([x for x in node.inputs if x is not None], node.outputs, nodes=[node], name="one")
    graph.opset_imports["" if not each.domain else each.domain] = 21
    model = ir.serde.serialize_model(ir.Model(graph, ir_version=10)).SerializeToString()
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    feeds = {f"x{i}": x for i, x in enumerate(each.operands) if x is not None}
    return [np.asarray(y) for y in session.run(None, feeds)]


def lowered(op_type: str, *operands: Any, **options: Any) -> list[np.ndarray]:
    """Outputs of one case."""
    return run([case(op_type, *operands, **options)])[0]


def assert_close(
    y: np.ndarray, expected: np.ndarray, *, rtol: float | None = None, atol: float = 1e-6
) -> None:
    """Same dtype and shape; integers and bools equal, floats within the tolerance of their dtype."""
    assert y.dtype == expected.dtype
    assert y.shape == expected.shape
    if y.dtype.kind in "biu" or "int" in y.dtype.name:
        np.testing.assert_array_equal(y.astype(np.int64), expected.astype(np.int64))
        return
    info: Any = ml_dtypes.finfo(y.dtype)
    tolerance = max(float(info.eps) * 4, 1e-5 if y.dtype == np.float32 else 0.0) if rtol is None else rtol
    slack = max(atol, float(info.eps)) if info.bits < 32 else atol
    np.testing.assert_allclose(
        y.astype(np.float64), expected.astype(np.float64), rtol=tolerance, atol=slack, equal_nan=True
    )
