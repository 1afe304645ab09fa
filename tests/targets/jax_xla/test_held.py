"""Arrays whose axes lie in an order of their own: reshapes and repeats of them are those of the value."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

pytest.importorskip("jax", reason="the xla target needs JAX (accelc[jax])")

import jax
import jax.numpy as jnp
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.targets.jax_xla.held import Held, Order, Spread, common_order, regrouped

SHAPES = [(2, 3, 4), (1, 6, 4), (6, 1, 4, 1), (24,), (2, 12), (3, 1, 8), (1, 24, 1), (2, 3, 2, 2)]


def held_in(value: np.ndarray, order: Order) -> Held:
    return Held(jnp.transpose(value, order), order)


def test_a_value_in_any_order_is_itself() -> None:
    value = np.arange(24.0).reshape(2, 3, 4)
    for order in permutations(range(3)):
        held = held_in(value, order)
        assert held.shape == value.shape
        np.testing.assert_array_equal(held.standard, value)
        np.testing.assert_array_equal(held.within((2, 1, 0)), value.transpose(2, 1, 0))
        assert held.moved(order) == 0


def test_an_array_is_transposed_once() -> None:
    held = held_in(np.ones((2, 3)), (1, 0))
    assert held.standard is held.standard
    assert held.moved((0, 1)) == 6


def test_axes_of_extent_1_lie_anywhere() -> None:
    held = held_in(np.ones((1, 5, 3)), (1, 0, 2))
    assert held.follows((0, 1, 2))
    assert not held.follows((2, 1, 0))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SHAPES), st.sampled_from(SHAPES), st.data())
def test_regrouped_is_a_reshape_or_nothing(old: Order, new: Order, data: st.DataObject) -> None:
    value = np.arange(24.0).reshape(old)
    order = tuple(data.draw(st.permutations(range(len(old)))))
    found = regrouped(held_in(value, order), new)
    if order == tuple(range(len(old))):
        assert found is not None
    if found is not None:
        assert found.shape == new
        np.testing.assert_array_equal(found.standard, value.reshape(new))


def test_heads_are_split_from_features_that_come_first() -> None:
    found = regrouped(held_in(np.arange(60.0).reshape(1, 5, 12), (2, 0, 1)), (1, 5, 3, 4))
    assert found is not None
    assert found.follows((2, 3, 0, 1))


def test_no_elements_are_not_regrouped() -> None:
    assert regrouped(Held(jnp.ones((0, 3))), (3, 0)) is None


def test_a_repeated_value_is_made_in_the_order_asked_for() -> None:
    value = np.arange(6.0).reshape(2, 3)
    spread = Spread(held_in(value, (1, 0)), (2, 4, 3), (0, 2))
    expected = np.broadcast_to(value[:, None], (2, 4, 3))
    for order in permutations(range(3)):
        np.testing.assert_array_equal(spread.within(order), expected.transpose(order))


def test_operands_meet_in_the_order_of_the_largest_that_is_not_plain() -> None:
    plain, turned = Held(jnp.ones((2, 3))), held_in(np.ones((2, 3)), (1, 0))
    small = held_in(np.ones((2, 1)), (1, 0))
    weight = Held(jnp.ones((3, 2)), (1, 0), fixed=True)
    assert common_order([plain, turned], 2) == (1, 0)
    assert common_order([plain, small], 2) == (0, 1)
    assert common_order([plain, weight], 2) == (0, 1)
    assert common_order([Spread(plain, (2, 3), (0, 1))], 2) == (0, 1)
    assert isinstance(plain.standard, jax.Array)
