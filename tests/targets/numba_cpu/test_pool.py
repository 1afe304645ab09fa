from typing import Any

import numpy as np
import pytest
from lower_harness import check_node, lower_node

from accelc.errors import ArtifactError
from accelc.ir.pass_base import Refusal
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
    ("MaxPool", X, {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ("MaxPool", X[:, :, 0], {"kernel_shape": [3], "strides": [2]}),
    ("MaxPool", X.reshape(2, 37, 3, 3, 11), {"kernel_shape": [2, 2, 3]}),
    ("MaxPool", X[:0], {"kernel_shape": [2, 2]}),
    ("MaxPool", np.where(np.abs(X) < 0.1, np.nan, X).astype(np.float32), {"kernel_shape": [2, 2]}),
    ("MaxPool", (X * 30).astype(np.int8), {"kernel_shape": [2, 3], "pads": [1, 1, 1, 1]}),
    ("AveragePool", X, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("AveragePool", X, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("AveragePool", X, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", X[:, :4].astype(np.float16), {"kernel_shape": [2, 2]}),
    ("LpPool", X, {"kernel_shape": [3, 3], "strides": [2, 2]}),
    ("LRN", X[:, :6], {"size": 3, "alpha": 0.3, "bias": 2.0}),
    ("LRN", X[:, :6], {"size": 4}),
]


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda i: f"{i}-{CASES[i][0]}")
def test_pooling(case: int) -> None:
    op_type, x, attrs = CASES[case]
    tolerance = 2e-3 if x.dtype == np.float16 else 1e-5
    check_node(TABLE, op_type, [x], attrs, threads=2, rtol=tolerance, atol=tolerance)


def test_channels_last_comes_and_goes_without_a_copy() -> None:
    found = lower_node(TABLE, "MaxPool", [X], {"kernel_shape": [3, 3]}, orders={0: (0, 2, 3, 1)})
    assert not isinstance(found, Refusal)
    assert found[0].transpose(0, 2, 3, 1).flags.c_contiguous


def test_indices_are_refused() -> None:
    shape = (2, 37, 8, 10)
    found = lower_node(
        TABLE, "MaxPool", [X], {"kernel_shape": [2, 2]}, specs=[("float32", shape), ("int64", shape)]
    )
    assert isinstance(found, Refusal)
    assert found.why == "indices as output have no kernel"


def test_check_refuses_what_no_lowering_writes() -> None:
    good = {
        "kind": "max", "dtype": "float32", "count_pads": False, "p": 2,
        "window": [2, 2], "strides": [1, 1], "dilations": [1, 1], "pads": [0, 0],
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
