"""Gates of one network node: sums of bits by full adders of one Toffoli each, compared with a constant on the way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from accelc.targets.quantum_circuit.circuit import Gate
from accelc.targets.quantum_circuit.oracle.network import Choice, Literal, Node, Parity, Threshold


def node_gates(node: Node, qubit_of: Mapping[int, int], target: int, fresh: Callable[[], int]) -> list[Gate]:
    """Gates that xor a node's value into ``target``, and leave other qubits to be undone.

    No gate reads ``target``. Gates on the operands' qubits are controlled by these alone, so replaying just those
    backwards restores the operands while ancillas keep their values.

    Args:
        node: What to compute.
        qubit_of: Qubit of each signal.
        target: Where the value goes.
        fresh: Gives an ancilla that is 0.
    """
    if isinstance(node, Parity):
        return [Gate("cx", (qubit_of[signal], target)) for signal in node.signals]
    if isinstance(node, Choice):
        return _choice(node, qubit_of, target)
    return _threshold(node, qubit_of, target, fresh)


def _flips(literals: tuple[Literal, ...], qubit_of: Mapping[int, int]) -> list[Gate]:
    """Make the qubits of complemented literals hold these."""
    return [Gate("x", (qubit_of[literal.signal],)) for literal in literals if literal.negated]


def _choice(node: Choice, qubit_of: Mapping[int, int], target: int) -> list[Gate]:
    """``otherwise ^ condition & (then ^ otherwise)``: one Toffoli."""
    condition, then, otherwise = (qubit_of[x.signal] for x in (node.condition, node.then, node.otherwise))
    return [
        *_flips((node.condition, node.then, node.otherwise), qubit_of),
        Gate("cx", (otherwise, target)),
        Gate("cx", (then, otherwise)),
        Gate("ccx", (condition, otherwise, target)),
    ]


def _threshold(
    node: Threshold, qubit_of: Mapping[int, int], target: int, fresh: Callable[[], int]
) -> list[Gate]:
    """Carry-save addition of all weights and of ``2**k - bound``: the sum is at least the bound where bit k is set.

    k is the least for which bit k is the only one at or above it that can be set. Bits of the constant cost nothing:
    they make an or of an and, and a carry of a last odd bit. n equal weights cost at most n - 1 Toffoli, one per
    full adder (majority by one product: Cuccaro et al., quant-ph/0410184, 2.1).
    """
    gates = _flips(node.literals, qubit_of)
    top = 0
    while node.bound > 1 << top or sum(node.weights) - node.bound >= 1 << top:
        top += 1
    offset = (1 << top) - node.bound
    columns: list[deque[int]] = [deque() for _ in range(top + 1)]
    for literal, weight in zip(node.literals, node.weights, strict=True):
        for place in range(weight.bit_length()):
            if not weight >> place & 1:
                continue
            qubit = qubit_of[literal.signal]
            if place:  # only the lowest column may change the qubits of operands
                copy = target if place == top else fresh()
                gates.append(Gate("cx", (qubit, copy)))
                qubit = copy
            if place != top or qubit != target:
                columns[place].append(qubit)
    for place in range(top):
        is_last = place + 1 == top
        constant = bool(offset >> place & 1)
        gates += _column(columns, place, constant, target if is_last else None, fresh)
    gates += [Gate("cx", (qubit, target)) for qubit in columns[top] if qubit != target]
    return gates


def _column(
    columns: list[deque[int]],
    place: int,
    constant: bool,
    target: int | None,
    fresh: Callable[[], int],
) -> list[Gate]:
    """Add the bits of one column and a constant bit; carries go to the next, or all into ``target``.

    The first bit of a column is never changed: it may be the last one of the column below.
    """
    column, carries = columns[place], columns[place + 1]
    gates: list[Gate] = []
    while len(column) >= 3:
        a, b, c = column.popleft(), column.popleft(), column.popleft()
        carry = fresh() if target is None else target
        gates += [Gate("cx", (a, b)), Gate("cx", (a, c)), Gate("ccx", (b, c, carry)), Gate("cx", (a, carry))]
        if column or constant:
            gates += [Gate("cx", (b, c)), Gate("cx", (a, c))]
        column.append(c)
        carries.append(carry)
    if len(column) == 2:
        a, b = column
        carry = fresh() if target is None else target
        gates.append(Gate("ccx", (a, b, carry)))
        if constant:  # a | b = a ^ b ^ ab
            gates += [Gate("cx", (a, carry)), Gate("cx", (b, carry))]
        carries.append(carry)
    elif column and constant:
        carries.appendleft(column[0])
    return gates
