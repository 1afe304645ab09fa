"""A circuit as a frozen list of gates: applied to states in NumPy, handed to Qiskit.

Qubit 0 is the least significant bit of a basis state's number, as in Qiskit.
"""

from __future__ import annotations

import cmath
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from accelc.errors import UnsupportedError, UsageError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

CONTROLS = {"cx": 1, "cz": 1, "ccx": 2}
_BASE = {"cx": "x", "cz": "z", "ccx": "x"}
_FIXED = {
    "x": np.array([[0, 1], [1, 0]]),
    "z": np.array([[1, 0], [0, -1]]),
    "h": np.array([[1, 1], [1, -1]]) / math.sqrt(2),
}
ROTATIONS = frozenset({"rx", "ry", "rz"})


class Gate(NamedTuple):
    """One gate: ``x z h`` and ``rx ry rz`` on one qubit, ``cx cz ccx`` with the target last.

    Args:
        name: One of the names above; all without an angle are their own inverses.
        qubits: Controls, then the target.
        angle: Of a rotation, in radians.
    """

    name: str
    qubits: tuple[int, ...]
    angle: float = 0.0

    @property
    def target(self) -> int:
        """The qubit that the gate acts on."""
        return self.qubits[-1]


@dataclass(frozen=True)
class Circuit:
    """Gates in the order in which they act.

    Args:
        qubits: Number of qubits.
        gates: The gates.
        measured: Qubits read out after the last gate, into the classical bits 0, 1, ... in this order.

    Raises:
        UsageError: A gate is unknown, its angle not finite, or its qubits (or the measured ones) are not different
            ones of the circuit.
    """

    qubits: int
    gates: tuple[Gate, ...]
    measured: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.measured)) != len(self.measured) or not set(self.measured) <= set(range(self.qubits)):
            raise UsageError(
                f"cannot measure qubits {self.measured}",
                why=f"they must be different ones of 0 to {self.qubits - 1}",
            )
        for gate in set(self.gates):
            if gate.name not in _FIXED and gate.name not in CONTROLS and gate.name not in ROTATIONS:
                raise UsageError(f"there is no gate {gate.name!r}")
            arity = 1 + CONTROLS.get(gate.name, 0)
            fits = all(0 <= qubit < self.qubits for qubit in gate.qubits)
            if len(gate.qubits) != arity or len(set(gate.qubits)) != arity or not fits:
                raise UsageError(
                    f"gate {gate.name} cannot act on qubits {gate.qubits}",
                    why=f"it takes {arity} different qubits of 0 to {self.qubits - 1}",
                )
            if not math.isfinite(gate.angle):
                raise UsageError(f"gate {gate.name} cannot turn by {gate.angle}", why="angles are finite")

    def inverse(self) -> Circuit:
        """The circuit that undoes the gates of this one; it measures nothing."""
        return Circuit(self.qubits, inverse(self.gates))

    def apply(self, state: np.ndarray) -> np.ndarray:
        """The state after the gates; float64 where all gates are real, else complex128.

        Shapes: state [2**qubits, ...] (further axes are a batch); result as state.
        """
        is_real = not np.iscomplexobj(state) and all(gate.name not in ("rx", "rz") for gate in self.gates)
        out = np.array(state, dtype=np.float64 if is_real else np.complex128)
        cube = out.reshape((2,) * self.qubits + (-1,))
        for gate in self.gates:
            _apply(cube, gate, self.qubits)
        return out

    def unitary(self) -> np.ndarray:
        """The matrix [2**qubits, 2**qubits] of the circuit."""
        return self.apply(np.eye(2**self.qubits))

    def counts(self) -> dict[str, int]:
        """Gates by name."""
        return dict(Counter(gate.name for gate in self.gates))

    def depth(self, *names: str) -> int:
        """Layers of gates that can act at once; with ``names`` only those gates count."""
        layer = [0] * self.qubits
        for gate in self.gates:
            at = max(layer[qubit] for qubit in gate.qubits) + (not names or gate.name in names)
            for qubit in gate.qubits:
                layer[qubit] = at
        return max(layer, default=0)

    def to_qiskit(self) -> QuantumCircuit:
        """The same circuit in Qiskit.

        Raises:
            UnsupportedError: Qiskit is not installed.
        """
        try:
            from qiskit import QuantumCircuit
        except ImportError as error:
            raise UnsupportedError(
                "Qiskit is not installed", why=str(error), fix="pip install 'accelc[quantum]'"
            ) from error
        circuit = QuantumCircuit(self.qubits, len(self.measured))
        for gate in self.gates:
            method: Any = getattr(circuit, gate.name)
            method(*([gate.angle] if gate.name in ROTATIONS else []), *gate.qubits)
        if self.measured:
            circuit.measure(list(self.measured), range(len(self.measured)))
        return circuit


def inverse(gates: Iterable[Gate]) -> tuple[Gate, ...]:
    """The gates that undo ``gates``."""
    return tuple(Gate(gate.name, gate.qubits, -gate.angle) for gate in reversed(list(gates)))


def without_pairs(gates: Iterable[Gate]) -> tuple[Gate, ...]:
    """Leave out pairs of equal self-inverse gates with nothing between them on their qubits. One walk."""
    kept: list[Gate | None] = []
    last: dict[int, list[int]] = {}
    for gate in gates:
        tops = {last[qubit][-1] if last.get(qubit) else -1 for qubit in gate.qubits}
        top = next(iter(tops))
        if len(tops) == 1 and top >= 0 and gate.name not in ROTATIONS and kept[top] == gate:
            kept[top] = None
            for qubit in gate.qubits:
                last[qubit].pop()
            continue
        for qubit in gate.qubits:
            last.setdefault(qubit, []).append(len(kept))
        kept.append(gate)
    return tuple(gate for gate in kept if gate is not None)


def _matrix(gate: Gate) -> np.ndarray:
    if gate.name not in ROTATIONS:
        return _FIXED[_BASE.get(gate.name, gate.name)]
    c, s = math.cos(gate.angle / 2), math.sin(gate.angle / 2)
    if gate.name == "ry":
        return np.array([[c, -s], [s, c]])
    if gate.name == "rx":
        return np.array([[c, -1j * s], [-1j * s, c]])
    return np.diag([cmath.exp(-0.5j * gate.angle), cmath.exp(0.5j * gate.angle)])


def _apply(cube: np.ndarray, gate: Gate, qubits: int) -> None:
    """Act on the state in place; axis ``qubits - 1 - q`` is qubit q."""
    at: list[Any] = [slice(None)] * (qubits + 1)
    for control in gate.qubits[:-1]:
        at[qubits - 1 - control] = 1
    axis = qubits - 1 - gate.target
    at[axis] = 0
    zero = cube[tuple(at)]
    at[axis] = 1
    one = cube[tuple(at)]
    matrix = _matrix(gate)
    before = zero.copy()
    zero[...] = matrix[0, 0] * before + matrix[0, 1] * one
    one[...] = matrix[1, 0] * before + matrix[1, 1] * one
