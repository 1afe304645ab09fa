"""Work on weights is done once: what is hoisted, what is not, and that equal work is shared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="the xla target needs JAX (accelc[jax])")

import jax
import jax.numpy as jnp

from accelc.targets.jax_xla.hoist import Split, split


def cut(function: Any, weights: list[Any], *others: Any) -> Split:
    traced = jax.jit(function).trace(weights, *others)
    return split(traced.jaxpr, len(weights), [f"w{i}" for i in range(len(weights))])


def layer(weights: Any, x: Any) -> list[Any]:
    w, b = weights
    return [x @ w.T + b, jnp.broadcast_to(b, (5, 4)), w]


WEIGHTS = [np.arange(12, dtype=np.float32).reshape(4, 3), np.ones(4, np.float32)]
X = np.arange(15, dtype=np.float32).reshape(5, 3)


def test_parts_together_are_the_whole() -> None:
    parts = cut(layer, WEIGHTS, X)
    prepared = parts.prepare(WEIGHTS)
    assert [x.shape for x in prepared] == [x.shape for x in parts.shapes()]
    for y, expected in zip(parts.main(prepared, X), layer(WEIGHTS, X), strict=True):
        np.testing.assert_array_equal(y, expected)


def test_transposes_are_hoisted_and_what_grows_is_not() -> None:
    parts = cut(layer, WEIGHTS, X)
    assert {eqn.primitive.name for eqn in parts.first} >= {"transpose"}
    spread = [eqn for eqn in parts.first if eqn.outvars[0].aval.shape == (5, 4)]
    assert not spread
    assert not any(eqn.primitive.name == "transpose" for eqn in parts.rest)


def test_equal_work_is_shared_between_functions() -> None:
    known: dict[Any, Any] = {}

    def place(i: int) -> Any:
        return jnp.asarray(WEIGHTS[i])

    first = cut(layer, WEIGHTS, X).prepared(place, WEIGHTS.__getitem__, jnp.asarray, known)
    count = len(known)
    second = cut(layer, WEIGHTS, X[:2]).prepared(place, WEIGHTS.__getitem__, jnp.asarray, known)
    assert count
    assert len(known) == count
    assert sum(a is b for a, b in zip(first, second, strict=True)) >= count


def test_weights_that_nothing_takes_are_not_placed() -> None:
    parts = cut(lambda weights, x: [x @ weights[0].T], WEIGHTS, X)
    kept: list[int] = []

    def place(i: int) -> Any:
        kept.append(i)
        return jnp.asarray(WEIGHTS[i])

    parts.prepared(place, WEIGHTS.__getitem__, jnp.asarray, {})
    assert kept == []


def every_early_operation(weights: Any, x: Any) -> list[Any]:
    (w,) = weights
    parts = [w.T, w.reshape(6), w[:, None], jnp.flip(w, 1), jnp.concatenate((w, w)), w.astype(jnp.bfloat16)]
    parts += [w + w, w - w * w, w / 3, -w, jnp.sqrt(w), jax.lax.rsqrt(w), jnp.squeeze(w[None], 0)]
    return [part * x.astype(part.dtype) for part in parts]


def test_numpy_does_what_xla_would() -> None:
    w, x = np.arange(1, 7, dtype=np.float32).reshape(2, 3), np.float32(2)
    parts = cut(every_early_operation, [w], x)
    prepared = parts.prepared(lambda i: jnp.asarray(w), lambda i: w, jnp.asarray, {})
    assert len(parts.first) >= 13
    for array, spec in zip(prepared, parts.shapes(), strict=True):
        assert (array.shape, array.dtype) == (spec.shape, spec.dtype)
    for y, expected in zip(parts.main(prepared, x), every_early_operation([w], x), strict=True):
        np.testing.assert_allclose(np.asarray(y, np.float32), np.asarray(expected, np.float32), rtol=1e-6)


def test_chains_and_many_weights_take_linear_time() -> None:
    weights = [np.ones((2, 3), np.float32) for _ in range(400)]

    def deep(weights: Any, x: Any) -> list[Any]:
        for w in weights:
            x = x + w.T.reshape(6)
        return [x]

    parts = cut(deep, weights, np.zeros(6, np.float32))
    assert len(parts.first) == 800
    assert len(parts.taken) == 400


def test_one_number_spread_to_a_factor_is_a_matrix_of_its_own() -> None:
    """XLA's CPU gave NaN for such a product fused with a sum (jaxlib 0.10)."""

    def function(weights: Any, x: Any) -> Any:
        factor = jnp.reshape(jnp.full((1000, 512), weights[0] if weights else 0.5, jnp.float32), (512, 1000))
        return jnp.maximum(jnp.dot(x, factor, precision="highest"), 0).sum(0) + jnp.full(
            (1000,), 2, jnp.float32
        )

    x = np.random.default_rng(0).random((169, 512), np.float32)
    for weights in ([], [np.float32(0.5)]):
        parts = cut(function, weights, x)
        assert [shape.shape for shape in parts.shapes()] == [(512, 1000)]
        (y,) = jax.jit(parts.main)(parts.prepare(weights), x)
        np.testing.assert_allclose(y, np.full(1000, 0.5 * x.sum(dtype=np.float64) + 2), rtol=1e-5)


def test_a_weight_is_padded_once_where_little_is_added() -> None:
    def function(weights: Any, x: Any) -> list[Any]:
        (w,) = weights
        added = [
            ((0, 0, 0), (0, 1, 0)),
            ((1, 0, 0), (0, 0, 0)),
            ((0, 30, 0), (0, 0, 0)),
            ((-1, 0, 0), (0, 0, 0)),
        ]
        return [jax.lax.pad(w, np.float32(2), config) * x for config in added]

    w, x = np.arange(1200, dtype=np.float32).reshape(30, 40), np.float32(2)
    parts = cut(function, [w], x)
    prepared = parts.prepared(lambda i: jnp.asarray(w), lambda i: w, jnp.asarray, {})
    assert sorted(shape.shape for shape in parts.shapes()) == [(30, 40), (30, 41), (31, 40)]
    for y, expected in zip(parts.main(prepared, x), function([w], x), strict=True):
        np.testing.assert_array_equal(y, expected)
