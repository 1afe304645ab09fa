"""What a circuit costs: qubits, gates, depth, and T gates on a fault-tolerant machine."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass

from accelc.errors import UsageError
from accelc.targets.quantum_circuit.circuit import ROTATIONS, Circuit

_EIGHTH = math.pi / 4
_SNAP = 1e-12  # radians within which an angle counts as a multiple of pi/4

_TOFFOLI_CX, _TOFFOLI_ONE_QUBIT, _TOFFOLI_T, _TOFFOLI_T_MEASURED = 6, 9, 7, 4
_CZ_ONE_QUBIT = 2


@dataclass(frozen=True)
class Resources:
    """The cost of a circuit of CX, CZ, Toffoli and one-qubit gates.

    Args:
        qubits: Number of qubits.
        depth: Layers of gates that can act at once, as written.
        cx: CX gates; a CZ is one, a Toffoli six (Nielsen and Chuang, figure 4.9).
        one_qubit: One-qubit gates, with the two of a CZ and the nine of a Toffoli.
        toffoli: Toffoli gates.
        rotations: Rotations by other angles than multiples of pi/4, which T gates can only approximate.
        t: T gates at ``epsilon``: 7 for a Toffoli (Amy et al., arXiv:1206.0758), 1 for an odd multiple of pi/4, and
            3 log2(rotations / epsilon) for each other rotation (Ross and Selinger, arXiv:1403.2975, leading term).
        t_measured: The same with 4 for a Toffoli, an ancilla and a measurement (Jones, arXiv:1212.5069).
        epsilon: Error allowed for the whole circuit (operator norm), shared equally by its rotations.
    """

    qubits: int
    depth: int
    cx: int
    one_qubit: int
    toffoli: int
    rotations: int
    t: int
    t_measured: int
    epsilon: float

    def to_json(self) -> dict[str, int | float]:
        """The fields by name."""
        return asdict(self)


def resources(circuit: Circuit, *, epsilon: float = 1e-3) -> Resources:
    """Count what a circuit needs. Linear in its gates.

    Raises:
        UsageError: ``epsilon`` is not in (0, 1).
    """
    if not 0 < epsilon < 1:
        raise UsageError(f"a circuit cannot be approximated to {epsilon}", why="the error must be in (0, 1)")
    names: Counter[str] = Counter()
    eighths = rotations = 0
    for gate in circuit.gates:
        names[gate.name] += 1
        if gate.name in ROTATIONS:
            steps = round(gate.angle / _EIGHTH)
            if abs(gate.angle - steps * _EIGHTH) > _SNAP:
                rotations += 1
            else:
                eighths += steps % 2
    each = math.ceil(3 * math.log2(rotations / epsilon)) if rotations else 0
    toffoli = names["ccx"]
    plain = sum(names[name] for name in ("x", "z", "h", *ROTATIONS))
    return Resources(
        qubits=circuit.qubits,
        depth=circuit.depth(),
        cx=names["cx"] + names["cz"] + _TOFFOLI_CX * toffoli,
        one_qubit=plain + _CZ_ONE_QUBIT * names["cz"] + _TOFFOLI_ONE_QUBIT * toffoli,
        toffoli=toffoli,
        rotations=rotations,
        t=eighths + each * rotations + _TOFFOLI_T * toffoli,
        t_measured=eighths + each * rotations + _TOFFOLI_T_MEASURED * toffoli,
        epsilon=epsilon,
    )
