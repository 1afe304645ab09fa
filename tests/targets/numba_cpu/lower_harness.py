"""Runs one ONNX node as the target would: lower, bind, call; and the same node on the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from kernel_harness import run_family
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.registry import family
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op, OutSpec
from accelc.targets.numba_cpu.program import Call, SymbolCall, Value


def reference(
    op_type: str,
    inputs: Sequence[np.ndarray | None],
    attrs: Mapping[str, Any],
    outputs: int = 1,
    opset: int = 24,
) -> list[np.ndarray]:
    """The node on onnx.reference; float32 inputs are computed in float32."""
    names = ["" if array is None else f"i{k}" for k, array in enumerate(inputs)]
    outs = [f"o{k}" for k in range(outputs)]
    node = helper.make_node(op_type, names, outs, **dict(attrs))
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in zip(names, inputs, strict=True)
            if array is not None
        ],
        [onnx.ValueInfoProto(name=name) for name in outs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    feeds = {name: array for name, array in zip(names, inputs, strict=True) if array is not None}
    with np.errstate(all="ignore"):
        return [np.asarray(array) for array in ReferenceEvaluator(model).run(None, feeds)]


class Machine:
    """A lowering context with concrete inputs, and a plain interpreter of what was lowered."""

    def __init__(self, isa: Isa | None = None) -> None:
        self.isa = isa or Isa.host()
        self.ctx = LowerContext(self.isa)
        self.arrays: dict[int, np.ndarray] = {}

    def input(self, array: np.ndarray, *, constant: bool = False, order: Sequence[int] = ()) -> Value:
        """An operand, constant or lying in ``order``."""
        program = self.ctx.program
        if constant:
            return self.ctx.model_constant(array, f"c{len(program.values)}")
        value = self.ctx.temp(array.dtype.name, array.shape, order)
        self.arrays[value.id] = in_order(array, value.order)
        return value

    def value(self, value: int) -> np.ndarray:
        """The memory of a value as an array with its strides."""
        found = self.ctx.program.values[value]
        if value in self.arrays:
            return self.arrays[value]
        if found.view is not None:
            base, view = self.value(found.view.base), found.view
            if view.kind == "permute":
                return base.transpose(view.perm)
            if view.kind == "reshape":
                assert base.flags.c_contiguous or base.size <= 1, "a reshape view needs row-major memory"
                return base.reshape(tuple(int(dim) for dim in found.dims))
            index: list[slice] = [slice(None)] * base.ndim
            extent, start = int(found.dims[view.axis]), int(view.start)
            stop = start + extent * view.step
            index[view.axis] = slice(start, stop if stop >= 0 else None, view.step)
            return base[tuple(index)]
        if value in self.ctx.program.constants:
            self.arrays[value] = self.ctx.program.constants[value]
        else:
            shape = tuple(int(dim) for dim in found.dims)
            self.arrays[value] = in_order(np.full(shape, 77).astype(found.dtype), found.order)
        return self.arrays[value]

    def run(self, threads: int = 1) -> None:
        """Run all calls in order."""
        for step in self.ctx.program.steps:
            if isinstance(step, SymbolCall):
                target = self.value(step.output)
                target[...] = np.array(step.elements, target.dtype).reshape(target.shape)
                continue
            assert isinstance(step, Call)
            inputs = [None if k < 0 else self.value(k) for k in step.inputs]
            outputs = [self.value(k) for k in step.outputs]
            run_family(family(step.family), dict(step.params), inputs, outputs, self.isa, threads)


def in_order(array: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """The same contents, lying in physical ``order``."""
    if not order:
        return np.ascontiguousarray(array).reshape(array.shape)
    packed = np.ascontiguousarray(array.transpose(order))
    return packed.transpose(np.argsort(order))


def lower_node(
    table: LoweringTable,
    op_type: str,
    inputs: Sequence[np.ndarray | None],
    attrs: Mapping[str, Any] | None = None,
    *,
    constant: Sequence[int] = (),
    orders: Mapping[int, Sequence[int]] | None = None,
    outputs: int = 1,
    opset: int = 24,
    specs: Sequence[tuple[str, Sequence[int]]] | None = None,
    threads: int = 1,
    **fused: Any,
) -> list[np.ndarray] | Refusal:
    """Lower and run a node; output shapes come from the reference unless ``specs`` gives (dtype, shape)."""
    attrs = dict(attrs or {})
    machine = Machine()
    if specs is None:
        wanted = reference(op_type, inputs, attrs, outputs, opset)
        specs = [(array.dtype.name, array.shape) for array in wanted]
    values = [
        None
        if array is None
        else machine.input(array, constant=k in constant, order=(orders or {}).get(k, ()))
        for k, array in enumerate(inputs)
    ]
    outs = tuple(OutSpec(f"o{k}", dtype, tuple(shape)) for k, (dtype, shape) in enumerate(specs))
    plain = {
        name: numpy_helper.to_array(a) if isinstance(a, onnx.TensorProto) else a for name, a in attrs.items()
    }
    fused = {
        key: tuple(machine.input(item) for item in found) if key.endswith("operands") else found
        for key, found in fused.items()
    }
    rule = table.find("", op_type, opset)
    assert rule is not None, op_type
    refusal = rule(machine.ctx, Op(op_type, "", opset, tuple(values), outs, plain, **fused))
    if refusal is not None:
        return refusal
    machine.run(threads)
    return [machine.value(machine.ctx.by_name[spec.name].id) for spec in outs if spec.name]


def check_node(
    table: LoweringTable,
    op_type: str,
    inputs: Sequence[np.ndarray | None],
    attrs: Mapping[str, Any] | None = None,
    *,
    rtol: float = 2e-5,
    atol: float = 1e-5,
    outputs: int = 1,
    opset: int = 24,
    expected: Sequence[np.ndarray] | None = None,
    **options: Any,
) -> None:
    """Lower, run and compare with the reference (or ``expected``)."""
    wanted = expected if expected is not None else reference(op_type, inputs, attrs or {}, outputs, opset)
    specs = [(array.dtype.name, array.shape) for array in wanted]
    found = lower_node(table, op_type, inputs, attrs, outputs=outputs, opset=opset, specs=specs, **options)
    assert not isinstance(found, Refusal), found.why
    for got, want in zip(found, wanted, strict=True):
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        if want.dtype.kind in "fV" or want.dtype.name == "bfloat16":
            with np.errstate(all="ignore"):
                np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol, atol)
        else:
            np.testing.assert_array_equal(got, want)
