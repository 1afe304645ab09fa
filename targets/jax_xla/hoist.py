"""Work on weights alone is hoisted out of the call: it is done once, when they are placed.

A traced function is cut in two: what depends on weights only (transposes, reshapes, casts, folded scales) and the
rest, which takes the results. XLA itself cannot do this, as weights are arguments of its programs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend import core

EARLY: dict[str, Callable[..., Any]] = {
    "add": lambda a, b, **_: a + b,
    "broadcast_in_dim": lambda x, *, shape, broadcast_dimensions, **_: _spread(
        x, shape, broadcast_dimensions
    ),
    "concatenate": lambda *arrays, dimension, **_: np.concatenate(arrays, axis=dimension),
    "convert_element_type": lambda x, *, new_dtype, **_: x.astype(new_dtype),
    "copy": lambda x, **_: x,
    "div": lambda a, b, **_: a / b,
    "expand_dims": lambda x, *, dimensions, **_: np.expand_dims(x, dimensions),
    "mul": lambda a, b, **_: a * b,
    "neg": lambda x, **_: -x,
    "pad": lambda x, value, *, padding_config: _padded(x, value, padding_config),
    "reshape": lambda x, *, new_sizes, **_: x.reshape(new_sizes),
    "rev": lambda x, *, dimensions, **_: np.flip(x, dimensions),
    "rsqrt": lambda x, **_: 1 / np.sqrt(x),
    "sqrt": lambda x, **_: np.sqrt(x),
    "squeeze": lambda x, *, dimensions, **_: np.squeeze(x, dimensions),
    "sub": lambda a, b, **_: a - b,
    "transpose": lambda x, *, permutation, **_: np.transpose(x, permutation),
}
"""What is worth doing once, in NumPy: XLA would take longer to compile it than NumPy to do it. Parts of a weight are
left to the function that reads them, which otherwise would take many arguments for one."""


PADDED = 1.05
"""Most that padding makes of a weight, for it to be done once."""
_PRODUCTS = frozenset({"dot_general", "conv_general_dilated"})


def _spread(x: np.ndarray, shape: Sequence[int], dims: Sequence[int]) -> np.ndarray:
    """``x`` with its dims at ``dims`` of ``shape``, the others of extent 1 or repeated."""
    wide = [1] * len(shape)
    for axis, place in enumerate(dims):
        wide[place] = x.shape[axis]
    return np.broadcast_to(x.reshape(wide), shape)


def _padded(x: np.ndarray, value: np.ndarray, config: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """``x`` with ``value`` before and after it; none between, none taken away (see ``_is_early``)."""
    return np.pad(x, [(low, high) for low, high, _ in config], constant_values=value[()])


Name = Hashable
"""What a value is made of: the operation, its parameters and the names of its operands."""


@dataclass(frozen=True)
class Split:
    """A traced function in two parts.

    Args:
        jaxpr: The whole function.
        first: Equations on weights alone, in order.
        rest: The other equations.
        taken: What the rest takes in place of the weights: weights as they are, and results of ``first``.
        names: Of every weight and every result of ``first``.
        weights: How many arguments are weights.
    """

    jaxpr: core.ClosedJaxpr
    first: tuple[Any, ...]
    rest: tuple[Any, ...]
    taken: tuple[core.Var, ...]
    names: Mapping[core.Var, Name]
    weights: int

    def main(self, prepared: Sequence[Any], *others: Any) -> list[Any]:
        """Outputs of the function, flat, from prepared weights and the other arguments in their structure."""
        others_in = self.jaxpr.jaxpr.invars[self.weights :]
        part = self.jaxpr.jaxpr.replace(invars=[*self.taken, *others_in], eqns=list(self.rest))
        return list(
            core.jaxpr_as_fun(core.ClosedJaxpr(part, self.jaxpr.consts))(*prepared, *jax.tree.leaves(others))
        )

    def shapes(self) -> list[jax.ShapeDtypeStruct]:
        """Shapes and dtypes of what ``main`` takes first."""
        return [jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype) for var in self.taken]  # type: ignore[attr-defined]

    def prepare(self, weights: Sequence[Any]) -> list[Any]:
        """The first arguments of ``main``; pure, to be exported."""
        jaxpr = self.jaxpr.jaxpr
        part = jaxpr.replace(
            invars=jaxpr.invars[: self.weights], outvars=list(self.taken), eqns=list(self.first)
        )
        return list(core.jaxpr_as_fun(core.ClosedJaxpr(part, self.jaxpr.consts))(*weights))

    def prepared(
        self,
        place: Callable[[int], jax.Array],
        read: Callable[[int], np.ndarray],
        put: Callable[[np.ndarray], jax.Array],
        known: MutableMapping[Name, jax.Array],
    ) -> list[jax.Array]:
        """The first arguments of ``main``, computed one by one where ``known`` does not hold them.

        Args:
            place: Puts the weight of a number on the device to stay: one that ``main`` takes as it is.
            read: Gives the weight of a number on the host.
            put: Puts a result on the device.
            known: Results by name, shared by all functions of the same weights; new ones are added.
        """
        made = {out: eqn for eqn in self.first for out in eqn.outvars}
        number = {var: i for i, var in enumerate(self.jaxpr.jaxpr.invars[: self.weights])}
        found = []
        for var in self.taken:
            if var in number:
                found.append(place(number[var]))
                continue
            name = self.names[var]
            if name not in known:
                known[name] = put(_computed(var, made, lambda weight: read(number[weight])))
            found.append(known[name])
        return found


def _computed(
    wanted: core.Var, made: Mapping[core.Var, Any], read: Callable[[core.Var], np.ndarray]
) -> np.ndarray:
    """One result of early equations from the weights under it; iterative, as chains may be long."""
    values: dict[core.Var, np.ndarray] = {}
    waiting = [wanted]
    while waiting:
        var = waiting[-1]
        eqn = made.get(var)
        operands = [] if eqn is None else [x for x in eqn.invars if not isinstance(x, core.Literal)]
        missing = [x for x in operands if x not in values]
        if missing:
            waiting += missing
            continue
        waiting.pop()
        if eqn is None:
            values[var] = np.asarray(read(var))
        elif var not in values:
            given = (np.asarray(x.val) if isinstance(x, core.Literal) else values[x] for x in eqn.invars)
            aval: Any = var.aval
            with np.errstate(all="ignore"):
                values[var] = np.asarray(EARLY[eqn.primitive.name](*given, **eqn.params), aval.dtype)
    return np.ascontiguousarray(values[wanted])


def split(closed: core.ClosedJaxpr, weights: int, names: Sequence[Name]) -> Split:
    """Cut a traced function.

    Args:
        closed: The function; its first ``weights`` arguments are weights.
        weights: How many.
        names: What the weights are called, to share results between functions of the same weights.

    An equation goes to the first part if all it reads is there and its result is no larger: a bias spread over an
    image stays where it can be fused. So does one number spread to an operand of a product, as where a model makes its
    weights by ConstantOfShape: XLA's CPU (jaxlib 0.10) reads such an operand as a whole matrix where it fuses the
    product with a sum, and gives NaN.
    """
    jaxpr = closed.jaxpr
    multiplied = _multiplied(jaxpr)
    named: dict[core.Var, Name] = dict(zip(jaxpr.invars[:weights], names, strict=True))
    first, rest = [], []
    for eqn in jaxpr.eqns:
        if _is_early(eqn, named) or _is_filled(eqn, named, multiplied):
            operands = tuple(str(x) if isinstance(x, core.Literal) else named[x] for x in eqn.invars)
            for i, out in enumerate(eqn.outvars):
                named[out] = (eqn.primitive.name, str(eqn.params), i, operands)
            first.append(eqn)
        else:
            rest.append(eqn)
    used = {x for eqn in rest for x in eqn.invars if not isinstance(x, core.Literal)}
    used.update(x for x in jaxpr.outvars if not isinstance(x, core.Literal))
    taken = tuple(var for var in named if var in used)
    return Split(closed, tuple(first), tuple(rest), taken, named, weights)


def _is_early(eqn: Any, named: Mapping[core.Var, Name]) -> bool:
    """Whether an equation works on weights alone and does not make more of them."""
    if eqn.effects or eqn.primitive.name not in EARLY:
        return False
    read = [x for x in eqn.invars if not isinstance(x, core.Literal)]
    if not read or not all(x in named for x in read):
        return False
    if eqn.primitive.name == "pad":
        plain = all(
            low >= 0 and high >= 0 and inner == 0 for low, high, inner in eqn.params["padding_config"]
        )
        return plain and _nbytes(eqn.outvars[0]) <= PADDED * _nbytes(eqn.invars[0])
    return sum(_nbytes(out) for out in eqn.outvars) <= sum(_nbytes(x) for x in read)


def _multiplied(jaxpr: core.Jaxpr) -> set[core.Var]:
    """Operands of products and convolutions, and what they are made of by early equations. One walk."""
    found: set[core.Var] = set()
    for eqn in reversed(jaxpr.eqns):
        name = eqn.primitive.name
        if name in _PRODUCTS or (name in EARLY and any(out in found for out in eqn.outvars)):
            found.update(x for x in eqn.invars if not isinstance(x, core.Literal))
    return found


def _is_filled(eqn: Any, named: Mapping[core.Var, Name], multiplied: set[core.Var]) -> bool:
    """Whether an equation fills an operand of a product, of a known shape, with one number."""
    if eqn.primitive.name != "broadcast_in_dim":
        return False
    if not all(isinstance(x, core.Literal) or (x in named and _nbytes(x) <= 8) for x in eqn.invars):
        return False
    out = eqn.outvars[0]
    return out in multiplied and all(isinstance(n, int) for n in out.aval.shape)


def _nbytes(var: Any) -> int:
    return int(math.prod(var.aval.shape) * var.aval.dtype.itemsize)
