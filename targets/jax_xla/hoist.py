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
from jax.extend import core

MOVES = frozenset(
    (
        "transpose",
        "reshape",
        "squeeze",
        "expand_dims",
        "broadcast_in_dim",
        "rev",
        "slice",
        "copy",
        "concatenate",
    )
)
"""Operations that only move values."""
ARITHMETIC = frozenset(
    ("convert_element_type", "add", "sub", "mul", "div", "neg", "sqrt", "rsqrt", "integer_pow")
)
"""Operations on each value that are worth doing once."""

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
        """The first arguments of ``main``; pure, to be jitted or exported."""
        return self._first(self.first, self.jaxpr.jaxpr.invars[: self.weights], self.taken, weights)

    def _first(
        self,
        eqns: Sequence[Any],
        inputs: Sequence[core.Var],
        outputs: Sequence[core.Var],
        arrays: Sequence[Any],
    ) -> list[Any]:
        part = self.jaxpr.jaxpr.replace(invars=list(inputs), outvars=list(outputs), eqns=list(eqns))
        return list(core.jaxpr_as_fun(core.ClosedJaxpr(part, self.jaxpr.consts))(*arrays))

    def prepared(
        self,
        place: Callable[[int], jax.Array],
        read: Callable[[int], jax.Array],
        known: MutableMapping[Name, jax.Array],
    ) -> list[jax.Array]:
        """The first arguments of ``main``, computed one by one where ``known`` does not hold them.

        Args:
            place: Puts the weight of a number on the device to stay: one that ``main`` takes as it is.
            read: Gives the weight of a number for as long as it is worked on.
            known: Results by name, shared by all functions of the same weights; new ones are added.
        """
        made = {out: i for i, eqn in enumerate(self.first) for out in eqn.outvars}
        number = {var: i for i, var in enumerate(self.jaxpr.jaxpr.invars[: self.weights])}
        found = []
        for var in self.taken:
            if var in number:
                found.append(place(number[var]))
                continue
            name = self.names[var]
            if name not in known:
                known[name] = self._compute(var, made, number, read)
            found.append(known[name])
        return found

    def _compute(
        self,
        wanted: core.Var,
        made: Mapping[core.Var, int],
        number: Mapping[core.Var, int],
        read: Callable[[int], jax.Array],
    ) -> jax.Array:
        """One result of ``first`` from the weights under it."""
        chain: set[int] = set()
        inputs: dict[core.Var, None] = {}
        waiting = [wanted]
        while waiting:
            var = waiting.pop()
            if var in number:
                inputs[var] = None
            elif var in made and made[var] not in chain:
                chain.add(made[var])
                operands = self.first[made[var]].invars
                waiting += [x for x in operands if not isinstance(x, core.Literal)]
        eqns = [self.first[i] for i in sorted(chain)]

        def compute(*arrays: Any) -> Any:
            return self._first(eqns, list(inputs), (wanted,), arrays)[0]

        result: jax.Array = jax.jit(compute)(*(read(number[var]) for var in inputs))
        return result


def split(closed: core.ClosedJaxpr, weights: int, names: Sequence[Name]) -> Split:
    """Cut a traced function.

    Args:
        closed: The function; its first ``weights`` arguments are weights.
        weights: How many.
        names: What the weights are called, to share results between functions of the same weights.

    An equation goes to the first part if all it reads is there and its result is no larger: a bias spread over an
    image stays where it can be fused.
    """
    jaxpr = closed.jaxpr
    named: dict[core.Var, Name] = dict(zip(jaxpr.invars[:weights], names, strict=True))
    first, rest = [], []
    for eqn in jaxpr.eqns:
        if _is_early(eqn, named):
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
    if eqn.effects or eqn.primitive.name not in MOVES | ARITHMETIC:
        return False
    read = [x for x in eqn.invars if not isinstance(x, core.Literal)]
    if not read or not all(x in named for x in read):
        return False
    return sum(_nbytes(out) for out in eqn.outvars) <= sum(_nbytes(x) for x in read)


def _nbytes(var: Any) -> int:
    return int(math.prod(var.aval.shape) * var.aval.dtype.itemsize)
