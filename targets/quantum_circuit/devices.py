"""Quantum devices by name, without a network: what is coupled to what, how often a gate fails, circuits routed.

Two kinds. Layouts of any size (``line-5``, ``grid-3x4``, ``h-7``) have the uniform error rates stated here.
Calibration snapshots (``nairobi``, ``manila``) are measured rates of machines that existed, from the package
qiskit-ibm-runtime.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from accelc.errors import UnsupportedError, UsageError
from accelc.targets.quantum_circuit.circuit import Circuit

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

# Uniform rates of the layouts: close to the medians of superconducting machines of seven qubits (2021 to 2023).
CX_ERROR, ONE_QUBIT_ERROR, READOUT_ERROR = 9e-3, 3.5e-4, 2.5e-2
CX_SECONDS, ONE_QUBIT_SECONDS, READOUT_SECONDS = 350e-9, 36e-9, 5e-6
T1_SECONDS, T2_SECONDS = 100e-6, 80e-6

_MOST_QUBITS = 500
_NO_GATES = ("measure", "barrier", "delay")
_INSTALL = "pip install 'accelc[quantum]'"
_INSTALL_SNAPSHOTS = "pip install 'accelc[quantum-snapshots]'"
_ATTACHED = ((0, 1), (1, 2), (1, 3), (3, 5), (4, 5), (5, 6))  # two T joined at 3: an H

Edges = tuple[tuple[int, int], ...]


def _line(qubits: int) -> Edges:
    return tuple((i, i + 1) for i in range(qubits - 1))


def _ring(qubits: int) -> Edges:
    return (*_line(qubits), *(((qubits - 1, 0),) if qubits > 2 else ()))


def _full(qubits: int) -> Edges:
    return tuple((i, j) for i in range(qubits) for j in range(i + 1, qubits))


LAYOUTS: Mapping[str, Callable[[int], Edges]] = MappingProxyType(
    {"line": _line, "ring": _ring, "full": _full}
)
"""Couplings of any number of qubits, by name; ``grid-RxC`` is the other family."""

FIXED: Mapping[str, tuple[int, Edges]] = MappingProxyType(
    {
        "t-5": (5, ((0, 1), (1, 2), (1, 3), (3, 4))),
        "bowtie-5": (5, ((0, 1), (0, 2), (1, 2), (2, 3), (2, 4), (3, 4))),
        "h-7": (7, _ATTACHED),
    }
)
"""Qubits and couplings of machines of five and seven qubits, by name."""


@dataclass(frozen=True)
class Device:
    """A device to compile for.

    Args:
        name: As users write it.
        backend: Qiskit's description of it: basis, couplings, error rates.
    """

    name: str
    backend: Any

    @property
    def qubits(self) -> int:
        """Number of qubits."""
        return int(self.backend.num_qubits)

    @property
    def edges(self) -> Edges:
        """Pairs of coupled qubits, each once."""
        coupling = self.backend.coupling_map
        return tuple(sorted({(min(pair), max(pair)) for pair in coupling.get_edges()})) if coupling else ()


@dataclass(frozen=True)
class Routed:
    """A circuit in the basis of a device, on its qubits.

    Args:
        circuit: For Qiskit.
        two_qubit: Gates on two qubits.
        one_qubit: Gates on one, those that only change a frame (rz) included.
        depth: Layers of gates.
        faultless: Probability that none of the gates fails, by the device's error rates; readout not counted.
    """

    circuit: QuantumCircuit
    two_qubit: int
    one_qubit: int
    depth: int
    faultless: float


def device(name: str) -> Device:
    """The device of a name: ``line-N ring-N full-N grid-RxC t-5 bowtie-5 h-7``, or a snapshot such as ``nairobi``.

    Raises:
        UsageError: There is none of that name.
        UnsupportedError: A package that it needs is not installed.
    """
    if name in FIXED:
        return _uniform(name, *FIXED[name])
    if found := re.fullmatch(r"(line|ring|full)-(\d{1,4})", name):
        qubits = _in_range(name, int(found[2]))
        return _uniform(name, qubits, LAYOUTS[found[1]](qubits))
    if found := re.fullmatch(r"grid-(\d{1,4})x(\d{1,4})", name):
        rows, columns = int(found[1]), int(found[2])
        _in_range(name, rows * columns)
        across = ((r * columns + c, r * columns + c + 1) for r in range(rows) for c in range(columns - 1))
        down = ((r * columns + c, (r + 1) * columns + c) for r in range(rows - 1) for c in range(columns))
        return _uniform(name, rows * columns, (*across, *down))
    if re.fullmatch(r"[a-z]{1,20}", name):
        return Device(name, _snapshot(name))
    raise _unknown(name)


def route(circuit: Circuit, onto: Device, *, seed: int = 0, level: int = 3) -> Routed:
    """Write a circuit in a device's basis and move its qubits so that every gate is on coupled ones (Qiskit).

    Args:
        circuit: At most as many qubits as the device.
        onto: The device.
        seed: Of the router's random choices: same seed, same circuit.
        level: Qiskit's optimisation level, 0 to 3.

    Raises:
        UsageError: The circuit is larger than the device, or there is no such level.
    """
    if circuit.qubits > onto.qubits:
        raise UsageError(
            f"a circuit of {circuit.qubits} qubits does not fit device {onto.name} of {onto.qubits}",
            fix=f"choose a larger one, for example line-{circuit.qubits}",
        )
    if level not in range(4):
        raise UsageError(f"there is no optimisation level {level}", fix="write 0 to 3")
    from qiskit import transpile

    made = transpile(circuit.to_qiskit(), onto.backend, optimization_level=level, seed_transpiler=seed)
    gates = [i for i in made.data if i.operation.name not in _NO_GATES]
    two = sum(len(i.qubits) == 2 for i in gates)
    depth = made.depth(lambda i: i.operation.name not in _NO_GATES)
    faultless = 1.0
    for gate in gates:
        rate = onto.backend.target[gate.operation.name].get(
            tuple(made.find_bit(q).index for q in gate.qubits)
        )
        faultless *= 1.0 - (rate.error if rate is not None and rate.error is not None else 0.0)
    return Routed(made, two, len(gates) - two, int(depth), faultless)


def _in_range(name: str, qubits: int) -> int:
    if not 1 <= qubits <= _MOST_QUBITS:
        raise UsageError(
            f"there is no device {name}", why=f"it would have {qubits} qubits, 1 to {_MOST_QUBITS} go"
        )
    return qubits


def _uniform(name: str, qubits: int, edges: Edges) -> Device:
    """A device with the same rates everywhere, CX in both directions."""
    try:
        from qiskit.circuit.library import CXGate, Measure, RZGate, SXGate, XGate
        from qiskit.providers import QubitProperties
        from qiskit.providers.fake_provider import GenericBackendV2
        from qiskit.transpiler import InstructionProperties
    except ImportError as error:
        raise _absent("Qiskit", _INSTALL, error) from error
    pairs = [[a, b] for edge in edges for a, b in (edge, edge[::-1])]
    one_qubit = [gate.name for gate in (RZGate(0.0), SXGate(), XGate())]
    basis = [CXGate().name, *one_qubit] if pairs else one_qubit
    backend = GenericBackendV2(qubits, basis_gates=basis, coupling_map=pairs or None, noise_info=False)
    target = backend.target
    turned = InstructionProperties(duration=ONE_QUBIT_SECONDS, error=ONE_QUBIT_ERROR)
    rates = {
        CXGate().name: InstructionProperties(duration=CX_SECONDS, error=CX_ERROR),
        RZGate(0.0).name: InstructionProperties(duration=0.0, error=0.0),
        SXGate().name: turned,
        XGate().name: turned,
        Measure().name: InstructionProperties(duration=READOUT_SECONDS, error=READOUT_ERROR),
    }
    for gate, rate in rates.items():
        for place in target[gate] if gate in target.operation_names else ():
            target.update_instruction_properties(gate, place, rate)
    target.qubit_properties = [QubitProperties(t1=T1_SECONDS, t2=T2_SECONDS) for _ in range(qubits)]
    return Device(name, backend)


def _snapshot(name: str) -> Any:
    try:
        provider = importlib.import_module("qiskit_ibm_runtime.fake_provider")
    except ImportError as error:
        raise UnsupportedError(
            f"there is no layout {name}, and no calibration snapshots are installed",
            why=str(error),
            fix=f"choose {_layout_names()}; or {_INSTALL_SNAPSHOTS} for nairobi, manila and others",
        ) from error
    for kind in (f"Fake{name.capitalize()}V2", f"Fake{name.capitalize()}"):
        if hasattr(provider, kind):
            return getattr(provider, kind)()
    raise _unknown(name)


def _layout_names() -> str:
    return ", ".join([*(f"{layout}-N" for layout in LAYOUTS), "grid-RxC", *FIXED])


def _unknown(name: str) -> UsageError:
    return UsageError(
        f"there is no device {name!r}",
        fix=f"choose {_layout_names()}, or a snapshot of qiskit-ibm-runtime such as nairobi or manila",
    )


def _absent(package: str, install: str, error: ImportError) -> UnsupportedError:
    return UnsupportedError(f"{package} is not installed", why=str(error), fix=install)
