"""Recovery and fusion are near-linear: ten times the nodes may take at most twenty times as long."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import onnx_ir as ir
import pytest

import accelc.passes as registry
from accelc.ir.inline import inline_all
from accelc.ir.pass_base import PassContext
from accelc.pipeline import FUSE, RECOVER

SMALL, LARGE, RATIO = 1_000, 10_000, 20.0

SCALARS = {"half": 0.5, "one": 1.0, "root2": 1.4142135, "eps": 1e-5, "slope": 0.3}
BLOCK = """
d Div c root2 | e Erf d | f Add e one | g Mul f c | gelu Mul g half
m ReduceMean gelu axes | s Sub gelu m | p Mul s s | v ReduceMean p axes | w Add v eps | q Sqrt w | ln Div s q
p Mul ln ln | v ReduceMean p axes | w Add v eps | q Sqrt w | rms Div ln q
s Sigmoid rms | silu Mul s rms
s HardSigmoid silu | hs Mul silu s
k Transpose hs | p MatMul hs k | z Mul p slope | w Softmax z | att MatMul w hs
a MatMul att weight | b Add a bias | r Relu b | res Add r att
t Tanh res | u Exp res | n Add t u
z Mul n slope | c Softmax z
x2 Exp x
"""
SMALL_VALUES = frozenset({"m", "v", "w", "q"})
ATTRIBUTES = {
    "HardSigmoid": ir.AttrFloat32("alpha", 1.0 / 6.0),
    "Transpose": ir.AttrInt64s("perm", [0, 1, 3, 2]),
}


def value(name: str, shape: list[int], array: np.ndarray | None = None) -> ir.Value:
    tensor = ir.Tensor(array, name=name) if array is not None else None
    dtype = tensor.dtype if tensor is not None else ir.DataType.FLOAT
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype), const_value=tensor)


def build(count: int) -> ir.Model:
    """About ``count`` nodes with every pattern once per block, and a value with a user in every block."""
    rng = np.random.default_rng(0)
    weights = [value(name, [], np.asarray(number, np.float32)) for name, number in SCALARS.items()]
    weights += [
        value("axes", [1], np.asarray([-1])),
        value("weight", [4, 4], rng.standard_normal((4, 4)).astype(np.float32)),
        value("bias", [4], np.ones(4, np.float32)),
    ]
    x = value("x", [1, 2, 4, 4])
    names = {str(v.name): v for v in weights} | {"x": x, "c": x}
    steps = [step.split() for line in BLOCK.strip().splitlines() for step in line.split("|")]
    nodes: list[ir.Node] = []
    while len(nodes) < count:
        for result, op, *operands in steps:
            width = 1 if result in SMALL_VALUES and op != "Softmax" else 4
            out = value(f"v{len(nodes)}", [1, 2, 4, width])
            attributes = [ATTRIBUTES[op]] if op in ATTRIBUTES else []
            inputs = [names[operand] for operand in operands]
            nodes.append(ir.Node("", op, inputs, attributes, outputs=[out], name=f"n{len(nodes)}"))
            names[result] = out
    opsets = {"": 24}
    graph = ir.Graph([x], [names["c"]], nodes=nodes, initializers=weights, opset_imports=opsets, name="g")
    return ir.Model(graph, ir_version=11)


def seconds(model: ir.Model, step: Callable[[ir.Model], object]) -> float:
    gc.collect()
    start = time.process_time()
    step(model)
    return time.process_time() - start


def apply(name: str, ctx: PassContext, model: ir.Model) -> None:
    registry.resolve(name).apply(model, ctx)


def run(name: str, count: int) -> tuple[float, int]:
    ctx = PassContext()
    return seconds(build(count), partial(apply, name, ctx)), len(ctx.record.rewrites)


NAMES = sorted(name for name in {*RECOVER, *FUSE} if name.startswith(("recover-", "fuse-")))


@pytest.mark.parametrize("name", NAMES)
def test_near_linear(name: str) -> None:
    run(name, 50)  # loads and warms what both runs need
    small, rewrites = run(name, SMALL)
    large, _ = run(name, LARGE)
    assert rewrites > 10, "the model gives this pass nothing to do"
    assert large <= RATIO * max(small, 5e-3), f"{name}: {small * 1e3:.1f} ms to {large * 1e3:.1f} ms"


def test_inlining_is_near_linear() -> None:
    times = []
    for count in (SMALL, LARGE):
        model = build(count)
        for name in ("fuse-epilogues", "fuse-elementwise"):
            apply(name, PassContext(), model)
        times.append(seconds(model, inline_all))
        assert not model.functions
    assert times[1] <= RATIO * max(times[0], 5e-3)
