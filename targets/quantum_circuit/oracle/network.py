"""Values of a binary network: integer-affine functions of bits, and the gates that make new bits from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

MAX_INDEX_BITS = 12
"""Most bits that an index may depend on: every value it can have is told apart."""


@dataclass(frozen=True)
class Literal:
    """A bit of the network, or its complement."""

    signal: int
    negated: bool = False


@dataclass(frozen=True)
class Threshold:
    """1 where the sum of the weights of the literals that hold is at least ``bound``."""

    literals: tuple[Literal, ...]
    weights: tuple[int, ...]
    bound: int


@dataclass(frozen=True)
class Parity:
    """Exclusive or of bits."""

    signals: tuple[int, ...]


@dataclass(frozen=True)
class Choice:
    """``then`` where ``condition`` holds, else ``otherwise``."""

    condition: Literal
    then: Literal
    otherwise: Literal


Node = Threshold | Parity | Choice


def grain_of(number: float) -> float:
    """Largest power of two of which a finite number is a multiple; infinite for 0."""
    if number == 0:
        return math.inf
    numerator, denominator = number.as_integer_ratio()
    return (numerator & -numerator) / denominator


class Linear:
    """``constant + sum(coefficient * bit)``, and how large and how fine the numbers were that made it.

    As long as ``bound / grain`` fits a dtype's mantissa, sums in that dtype are exact in any order.

    Args:
        constant: The part without bits.
        terms: Coefficient by signal, none of them 0.
        bound: At least the magnitude of every partial sum.
        grain: A power of two of which every summand is a multiple.
    """

    __slots__ = ("bound", "constant", "grain", "terms")

    def __init__(
        self, constant: float, terms: Mapping[int, float], bound: float = -1.0, grain: float = math.inf
    ) -> None:
        self.constant = constant
        self.terms = dict(terms)
        numbers = (constant, *self.terms.values())
        self.bound = bound if bound >= 0 else sum(map(abs, numbers))
        self.grain = min(grain, *map(grain_of, numbers))

    @staticmethod
    def of(value: object) -> Linear:
        """A number without bits, or ``value`` if it is a Linear.

        Raises:
            ValueError: The number is infinite or NaN.
        """
        if isinstance(value, Linear):
            return value
        number = float(value)  # type: ignore[arg-type]
        if not math.isfinite(number):
            raise ValueError(f"{number} is not a number that bits can weigh")
        return Linear(number, {})

    def __add__(self, other: Linear | float) -> Linear:
        other = Linear.of(other)
        terms = dict(self.terms)
        for signal, coefficient in other.terms.items():
            total = terms.get(signal, 0.0) + coefficient
            if total:
                terms[signal] = total
            else:
                terms.pop(signal, None)
        bound, grain = self.bound + other.bound, min(self.grain, other.grain)
        return Linear(self.constant + other.constant, terms, bound, grain)

    __radd__ = __add__

    def __mul__(self, factor: Linear | float) -> Linear:
        if isinstance(factor, Linear):
            if factor.terms:
                if self.terms:
                    raise ValueError("both factors depend on the inputs")
                return factor * self.constant
            factor = factor.constant
        if factor == 0:
            return Linear(0.0, {})
        terms = {signal: coefficient * factor for signal, coefficient in self.terms.items()}
        return Linear(
            self.constant * factor, terms, self.bound * abs(factor), self.grain * grain_of(float(factor))
        )

    __rmul__ = __mul__

    def __neg__(self) -> Linear:
        return self * -1.0

    def __sub__(self, other: Linear | float) -> Linear:
        return self + Linear.of(other) * -1.0

    def __rsub__(self, other: Linear | float) -> Linear:
        return Linear.of(other) - self

    @property
    def low(self) -> float:
        """A lower bound of the values."""
        return self.constant + sum(min(0.0, c) for c in self.terms.values())

    @property
    def high(self) -> float:
        """An upper bound of the values."""
        return self.constant + sum(max(0.0, c) for c in self.terms.values())

    def literal(self) -> Literal | None:
        """The literal that this value of 0 and 1 is, if it is one."""
        if len(self.terms) != 1:
            return None
        ((signal, coefficient),) = self.terms.items()
        if (self.constant, coefficient) == (0.0, 1.0):
            return Literal(signal)
        return Literal(signal, negated=True) if (self.constant, coefficient) == (1.0, -1.0) else None


def bit(literal: Literal) -> Linear:
    """0 or 1 as a Linear."""
    return Linear(1.0, {literal.signal: -1.0}) if literal.negated else Linear(0.0, {literal.signal: 1.0})


@dataclass
class Network:
    """Bits in the order in which they can be computed: the inputs, then one per node. Equal nodes are one.

    Args:
        inputs: Number of input bits.
    """

    inputs: int
    nodes: list[Node] = field(default_factory=list)
    _known: dict[Node, int] = field(default_factory=dict)

    def _signal(self, node: Node) -> int:
        if node not in self._known:
            self._known[node] = self.inputs + len(self.nodes)
            self.nodes.append(node)
        return self._known[node]

    def node(self, signal: int) -> Node | None:
        """What makes a bit; None for an input."""
        return None if signal < self.inputs else self.nodes[signal - self.inputs]

    def at_least(self, value: Linear, *, strict: bool = False) -> Linear:
        """1 where ``value >= 0`` (``> 0`` if strict), else 0."""
        grain = value.grain
        if not value.terms:
            return Linear(float(value.constant > 0 or (value.constant == 0 and not strict)), {})
        bound = -round(value.constant / grain) + int(strict)
        weights: dict[Literal, int] = {}
        for signal, coefficient in sorted(value.terms.items()):
            weight = round(coefficient / grain)
            weights[Literal(signal, weight < 0)] = abs(weight)
            bound += max(0, -weight)
        return self._threshold(weights, bound)

    def _threshold(self, weights: dict[Literal, int], bound: int) -> Linear:
        """The smallest equal weights: common factors out, none above what decides alone either way."""
        while True:
            total = sum(weights.values())
            if bound <= 0 or total < bound:
                return Linear(float(bound <= 0), {})
            slack = total - bound + 1
            factor = math.gcd(*weights.values())
            if factor > 1:
                weights = {literal: weight // factor for literal, weight in weights.items()}
                bound = -(-bound // factor)
            elif max(weights.values()) > bound:
                weights = {literal: min(weight, bound) for literal, weight in weights.items()}
            elif max(weights.values()) > slack:
                weights = {literal: min(weight, slack) for literal, weight in weights.items()}
                bound = sum(weights.values()) - slack + 1
            else:
                break
        if len(weights) == 1:
            return bit(next(iter(weights)))
        node = Threshold(tuple(weights), tuple(weights.values()), bound)
        return bit(Literal(self._signal(node)))

    def both(self, values: Iterable[Linear]) -> Linear:
        """1 where all of the 0-1 values are 1."""
        values = list(values)
        return self.at_least(sum(values, Linear(-float(len(values)), {})))

    def any(self, values: Iterable[Linear]) -> Linear:
        """1 where one of the 0-1 values is 1."""
        return self.at_least(sum(values, Linear(-1.0, {})))

    def exclusive(self, a: Linear, b: Linear) -> Linear:
        """Exclusive or of two 0-1 values."""
        first, second = a.literal(), b.literal()
        if first is None or second is None:
            known, other = (a, b) if first is None else (b, a)
            return 1.0 - other if known.constant else other
        signals: set[int] = set()
        for literal in (first, second):  # a parity of parities is one parity
            node = self.node(literal.signal)
            signals ^= set(node.signals) if isinstance(node, Parity) else {literal.signal}
        flipped = first.negated != second.negated
        if not signals:
            return Linear(float(flipped), {})
        if len(signals) == 1:
            return bit(Literal(signals.pop(), flipped))
        return bit(Literal(self._signal(Parity(tuple(sorted(signals)))), flipped))

    def choose(self, condition: Linear, then: Linear, otherwise: Linear) -> Linear:
        """``then`` where the 0-1 value ``condition`` is 1, else ``otherwise``: any two values."""
        decided = condition.literal()
        if decided is None:
            return then if condition.constant else otherwise
        if condition.terms.keys() == then.terms.keys() and then.literal() is not None:
            then = Linear(float(then.literal() == decided), {})
        if condition.terms.keys() == otherwise.terms.keys() and otherwise.literal() is not None:
            otherwise = Linear(float(otherwise.literal() != decided), {})
        first, second = then.literal(), otherwise.literal()
        if first is not None and second is not None:
            if first.signal != second.signal:
                return bit(Literal(self._signal(Choice(decided, first, second))))
            return then if first == second else 1.0 - self.exclusive(condition, then)
        if second is not None and not then.terms and then.constant in (0.0, 1.0):
            return (
                self.any((condition, otherwise)) if then.constant else self.both((1.0 - condition, otherwise))
            )
        if first is not None and not otherwise.terms and otherwise.constant in (0.0, 1.0):
            return self.any((1.0 - condition, then)) if otherwise.constant else self.both((condition, then))
        return otherwise + self.product(condition, then - otherwise)

    def product(self, condition: Linear, value: Linear) -> Linear:
        """``value`` where the 0-1 value ``condition`` is 1, else 0."""
        total = condition * value.constant
        for signal, coefficient in value.terms.items():
            total = total + self.both((condition, bit(Literal(signal)))) * coefficient
        return total

    def select(self, table: Sequence[Linear], index: Linear) -> Linear:
        """The element of ``table`` at ``index``, negative ones counted from the end.

        Raises:
            ValueError: The index depends on more than ``MAX_INDEX_BITS`` bits.
        """
        if len(index.terms) > MAX_INDEX_BITS:
            raise ValueError(f"an index depends on {len(index.terms)} bits, more than {MAX_INDEX_BITS}")
        reached = {index.constant}
        for coefficient in index.terms.values():
            reached |= {value + coefficient for value in reached}
        inside = sorted(int(value) for value in reached if -len(table) <= value < len(table))
        if not inside:
            raise ValueError("an index is out of range")
        first = table[inside[0]]
        total = first
        for value in inside[1:]:
            step = table[value] - first
            if step.terms or step.constant:
                total = total + self.product(self.equal(index, Linear.of(value)), step)
        return total

    def equal(self, a: Linear, b: Linear) -> Linear:
        """1 where two values are equal."""
        first, second = a.literal(), b.literal()
        if first is not None and second is not None:
            return 1.0 - self.exclusive(a, b)
        if len(a.terms) == len(b.terms) == 1 and a.constant == b.constant:
            (s, p), (t, q) = *a.terms.items(), *b.terms.items()
            if p == q:
                return 1.0 - self.exclusive(bit(Literal(s)), bit(Literal(t)))
        return self.both((self.at_least(a - b), self.at_least(b - a)))

    def sign(self, value: Linear) -> Linear:
        """-1, 0 or 1."""
        return self.at_least(value, strict=True) + self.at_least(value) - 1.0
