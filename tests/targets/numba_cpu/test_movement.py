from typing import Any

import numpy as np
import pytest
from kernel_harness import run_family
from lower_harness import check_node, lower_node

from accelc.errors import ArtifactError
from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.copy import Copy
from accelc.targets.numba_cpu.lower import movement, shape_ops

RNG = np.random.default_rng(3)
NHWC = (0, 2, 3, 1)


def normal(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.asarray(RNG.normal(size=shape) * 5).astype(dtype)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64", "complex128"])
def test_copy_any_strides(dtype: str) -> None:
    params = {"itemsize": np.dtype(dtype).itemsize}
    for shape, perm in [
        ((2, 3, 5, 7), NHWC), ((2, 19, 33, 21), NHWC), ((2, 33, 21, 19), (0, 3, 1, 2)), ((40, 50), (1, 0)),
        ((1,), (0,)), ((), ()), ((3, 4, 5, 6, 7), (4, 2, 0, 1, 3)), ((0, 3), (1, 0)), ((9000,), (0,)),
    ]:  # fmt: skip
        x = normal(*shape, dtype=dtype)
        sources = [x.transpose(perm)]
        if x.ndim:
            sources += [x[..., ::2], x[..., ::-1], np.broadcast_to(x[..., :1], x.shape)]
        for source in sources:
            y = np.zeros(source.shape, dtype)
            run_family(Copy(), params, [source], [y], threads_simulated=2)
            np.testing.assert_array_equal(y, source)


@pytest.mark.parametrize("bits", [512])
def test_copy_transposes_at_other_widths(bits: int) -> None:
    x = normal(3, 37, 50)
    y = np.zeros((3, 50, 37), np.float32)
    run_family(Copy(), {"itemsize": 4}, [x.transpose(0, 2, 1)], [y], Isa.host(bits))
    np.testing.assert_array_equal(y, x.transpose(0, 2, 1))


@pytest.mark.parametrize("groups", [2, 3, 7, 8, 9])
def test_copy_of_short_rows_leaves_what_lies_behind(groups: int) -> None:
    """Channel shuffles: stores are wider than the rows that they write."""
    for channels in (5, 8, 34, 200):
        x = normal(11, groups, channels)
        whole = np.full(11 * channels * groups + 16, 7, np.float32)
        y = whole[: 11 * channels * groups].reshape(11, channels, groups)
        run_family(Copy(), {"itemsize": 4}, [x.transpose(0, 2, 1)], [y], threads_simulated=2)
        np.testing.assert_array_equal(y, x.transpose(0, 2, 1))
        assert (whole[-16:] == 7).all()


def test_copy_keeps_nan_payloads_and_checks_parameters() -> None:
    x = np.array([0x7FA00001, 0x7FC00000], np.uint32).view(np.float32)
    y = np.zeros(2, np.float32)
    run_family(Copy(), {"itemsize": 4}, [x], [y])
    np.testing.assert_array_equal(y.view(np.uint32), x.view(np.uint32))
    with pytest.raises(ArtifactError, match="itemsize"):
        Copy().check({"itemsize": 3})


X = normal(2, 6, 4, 5)
SHAPES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Reshape", [X, ints(0, -1)], {}),
    ("Flatten", [X], {"axis": 2}),
    ("Squeeze", [X[:1], ints(0)], {}),
    ("Unsqueeze", [X, ints(1, -1)], {}),
    ("Transpose", [X], {}),
    ("Transpose", [X], {"perm": [0, 3, 1, 2]}),
    ("Identity", [X], {}),
    ("Shape", [X], {"start": -3, "end": -1}),
    ("Size", [X], {}),
    ("ConstantOfShape", [ints(3, 4)], {}),
    ("EyeLike", [X[0, 0]], {"k": 1}),
    ("DepthToSpace", [normal(2, 8, 3, 5)], {"blocksize": 2}),
    ("DepthToSpace", [normal(2, 8, 3, 5)], {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", [normal(2, 3, 4, 6)], {"blocksize": 2}),
]


@pytest.mark.parametrize("case", range(len(SHAPES)), ids=lambda i: f"{i}-{SHAPES[i][0]}")
def test_shape_ops(case: int) -> None:
    op_type, inputs, attrs = SHAPES[case]
    check_node(shape_ops.TABLE, op_type, inputs, attrs, constant=(1,), rtol=0, atol=0)
    if inputs[0].ndim == 4:
        check_node(shape_ops.TABLE, op_type, inputs, attrs, constant=(1,), orders={0: NHWC}, rtol=0, atol=0)


INDEX = RNG.integers(-6, 6, (3, 2))
MOVES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Slice", [X, ints(1, -3), ints(100, -1), ints(1, 3)], {}),
    ("Slice", [X, ints(-1, 3), ints(-100, 0), ints(1, 2), ints(-2, -1)], {}),
    ("Slice", [X, ints(7), ints(9), ints(1)], {}),
    ("Split", [X, ints(1, 5)], {"axis": 1}),
    ("Concat", [X, X[:, :2].copy(), X[:, :0].copy()], {"axis": 1}),
    ("Concat", [X, X], {"axis": -1}),
    ("Concat", [X.astype(np.int64), X.astype(np.int64)], {"axis": 0}),
    ("Expand", [X[:, :, :1].copy(), ints(2, 6, 4, 5)], {}),
    ("Tile", [X, ints(1, 2, 1, 3)], {}),
    ("Gather", [X, INDEX], {"axis": 1}),
    ("Gather", [X, np.int64(2).reshape(())], {"axis": 2}),
    ("Gather", [normal(7, 40), np.array([0, -1, 3], np.int32)], {}),
    ("Gather", [normal(7), np.zeros((0,), np.int64)], {}),
    ("GatherND", [X, RNG.integers(0, 2, (3, 4, 2))], {}),
    ("GatherND", [X, RNG.integers(-4, 4, (2, 6, 3, 1))], {"batch_dims": 2}),
    ("GatherElements", [X, RNG.integers(-6, 6, (2, 9, 4, 5))], {"axis": 1}),
    ("Pad", [X, ints(0, 1, 2, 0, 0, 1, 0, 3)], {}),
    ("Pad", [X, ints(0, 0, 2, 1, 0, 0, 3, 4)], {"mode": "reflect"}),
    ("Pad", [X, ints(0, 0, 2, 1, 0, 0, 3, 7)], {"mode": "edge"}),
    ("Pad", [X, ints(0, 0, 2, 1, 0, 0, 3, 4)], {"mode": "wrap"}),
]


@pytest.mark.parametrize("case", range(len(MOVES)), ids=lambda i: f"{i}-{MOVES[i][0]}")
def test_moves(case: int) -> None:
    op_type, inputs, attrs = MOVES[case]
    constant = (
        () if op_type in ("Concat", "Gather", "GatherND", "GatherElements") else tuple(range(1, len(inputs)))
    )
    outputs = 2 if op_type == "Split" else 1
    for orders in ({}, {0: NHWC}) if inputs[0].ndim == 4 else ({},):
        check_node(
            movement.TABLE, op_type, inputs, attrs, constant=constant, outputs=outputs, orders=orders, threads=2,
            rtol=0, atol=0,
        )  # fmt: skip


def test_negative_pads_cut() -> None:
    expected = np.pad(X[:, 1:, :-1], [(0, 0), (0, 1), (2, 0), (0, 3)], constant_values=7)
    pads = ints(0, -1, 2, 0, 0, 1, -1, 3)
    check_node(
        movement.TABLE, "Pad", [X, pads, np.asarray(np.float32(7))], constant=(1, 2), expected=[expected]
    )
    check_node(
        movement.TABLE, "Pad", [X, pads, np.asarray(np.float32(7))], constant=(1,), expected=[expected]
    )


def test_indices_out_of_range_touch_no_foreign_memory() -> None:
    x = normal(4, 3)
    index = np.array([100, -100, 2**40, 1])
    found = lower_node(movement.TABLE, "Gather", [x, index], specs=[("float32", (4, 3))])
    assert not isinstance(found, Refusal)
    np.testing.assert_array_equal(found[0], x[[3, 0, 3, 1]])


def test_unknown_starts_are_refused() -> None:
    found = lower_node(movement.TABLE, "Slice", [X, ints(1), ints(2)])
    assert isinstance(found, Refusal)
    assert found.why == "the starts of the slice are not known before running"
