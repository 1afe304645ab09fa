from typing import Any

import numpy as np
import pytest
from lower_harness import check_node

from accelc.targets.numba_cpu.lower import indexing, resize

RNG = np.random.default_rng(9)
X = RNG.normal(size=(3, 7, 5)).astype(np.float32)
IMAGE = RNG.normal(size=(1, 3, 4, 6)).astype(np.float32)
NHWC = (0, 2, 3, 1)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("ArgMax", [X], {"axis": 1}),
    ("ArgMax", [X], {"axis": -1, "keepdims": 0}),
    ("ArgMin", [np.round(X)], {"axis": 1, "select_last_index": 1}),
    ("ArgMax", [np.float32([[1, np.nan, 5, np.nan]])], {"axis": 1}),
    ("CumSum", [X, np.asarray(np.int64(1))], {}),
    ("CumSum", [X, np.asarray(np.int64(1))], {"exclusive": 1, "reverse": 1}),
    ("TopK", [X, ints(3)], {"axis": 1}),
    ("TopK", [X, ints(7)], {"axis": 1}),
    ("TopK", [np.round(X), ints(4)], {"axis": -1, "largest": 0}),
    ("ScatterElements", [X, RNG.integers(-7, 7, (2, 7, 3)), RNG.normal(size=(2, 7, 3)).astype(np.float32)],
     {"axis": 1}),
    ("ScatterElements", [X, RNG.integers(0, 7, (2, 4, 3)), RNG.normal(size=(2, 4, 3)).astype(np.float32)],
     {"axis": 1, "reduction": "add"}),
    ("ScatterND", [X, ints(0, 2, 2, 1).reshape(2, 2), RNG.normal(size=(2, 5)).astype(np.float32)], {}),
    ("ScatterND", [X, ints(0, 2, 0).reshape(3, 1), RNG.normal(size=(3, 7, 5)).astype(np.float32)],
     {"reduction": "max"}),
    ("OneHot", [ints(0, 2, -1, 9), np.asarray(np.int64(4)), np.float32([0.5, 2.0])], {}),
    ("OneHot", [ints(0, 2, -1, 3).reshape(2, 2), np.asarray(np.int64(4)), ints(0, 1)], {"axis": 1}),
    ("Trilu", [X, np.asarray(np.int64(1))], {}),
    ("Trilu", [X, np.asarray(np.int64(-2))], {"upper": 0}),
    ("Trilu", [X.astype(np.int64), np.asarray(np.int64(99))], {"upper": 0}),
    ("Range", [np.asarray(np.float32(1.5)), np.asarray(np.float32(4)), np.asarray(np.float32(0.5))], {}),
    ("Range", [np.asarray(np.int64(5)), np.asarray(np.int64(-5)), np.asarray(np.int64(-3))], {}),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda i: f"{i}-{CASES[i][0]}")
def test_indexing(case: int) -> None:
    op_type, inputs, attrs = CASES[case]
    constant = (1,) if op_type in ("CumSum", "TopK") else (1, 2) if op_type == "OneHot" else ()
    options: dict[str, Any] = {}
    if op_type == "TopK":
        # Equal elements in order of their indices, which the reference does not promise.
        axis, sign = attrs["axis"], 1 if attrs.get("largest", 1) else -1
        order = np.argsort(-sign * inputs[0], axis=axis, kind="stable").take(range(inputs[1][0]), axis=axis)
        options["expected"] = [np.take_along_axis(inputs[0], order, axis), order]
    if op_type == "OneHot" and attrs.get("axis", -1) == -1:
        index = np.where(inputs[0] < 0, inputs[0] + 4, inputs[0])
        options["expected"] = [np.where(np.arange(4) == index[:, None], *inputs[2][::-1])]
    outputs = 2 if op_type == "TopK" else 1
    check_node(
        indexing.TABLE, op_type, inputs, attrs, constant=constant, outputs=outputs, threads=2, **options
    )


RESIZES: list[tuple[list[float] | None, list[int] | None, dict[str, Any]]] = [
    ([1, 1, 2, 3], None, {"mode": "nearest"}),
    ([1, 1, 0.6, 1.5], None, {"mode": "nearest", "coordinate_transformation_mode": "asymmetric",
                              "nearest_mode": "floor"}),
    (None, [1, 3, 7, 3], {"mode": "nearest", "nearest_mode": "ceil"}),
    ([1, 1, 2, 2], None, {"mode": "linear"}),
    ([1, 1, 2, 0.5], None, {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
    (None, [1, 3, 9, 4], {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}),
    ([1, 1, 2, 2], None, {"mode": "cubic"}),
    ([1, 1, 1.5, 2], None, {"mode": "cubic", "exclude_outside": 1, "cubic_coeff_a": -0.5}),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(RESIZES)))
def test_resize(case: int) -> None:
    scales, sizes, attrs = RESIZES[case]
    inputs: list[Any] = [IMAGE, None, None if scales is None else np.array(scales, np.float32)]
    if sizes is not None:
        inputs.append(np.array(sizes, np.int64))
    for orders in ({}, {0: NHWC}):
        check_node(
            resize.TABLE, "Resize", inputs, attrs, constant=(2, 3), orders=orders, rtol=1e-4, atol=1e-5
        )
