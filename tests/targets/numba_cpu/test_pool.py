from typing import Any

import numpy as np
import pytest
from lower_harness import check_node, lower_node

from accelc.errors import ArtifactError
from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.expr import ExprBuilder
from accelc.targets.numba_cpu.kernels.pool import Pool
from accelc.targets.numba_cpu.lower.pool import TABLE

RNG = np.random.default_rng(5)
X = RNG.normal(size=(2, 37, 9, 11)).astype(np.float32)

CASES: list[tuple[str, np.ndarray, dict[str, Any]]] = [
    ("MaxPool", X, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("MaxPool", X, {"kernel_shape": [2, 2]}),
    ("MaxPool", X, {"kernel_shape": [3, 2], "strides": [2, 3], "ceil_mode": 1}),
    ("MaxPool", X, {"kernel_shape": [3, 3], "dilations": [2, 2], "pads": [1, 0, 1, 2]}),
    ("MaxPool", X, {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ("MaxPool", X[:, :, 0], {"kernel_shape": [3], "strides": [2]}),
    ("MaxPool", X.reshape(2, 37, 3, 3, 11), {"kernel_shape": [2, 2, 3]}),
    ("MaxPool", X[:0], {"kernel_shape": [2, 2]}),
    ("AveragePool", X, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("AveragePool", X, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    (
        "AveragePool",
        X,
        {
            "kernel_shape": [3, 3],
            "strides": [3, 3],
            "pads": [1, 0, 1, 1],
            "count_include_pad": 1,
            "ceil_mode": 1,
        },
    ),
    ("AveragePool", X, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", X[:, :4].astype(np.float16), {"kernel_shape": [2, 2]}),
    ("LpPool", X, {"kernel_shape": [3, 3], "strides": [2, 2]}),
]


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda i: f"{i}-{CASES[i][0]}")
def test_pooling(case: int) -> None:
    op_type, x, attrs = CASES[case]
    tolerance = 2e-3 if x.dtype == np.float16 else 1e-5
    check_node(TABLE, op_type, [x], attrs, threads=2, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_max_pool_of_nan_and_of_integers(dtype: str) -> None:
    x = np.where(np.abs(X) < 0.1, np.nan, X) if dtype == "float32" else X * 30
    x = x.astype(dtype)
    windows = np.lib.stride_tricks.sliding_window_view(x, (2, 3), axis=(2, 3))
    check_node(TABLE, "MaxPool", [x], {"kernel_shape": [2, 3]}, expected=[windows.max(axis=(-1, -2))])


@pytest.mark.parametrize(("size", "alpha", "beta"), [(3, 0.3, 0.75), (4, 1e-4, 0.5)])
def test_lrn(size: int, alpha: float, beta: float) -> None:
    # onnx.reference loops over the wrong dim here.
    x = X[:, :6].astype(np.float64)
    square = np.pad(x * x, [(0, 0), ((size - 1) // 2, size // 2), (0, 0), (0, 0)])
    sums = sum(square[:, i : i + 6] for i in range(size))
    expected = (x / (2.0 + alpha / size * sums) ** beta).astype(np.float32)
    attrs = {"size": size, "alpha": alpha, "beta": beta, "bias": 2.0}
    check_node(TABLE, "LRN", [X[:, :6]], attrs, expected=[expected])


def test_channels_last_comes_and_goes_without_a_copy() -> None:
    found = lower_node(TABLE, "MaxPool", [X], {"kernel_shape": [3, 3]}, orders={0: (0, 2, 3, 1)})
    assert not isinstance(found, Refusal)
    assert found[0].transpose(0, 2, 3, 1).flags.c_contiguous


def test_indices_take_no_fused_work() -> None:
    x = X[:1, :1, :3, :3]
    builder = ExprBuilder()
    epilogue = builder.build(builder.add("float32", "neg", builder.operand(0, "float32")))
    specs = [("float32", (1, 1, 2, 2)), ("int64", (1, 1, 2, 2))]
    found = lower_node(
        TABLE, "MaxPool", [x], {"kernel_shape": [2, 2]}, specs=specs, outputs=2, epilogue=epilogue
    )
    assert isinstance(found, Refusal)
    assert found.why == "MaxPool with indices takes no fused work"


def test_check_refuses_what_no_lowering_writes() -> None:
    good = {
        "kind": "max", "dtype": "float32", "count_pads": False, "p": 2,
        "window": [2, 2], "strides": [1, 1], "dilations": [1, 1], "pads": [0, 0], "ends": [0, 0],
    }  # fmt: skip
    Pool().check(good)
    for change in (
        {"kind": "min"},
        {"dtype": "bool"},
        {"window": [0, 2]},
        {"pads": [0]},
        {"strides": ["x", 1]},
    ):
        with pytest.raises(ArtifactError):
            Pool().check({**good, **change})
