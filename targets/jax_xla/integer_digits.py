"""Sums of products of 8-bit integers by float32 units: XLA has fast products and convolutions of floats only.

One operand is written in digits so short that no partial sum leaves the range in which float32 holds every integer;
the sums of all digits are put together in int32. Nothing is rounded anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import jax.numpy as jnp

from accelc.targets.jax_xla.static_values import Dim, is_known

if TYPE_CHECKING:
    import jax

    from accelc.targets.jax_xla.context import Ctx

EXACT = 1 << 24
"""float32 holds every integer up to here."""
LARGEST = 255
"""Size of the largest difference of two 8-bit integers."""
BITS = 9
"""Bits of such a difference, its sign included."""


def digit_bits(terms: int) -> int:
    """Bits of a digit for sums of ``terms`` products; 0 if even single bits are too many."""
    largest = (EXACT - 1) // (LARGEST * max(terms, 1))
    return BITS if largest >= LARGEST else (largest + 1).bit_length() - 1


def exact_product(
    ctx: Ctx,
    product: Callable[[Ctx, jax.Array, jax.Array], jax.Array],
    a: jax.Array,
    b: jax.Array,
    terms: Dim,
) -> jax.Array:
    """``product(ctx, a, b)`` in int32, computed in float32.

    Args:
        ctx: Of the node; its precision does not matter.
        product: Linear in both operands; each element of its result sums at most ``terms`` products.
        a: int32, at most 255 in size.
        b: The same; the operand that is split, so preferably the weights.
        terms: How many products are summed.
    """
    bits = digit_bits(terms) if is_known(terms) else 0
    if not bits:
        return product(ctx, a, b).astype(jnp.int32)
    full = replace(ctx, precision="f32")
    wide, count = a.astype(jnp.float32), -(-BITS // bits)
    total = None
    for i in range(count):
        digit = b >> (i * bits)  # of negative numbers the floor: the last digit carries the sign
        if i < count - 1:
            digit = digit & ((1 << bits) - 1)
        part = product(full, wide, digit.astype(jnp.float32)).astype(jnp.int32) << (i * bits)
        total = part if total is None else total + part
    assert total is not None  # there is at least one digit
    return total
