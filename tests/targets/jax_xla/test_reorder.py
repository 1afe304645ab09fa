"""Functions with their values in other orders of axes compute the same, and move what they should."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="the xla target needs JAX (accelc[jax])")

import jax
import jax.numpy as jnp
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from jax.extend import core

from accelc.targets.jax_xla.product_order import (
    FEW_ROWS,
    LONG_SUMS,
    MANY_COLUMNS,
    PAGES,
    SOME_ROWS,
    VECTOR,
    WIDE,
)
from accelc.targets.jax_xla.reorder import reordered

RNG = np.random.default_rng(3)


def drawn(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype=np.float32)


def again(function: Callable[..., Any], weights: list[Any], *others: Any) -> core.ClosedJaxpr:
    return reordered(jax.jit(function).trace(weights, *others).jaxpr, len(weights))


def check(function: Callable[..., Any], weights: list[Any], *others: Any) -> core.ClosedJaxpr:
    """The function in other orders gives what it gives."""
    found = again(function, weights, *others)
    results = jax.jit(core.jaxpr_as_fun(found))(*jax.tree.leaves((weights, *others)))
    for result, expected in zip(results, jax.tree.leaves(jax.jit(function)(weights, *others)), strict=True):
        assert result.shape == expected.shape
        assert result.dtype == expected.dtype
        np.testing.assert_allclose(result, expected, rtol=2e-4, atol=2e-4)
    return found


def names(closed: core.ClosedJaxpr) -> Counter[str]:
    return Counter(eqn.primitive.name for eqn in closed.jaxpr.eqns)


def products(closed: core.ClosedJaxpr) -> list[tuple[int, ...]]:
    """Shapes of the results of products, as they lie."""
    return [eqn.outvars[0].aval.shape for eqn in closed.jaxpr.eqns if eqn.primitive.name == "dot_general"]


def numbers(closed: core.ClosedJaxpr) -> list[Any]:
    """Axes that products sum over."""
    found = (eqn for eqn in closed.jaxpr.eqns if eqn.primitive.name == "dot_general")
    return [eqn.params["dimension_numbers"][0] for eqn in found]


def test_weights_are_the_left_operand_where_rows_are_few() -> None:
    def two(weights: Any, x: Any) -> Any:
        first, second = weights
        return jnp.tanh(x @ first) @ second

    found = check(two, [drawn(96, 128), drawn(128, 64)], drawn(1, 32, 96))
    assert products(found) == [(128, 32), (64, 32)]
    # two weights and the result; nothing between the products
    assert names(found)["transpose"] == 3


@pytest.mark.parametrize(("rows", "columns", "first"), [
    (FEW_ROWS + 1, 128, False), (SOME_ROWS + 1, 128, False), (FEW_ROWS, 128, True), (8, 16, False),
])  # fmt: skip
def test_rows_decide_which_operand_is_the_left_one(rows: int, columns: int, first: bool) -> None:
    found = check(lambda w, x: x @ w[0], [drawn(64, columns)], drawn(rows, 64))
    assert products(found) == [(columns, rows) if first else (rows, columns)]


@pytest.mark.parametrize(("rows", "made", "axes"), [
    (1, (1, MANY_COLUMNS), ((1,), (0,))), (2, (MANY_COLUMNS, 2), ((1,), (1,))), (40, (40, MANY_COLUMNS), ((1,), (1,))),
])  # fmt: skip
def test_a_vocabulary_is_on_the_left_where_rows_are_very_few(
    rows: int, made: tuple[int, ...], axes: Any
) -> None:
    found = check(lambda w, x: x @ w[0], [drawn(64, MANY_COLUMNS)], drawn(rows, 64))
    assert products(found) == [made]
    assert numbers(found) == [axes]


def after_features(weights: Any, x: Any) -> Any:
    """A product whose left operand comes with its features first, from a product before it."""
    first, second = weights
    return jnp.tanh(x @ first) @ second


@pytest.mark.parametrize(("columns", "made"), [
    (WIDE, WIDE + VECTOR), (WIDE + 1, WIDE + VECTOR), (WIDE + VECTOR, WIDE + VECTOR), (9 * PAGES, 9 * PAGES + VECTOR),
    (MANY_COLUMNS, MANY_COLUMNS + VECTOR), (MANY_COLUMNS + 1, MANY_COLUMNS + 1),
])  # fmt: skip
def test_wide_products_take_features_as_they_come(columns: int, made: int) -> None:
    weights = [drawn(64, LONG_SUMS) / 8, drawn(LONG_SUMS, columns) / 20]
    found = check(after_features, weights, drawn(1, 32, 64))
    assert products(found) == [(LONG_SUMS, 32), (32, made)]
    assert numbers(found)[-1] == ((0,), (0,))


def test_wide_products_of_many_rows_have_their_features_moved() -> None:
    found = check(lambda w, x: x @ w[0], [drawn(LONG_SUMS, WIDE) / 20], drawn(FEW_ROWS + 1, LONG_SUMS))
    assert products(found) == [(FEW_ROWS + 1, WIDE + VECTOR)]
    assert numbers(found) == [((0,), (0,))]


def test_several_threads_leave_wide_products_to_the_library_that_divides_them_better() -> None:
    weights = [drawn(64, LONG_SUMS) / 8, drawn(LONG_SUMS, WIDE) / 20]
    traced = jax.jit(after_features).trace(weights, drawn(1, 32, 64)).jaxpr
    assert products(reordered(traced, 2, one_thread=False)) == [(LONG_SUMS, 32), (WIDE, 32)]


@pytest.mark.parametrize("rows", [4, FEW_ROWS + 1])
def test_products_of_one_value_with_several_weights_are_made_as_one(rows: int) -> None:
    def several(weights: Any, x: Any) -> Any:
        a, b, c = weights
        y = jnp.sin(x)
        other_axis = lax.dot_general(y, b, (((1,), (1,)), ((), ())), preferred_element_type=y.dtype)
        return y @ a, other_axis, jnp.tanh(y @ c.T), y.sum(), x @ a

    found = check(several, [drawn(64, 96), drawn(32, 64), drawn(80, 64)], drawn(rows, 64))
    assert sorted(n for shape in products(found) for n in shape if n != rows) == [96, 96 + 32 + 80]


def test_products_of_a_repeated_value_stay_apart() -> None:
    def several(weights: Any, x: Any) -> Any:
        y = jnp.broadcast_to(x, (5, 64))
        return y @ weights[0], y @ weights[1]

    assert len(products(check(several, [drawn(64, 96), drawn(64, 80)], drawn(64)))) == 2


def test_products_with_new_values_are_not_made_as_one() -> None:
    def several(weights: Any, x: Any) -> Any:
        return x @ weights[0], x @ jnp.sin(x.T), x @ (weights[0] * x.sum())

    assert len(products(check(several, [drawn(64, 96)], drawn(8, 64)))) == 3


def attention(weights: Any, x: Any) -> Any:
    """One layer of a transformer, as lowerings write it."""
    merged, out, scale = weights
    rows, heads = x.shape[1], 4
    centred = x - x.mean(-1, keepdims=True)
    normed = centred * lax.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * scale
    parts = jnp.split(normed @ merged, 3, axis=-1)
    q, k, v = (part.reshape(1, rows, heads, -1).transpose(0, 2, 1, 3) for part in parts)
    scores = q @ k.transpose(0, 1, 3, 2)
    masked = jnp.where(jnp.tril(jnp.ones((rows, rows), bool)), scores, -jnp.inf)
    mixed = jax.nn.softmax(masked, axis=-1) @ v
    return x + mixed.transpose(0, 2, 1, 3).reshape(1, rows, -1) @ out


def test_a_transformer_layer_moves_the_keys_alone() -> None:
    found = check(attention, [drawn(64, 192) / 8, drawn(64, 64), drawn(64)], drawn(1, 24, 64))
    assert products(found) == [(192, 24), (4, 24, 24), (4, 16, 24), (64, 24)]
    moved = [
        eqn.invars[0].aval.shape
        for eqn in found.jaxpr.eqns
        if eqn.primitive.name == "transpose" and eqn.invars[0].aval.size == 24 * 64
    ]
    assert sorted(moved) == [(1, 24, 64), (4, 16, 24), (64, 1, 24)]


OPS: dict[str, Callable[[Any], Any]] = {
    "argmax": lambda y: jnp.argmax(y, axis=2),
    "concatenate": lambda y: jnp.concatenate([y, y[:, :, :7], y * 2], axis=2),
    "cumsum": lambda y: jnp.cumsum(y, axis=1),
    "clip": lambda y: jnp.clip(y, -1, 1),
    "expand": lambda y: jnp.broadcast_to(y[:, None], (3, *y.shape[:1], *y.shape))[0],
    "gather": lambda y: y[:, jnp.asarray([2, 0, 1]), :],
    "loop": lambda y: lax.fori_loop(0, 3, lambda i, v: v * 0.5 + i, y),
    "max": lambda y: y.max((0, 2), initial=-9),
    "none": lambda y: y[:, :0].sum(1),
    "pad": lambda y: jnp.pad(y, ((0, 0), (1, 2), (0, 3))),
    "parts": lambda y: y[:, 1::2, 5:9],
    "reshape": lambda y: y.reshape(1, -1, 8).transpose(2, 0, 1),
    "reverse": lambda y: y[:, ::-1, ::-1],
    "sort": lambda y: jnp.sort(y, axis=-1),
    "where": lambda y: jnp.where(y > 0, y, y.sum(1, keepdims=True)),
    "wider": lambda y: lax.bitcast_convert_type(jnp.sign(y), jnp.int16),
}


@pytest.mark.parametrize("name", OPS)
def test_what_follows_a_product_is_right_in_its_order(name: str) -> None:
    check(lambda w, x: OPS[name](x @ w[0]), [drawn(64, 64)], drawn(1, 6, 64))


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from([(1, 5), (5, 1), (2, 3), (0, 4), (1, 1)]),
    st.lists(st.sampled_from(sorted(OPS)), max_size=3),
)
def test_chains_of_ops_compute_the_same(rows: tuple[int, int], chain: list[str]) -> None:
    def run(weights: Any, x: Any) -> Any:
        y = x @ weights[0]
        for name in chain:
            if y.ndim == 3 and y.dtype == jnp.float32 and y.shape[1] > 2 and y.shape[2] > 8:
                y = OPS[name](y)
        return y, weights[1] * 2

    check(run, [drawn(64, 64), drawn(4)], drawn(*rows, 64))


def test_batched_products_in_every_order_of_operands() -> None:
    def run(weights: Any, x: Any) -> Any:
        y = (x @ weights[0]).reshape(6, 4, 16)
        a, b = y.transpose(1, 0, 2), y.transpose(1, 2, 0)
        return a @ b, b @ a, jnp.einsum("thd,shd->hst", y, y), jnp.einsum("thd,hde->the", y, b)

    check(run, [drawn(64, 64)], drawn(6, 64))


def test_numbers_that_are_no_numbers_stay() -> None:
    x = drawn(1, 4, 64)
    x[0, 1, 3], x[0, 2, 5] = np.nan, np.inf
    check(lambda w, x: jax.nn.softmax(x @ w[0] - 1, -1), [drawn(64, 64)], x)


def test_products_of_integers_are_left_alone() -> None:
    found = again(lambda w, x: x @ w[0], [np.ones((64, 64), np.int32)], np.ones((4, 64), np.int32))
    assert products(found) == [(4, 64)]


def test_a_weight_on_the_left_is_a_plain_product() -> None:
    found = check(lambda w, x: w[0] @ x, [drawn(64, 64)], drawn(64, 5))
    assert products(found) == [(64, 5)]
