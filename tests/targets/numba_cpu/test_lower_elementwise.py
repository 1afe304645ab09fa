from typing import Any

import numpy as np
import pytest
from lower_harness import check_node, lower_node

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.expr import ExprBuilder
from accelc.targets.numba_cpu.lower.elementwise import ELEMENTWISE, TABLE

RNG = np.random.default_rng(7)
X = (
    np.concatenate([RNG.normal(size=20) * 3, [0.0, -0.0, np.nan, np.inf, -np.inf]])
    .astype(np.float32)
    .reshape(5, 5)
)
U = RNG.uniform(-0.9, 0.9, (3, 5)).astype(np.float32)
N = RNG.integers(-9, 9, (3, 5)).astype(np.int32)
J = RNG.integers(1, 5, (3, 5)).astype(np.int32)
B = RNG.integers(0, 2, (3, 5)).astype(bool)

CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Clip", [X, np.float32(-1.5), np.float32(2.0)], {}),
    ("Clip", [X, None, np.float32(2.0)], {}),
    ("Clip", [X], {}),
    ("Clip", [N, np.int32(-2), np.int32(3)], {}),
    ("Elu", [X], {"alpha": 0.5}),
    ("Selu", [X], {}),
    ("Celu", [X], {"alpha": 2.0}),
    ("LeakyRelu", [X], {"alpha": 0.0}),
    ("LeakyRelu", [X], {}),
    ("PRelu", [X, X[0] * 0 + 0.3], {}),
    ("HardSigmoid", [X], {}),
    ("HardSigmoid", [X], {"alpha": 0.0, "beta": 0.25}),
    ("HardSwish", [X[:4]], {}),
    ("Mish", [X], {}),
    ("Shrink", [X], {"lambd": 1.5, "bias": 0.5}),
    ("ThresholdedRelu", [X[:4]], {"alpha": 0.0}),
    ("Gelu", [X[:4]], {"approximate": "tanh"}),
    ("Swish", [X[:4]], {"alpha": 0.5}),
    ("IsInf", [X], {"detect_negative": 0}),
    ("IsInf", [X], {"detect_positive": 0, "detect_negative": 0}),
    ("IsNaN", [X], {}),
    ("Where", [B, U, U[:1] * 2], {}),
    ("Where", [B, np.float32(0), np.float32(-10000.0)], {}),
    ("Max", [X, X[:1], np.float32(0.5)], {}),
    ("Min", [N, J], {}),
    ("Mean", [U, U[:1], U], {}),
    ("Sum", [U], {}),
    ("Pow", [np.abs(X), np.float32(2.0)], {}),
    ("Pow", [np.abs(U), U], {}),
    ("Pow", [N, J], {}),
    ("Mod", [N, J], {}),
    ("Mod", [N, -J], {"fmod": 1}),
    ("Mod", [X[:4], X[:4] * 0 + 0.7], {"fmod": 1}),
    ("Div", [N, J], {}),
    ("Equal", [N, J], {}),
    ("Greater", [X, U[:1]], {}),
    ("And", [B, ~B[:1]], {}),
    ("Xor", [B, B[:1]], {}),
    ("Not", [B], {}),
    ("BitShift", [J.astype(np.uint8), J.astype(np.uint8)], {"direction": "LEFT"}),
    ("BitwiseXor", [N, J], {}),
    ("Sign", [X], {}),
    ("Cast", [N], {"to": 1}),
    ("Cast", [X[:4]], {"to": 9}),
    ("Cast", [U * 100], {"to": 6}),
    ("Cast", [U], {"to": 10}),
    ("CastLike", [U, N.astype(np.float64)], {}),
    ("Tan", [U.astype(np.float64)], {}),
    ("Acosh", [np.abs(U) + 1], {}),
    ("Add", [U.astype(np.float16), U[:1].astype(np.float16)], {}),
    ("Add", [np.float32(3.0), np.float32(4.0)], {}),
    ("Mul", [np.zeros((0, 5), np.float32), U[:1]], {}),
    ("Neg", [np.float32([2.0])], {}),
]


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda i: f"{i}-{CASES[i][0]}")
def test_ops(case: int) -> None:
    op_type, inputs, attrs = CASES[case]
    inputs = [None if x is None else np.asarray(x) for x in inputs]
    scalars = [k for k, x in enumerate(inputs) if x is not None and x.ndim == 0 and k]
    half = any(x is not None and x.dtype == np.float16 for x in inputs)
    options: dict[str, Any] = {}
    if op_type == "ThresholdedRelu":
        options["expected"] = [np.where(inputs[0] > attrs["alpha"], inputs[0], np.float32(0))]
    check_node(
        TABLE, op_type, inputs, attrs, constant=scalars, rtol=1e-3 if half else 2e-5,
        opset=24 if op_type != "Cast" else 18, **options,
    )  # fmt: skip


def test_every_elementwise_op_has_a_lowering() -> None:
    assert {name for _, name, _ in TABLE} == ELEMENTWISE - {"Identity"}


BROADCASTS = [
    ((2, 3, 4, 5), (3, 1, 1)),
    ((2, 3, 4, 5), (2, 1, 4, 1)),
    ((2, 3, 4, 5), (5,)),
    ((2, 1, 4, 1), (3, 1, 5)),
    ((1, 3, 1, 1), (3, 1, 1)),
    ((2, 8, 3, 3), (2, 8, 3, 3)),
    ((0, 8, 3, 3), (1, 8, 1, 1)),
    ((1, 1), (1,)),
    ((), ()),
]


@pytest.mark.parametrize("shapes", BROADCASTS, ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_broadcasting_and_layouts(shapes: tuple[tuple[int, ...], ...], threads: int) -> None:
    a, b = (np.asarray(RNG.normal(size=shape), np.float32) for shape in shapes)
    channels_last = (0, 2, 3, 1)
    for orders in ({}, {0: channels_last}, {0: channels_last, 1: channels_last}, {1: channels_last}):
        kept = {k: order for k, order in orders.items() if (a, b)[k].ndim == 4}
        for constant in ((), (1,)):
            where = {k: order for k, order in kept.items() if k not in constant}
            check_node(TABLE, "Sub", [a, b], orders=where, constant=constant, threads=threads)


def test_large_operands_are_split_into_tasks() -> None:
    x = RNG.normal(size=(70, 400)).astype(np.float32)
    check_node(TABLE, "Add", [x, x[:1]], threads=3)
    check_node(TABLE, "Add", [x, x], threads=3)
    check_node(TABLE, "Add", [x[:, :3].copy(), x[:, :1].copy()], threads=2)


def test_output_follows_the_order_of_its_operands() -> None:
    x = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)
    found = lower_node(TABLE, "Relu", [x], orders={0: (0, 2, 3, 1)})
    assert not isinstance(found, Refusal)
    assert found[0].transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize(
    ("op_type", "inputs", "why"),
    [
        ("Exp", [N], "Exp: exp does not take int32"),
        ("Add", [U.astype(np.complex64)] * 2, "Add: kernels do not know the dtype complex64"),
    ],
)
def test_refusals(op_type: str, inputs: list[np.ndarray], why: str) -> None:
    found = lower_node(TABLE, op_type, inputs, specs=[(inputs[0].dtype.name, inputs[0].shape)])
    assert isinstance(found, Refusal)
    assert found.why == why


def test_shared_steps() -> None:
    builder = ExprBuilder()
    assert builder.const(1.0, "float32") == builder.const(1.0, "float32")
