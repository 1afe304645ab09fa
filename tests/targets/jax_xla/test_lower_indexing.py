"""Gathers, scatters, running sums and choices by value in JAX against ONNX's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="the xla target needs JAX (accelc[jax])")

from lowering_harness import case, check, lowered

from accelc.errors import LoweringError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4, 5)).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_gathers() -> None:
    places: list[Any] = [
        np.int64(1),
        np.int64(-1),
        ints(0, -1),
        ints(1, 2),
        ints(),
        np.int32([[0, 1], [2, 1]]),
    ]
    known = [case("Gather", X, place, axis=1, known=(1,)) for place in places]
    check(*known, *(case("Gather", X, place, axis=-1) for place in places))


def test_a_gather_of_known_neighbours_is_a_slice() -> None:
    kept = lowered("Gather", X, ints(1, 2, 3), axis=1, known=(1,))[0]
    assert np.array_equal(kept, X[:, 1:4])


def test_indices_beyond_the_range_are_clamped() -> None:
    assert lowered("Gather", X[0, 0], ints(7, -9))[0].tolist() == X[0, 0][[4, 0]].tolist()
    assert lowered("GatherND", X[0, 0], np.array([[7]]))[0].tolist() == X[0, 0][[4]].tolist()


def test_gathers_of_elements_and_tuples() -> None:
    check(
        case("GatherElements", X, RNG.integers(-4, 4, (3, 7, 5)), axis=1),
        case("GatherElements", X, RNG.integers(-3, 3, (5, 4, 5)), axis=0),
        case("GatherElements", X, RNG.integers(-5, 5, (3, 4, 2)).astype(np.int32), axis=-1),
        case("GatherND", X, np.array([[0, -1], [2, 1]])),
        case("GatherND", X, np.array([[0, -1, 2], [2, 1, 0]])),
        case("GatherND", X, np.array([[[0], [-1]], [[2], [1]], [[2], [1]]]), batch_dims=1),
        case(
            "GatherElements",
            X,
            np.zeros((2, 1, 3), np.int64),
            axis=0,
            expected=[X[[[[0]]] * 2, [[[0]]], [[0, 1, 2]]]],
        ),
    )


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatters(reduction: str) -> None:
    apart = np.stack([RNG.permutation(4)[:3] for _ in range(15)]).reshape(3, 5, 3).swapaxes(1, 2)
    cases = [
        case("ScatterElements", X, apart, X[:, :3] * 2, axis=1, reduction=reduction),
        case("ScatterND", X, np.array([[0, 1], [2, -1]]), X[0, :2] * 3, reduction=reduction),
        case("ScatterND", X, np.zeros((0, 2), np.int64), np.zeros((0, 5), np.float32), reduction=reduction),
    ]
    if reduction != "none":
        twice = np.zeros((2, 4, 5), np.int64)
        cases.append(case("ScatterElements", X, twice, X[:2] * 2, axis=0, reduction=reduction))
        cases.append(case("ScatterND", X, np.array([[0], [0]]), X[:2] * 3, reduction=reduction))
    check(*cases)


def test_a_reduction_that_does_not_exist() -> None:
    with pytest.raises(LoweringError, match="there is no reduction mean"):
        lowered("ScatterND", X, np.array([[0]]), X[:1], reduction="mean")


def test_caches() -> None:
    past, update = (RNG.standard_normal((2, 3, n, 4)).astype(np.float32) for n in (6, 2))
    check(
        case("TensorScatter", past, update),
        case("TensorScatter", past, update, ints(1, 4)),
        case("TensorScatter", past, update, ints(5, 3), mode="circular"),
        case("TensorScatter", past[:, 0], update[:, 0], ints(5, 3), mode="circular", axis=1),
    )


def test_one_hot() -> None:
    check(
        case("OneHot", np.array([[1, -1], [7, 0]]), np.int64(4), np.float32([2, 5])),
        case("OneHot", np.float32([1, -2]), np.int64(3), ints(0, 1), axis=0),
        case("OneHot", np.zeros((0,), np.int64), np.int64(3), ints(0, 1)),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_top_k(dtype: Any) -> None:
    x = RNG.integers(0, 9, (3, 7)).astype(dtype)
    options = [(axis, largest, k) for axis, k in ((1, 4), (0, 2), (-1, 0)) for largest in (0, 1)]
    check(*(case("TopK", x, ints(k), axis=axis, largest=big, outputs=2) for axis, big, k in options))


def test_top_k_of_extremes() -> None:
    lowest = np.array([-128, 127, -127, 0], np.int8)
    assert [y.tolist() for y in lowered("TopK", lowest, ints(2), largest=0)] == [[-128, -127], [0, 2]]
    assert lowered("TopK", lowest.astype(np.float32), version=1, k=2, outputs=2)[1].tolist() == [1, 3]


def test_triangles() -> None:
    ks = (None, np.int64(1), np.int64(-2), np.int64(99))
    check(*(case("Trilu", X, k, upper=upper) for k in ks for upper in (0, 1)))


def test_running_sums() -> None:
    modes = [{"exclusive": e, "reverse": r} for e in (0, 1) for r in (0, 1)]
    axis = np.int64(-2)
    cases = [case("CumSum", x, axis, **mode) for x in (X, X.astype(np.int32), X[:, :0]) for mode in modes]
    # One sequence is a tree of partial sums, many are taken step by step.
    alone = [case("CumSum", X.reshape(-1), np.int64(0), **mode) for mode in modes]
    check(*cases, *alone, *(case("CumProd", X, axis, version=26, **mode) for mode in modes))


def test_reversed_sequences() -> None:
    check(
        case("ReverseSequence", X, ints(1, 3, 2, 0)),
        case("ReverseSequence", X, ints(1, 4, 2), batch_axis=0, time_axis=1),
    )
