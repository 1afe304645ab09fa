"""A traced function again, with values in the order of axes that XLA's products on a CPU run best in.

XLA packs the right operand of every product anew at every call, weights too; the left one it reads as it lies. So
where there are few rows, a product ``x @ w`` is made as ``w' @ x'`` (accelc.targets.jax_xla.product_order): weights,
transposed once, lie on the left, and the result has its features first. What follows takes it as it is: arithmetic
does not care, reductions and slices take other axes, and transposes cost nothing until somebody needs the array.
XLA does not do this itself: on a CPU it keeps all arrays in the order in which they are written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.extend import core

from accelc.targets.jax_xla.held import Held, Order, Spread, common_order, regrouped
from accelc.targets.jax_xla.product_order import Products
from accelc.targets.jax_xla.siblings import siblings

_NAMES = """
    abs add add_any and acos acosh asin asinh atan atan2 atanh bitcast_convert_type cbrt ceil clamp copy cos cosh
    convert_element_type div eq erf erf_inv erfc exp exp2 expm1 floor ge gt integer_pow is_finite le log log1p
    logistic lt max min mul ne neg nextafter not or pow reduce_precision rem round rsqrt select_n shift_left
    shift_right_arithmetic shift_right_logical sign sin sinh sqrt square stop_gradient sub tan tanh xor
"""
ELEMENTWISE = frozenset(_NAMES.split())
REDUCTIONS = frozenset(
    ("reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_prod", "reduce_sum", "argmax", "argmin")
)
INLINED = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr"}
"""Calls of functions within functions, and where theirs is kept."""

Rule = Callable[[Any, Sequence[Held]], "list[Held] | None"]
"""(equation, operands) -> results; None where the rule cannot do it."""


def reordered(closed: core.ClosedJaxpr, weights: int, *, one_thread: bool = True) -> core.ClosedJaxpr:
    """The same function of the same arguments, its first ``weights`` arguments being weights.

    Args:
        closed: The function; all shapes must be known.
        weights: How many of its arguments are weights.
        one_thread: Whether it will run on one thread, where other products are fast than on several.
    """
    products = Products(one_thread)

    def function(*arguments: Any) -> list[Any]:
        taken = [Held(array, fixed=i < weights) for i, array in enumerate(arguments)]
        return [held.standard for held in _Walk(closed, taken, products).run()]

    avals: list[Any] = [var.aval for var in closed.jaxpr.invars]
    return jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in avals))


class _Walk:
    """A function equation by equation. Calls within it nest as deep as JAX's own library does, not as the model."""

    def __init__(self, closed: core.ClosedJaxpr, arguments: Sequence[Held], products: Products) -> None:
        self.jaxpr = closed.jaxpr
        self.products = products
        self.values: dict[Any, Held] = dict(zip(self.jaxpr.invars, arguments, strict=True))
        self.values.update((var, Held(x)) for var, x in zip(self.jaxpr.constvars, closed.consts, strict=True))

    def run(self) -> list[Held]:
        """Results of the function."""
        later = []
        for eqn in self.jaxpr.eqns:  # weights first: products that are made as one read all of theirs
            known = [atom for atom in eqn.invars if not isinstance(atom, core.Literal)]
            if known and all(var in self.values and self.values[var].fixed for var in known):
                self._put(eqn)
            else:
                later.append(eqn)
        groups = siblings(later, self.values)
        for eqn in later:
            result: Any = eqn.outvars[0] if eqn.outvars else None
            if result in self.values:
                continue  # made with a product before it
            group = groups.get(result)
            if group is None or not self._put_together(group):
                self._put(eqn)
        return [self._read(atom) for atom in self.jaxpr.outvars]

    def _read(self, atom: Any) -> Held:
        if isinstance(atom, core.Literal):
            aval: Any = atom.aval
            return Held(np.asarray(atom.val, aval.dtype), fixed=True)
        return self.values[atom]

    def _put(self, eqn: Any) -> None:
        """Results of an equation put into ``values``."""
        operands = [self._read(atom) for atom in eqn.invars]
        name = eqn.primitive.name
        if name in INLINED:
            results = _Walk(eqn.params[INLINED[name]], operands, self.products).run()
        else:
            results = self._one(eqn, operands)
        self.values.update(zip(eqn.outvars, results, strict=True))

    def _put_together(self, group: Sequence[Any]) -> bool:
        """Results of products of one value put into ``values``; False if they cannot be made as one."""
        x, weights = self._read(group[0].invars[0]), [self._read(eqn.invars[1]) for eqn in group]
        found = self.products.together(group, x, weights)
        if found is not None:
            self.values.update((eqn.outvars[0], held) for eqn, held in zip(group, found, strict=True))
        return found is not None

    def _one(self, eqn: Any, operands: Sequence[Held]) -> list[Held]:
        name = eqn.primitive.name
        rule: Rule | None = RULES.get(name)
        if name in ELEMENTWISE:
            rule = _elementwise
        elif name in REDUCTIONS:
            rule = _reduction
        elif name == "dot_general":
            rule = self.products.alone
        found = None if rule is None else rule(eqn, operands)
        if found is None:
            found = [Held(array) for array in self._as_written(eqn, operands)]
        fixed = bool(operands) and all(held.fixed for held in operands)
        for held in found:
            held.fixed = fixed
        return found

    def _as_written(self, eqn: Any, operands: Sequence[Held]) -> Sequence[Any]:
        """Results of an equation on arrays in their standard order."""
        given = {
            atom: held.standard
            for atom, held in zip(eqn.invars, operands, strict=True)
            if not isinstance(atom, core.Literal)
        }
        outputs = list(eqn.outvars)
        alone = self.jaxpr.replace(constvars=[], invars=list(given), outvars=outputs, eqns=[eqn])
        return list(core.jaxpr_as_fun(core.ClosedJaxpr(alone, ()))(*given.values()))


def _bound(eqn: Any, *arrays: Any, **changed: Any) -> Any:
    return eqn.primitive.bind(*arrays, **{**eqn.params, **changed})


def _elementwise(eqn: Any, operands: Sequence[Held]) -> list[Held] | None:
    rank = len(eqn.outvars[0].aval.shape)
    if any(len(held.shape) not in (0, rank) for held in operands):
        return None  # bits of another width
    order = common_order([held for held in operands if len(held.shape) == rank], rank)
    taken = [held.within(order if len(held.shape) == rank else ()) for held in operands]
    return [Held(_bound(eqn, *taken), order)]


def _reduction(eqn: Any, operands: Sequence[Held]) -> list[Held] | None:
    order = operands[0].native
    if len(operands) != 1 or order is None:
        return None
    axes = eqn.params["axes"]
    array = _bound(eqn, operands[0].within(order), axes=tuple(sorted(order.index(axis) for axis in axes)))
    kept = [axis for axis in range(len(order)) if axis not in axes]
    return [Held(array, tuple(kept.index(axis) for axis in order if axis in kept))]


def _transpose(eqn: Any, operands: Sequence[Held]) -> list[Held] | None:
    """Nothing is moved: the same array is that of another value."""
    order = operands[0].native
    if order is None:
        return None
    permutation = eqn.params["permutation"]
    return [Held(operands[0].within(order), tuple(permutation.index(axis) for axis in order))]


def _reshape(eqn: Any, operands: Sequence[Held]) -> list[Held] | None:
    if len(operands) != 1 or (eqn.primitive.name == "reshape" and eqn.params["dimensions"] is not None):
        return None
    found = regrouped(operands[0], eqn.outvars[0].aval.shape)
    return None if found is None else [found]


def _broadcast(eqn: Any, operands: Sequence[Held]) -> list[Held] | None:
    shape = eqn.outvars[0].aval.shape
    if len(operands) != 1:
        return None
    if operands[0].size == np.prod(shape, dtype=object):
        return _reshape(eqn, operands)
    return [Spread(operands[0], shape, eqn.params["broadcast_dimensions"])]


def _slice(eqn: Any, operands: Sequence[Held]) -> list[Held] | None:
    """Parts along the outermost axis of an array lie together; other parts are taken as they are written.

    A lowering that reads windows writes them in the order in which they are read best.
    """
    (held,) = operands
    order = held.native
    if order is None or any(
        eqn.outvars[0].aval.shape[axis] != held.shape[axis]
        for axis in [axis for axis in order if held.shape[axis] != 1][1:]
    ):
        return None
    names = [name for name in ("start_indices", "limit_indices", "strides") if eqn.params[name] is not None]
    changed = {name: tuple(eqn.params[name][axis] for axis in order) for name in names}
    return [Held(_bound(eqn, held.within(order), **changed), order)]


def _split(eqn: Any, operands: Sequence[Held]) -> list[Held] | None:
    order = operands[0].native
    if order is None:
        return None
    parts = _bound(eqn, operands[0].within(order), axis=order.index(eqn.params["axis"]))
    return [Held(part, order) for part in parts]


def _concatenate(eqn: Any, operands: Sequence[Held]) -> list[Held] | None:
    order: Order = common_order(operands, len(operands[0].shape))
    axis = order.index(eqn.params["dimension"])
    return [Held(lax.concatenate([held.within(order) for held in operands], axis), order)]


RULES: dict[str, Rule] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "expand_dims": _reshape,
    "reshape": _reshape,
    "slice": _slice,
    "split": _split,
    "squeeze": _reshape,
    "transpose": _transpose,
}
