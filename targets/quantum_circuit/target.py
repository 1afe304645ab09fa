"""Target ``quantum``: lowering, loading, and what it tells passes and people."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import onnx_ir as ir

from accelc.errors import UnsupportedError, UsageError
from accelc.ir.cost import inlined
from accelc.pipeline import Pipeline
from accelc.target import Executable, Support, Target, TargetOptions

_PACKAGES = ("qiskit", "scipy")
FIX = "pip install 'accelc[quantum]'"


class Quantum(Target):
    """Linear layers as quantum circuits, simulated, with the rest on the host; no speed-up is claimed.

    Linear ops become block-encoded circuits, several inputs side by side in one; what is not linear runs in float64 on
    the host between them. Results are read from the state, or from counts of measurements (``shots``).
    """

    name: ClassVar[str] = "quantum"
    aliases: ClassVar[tuple[str, ...]] = ("quantum_circuit",)
    measures: ClassVar[bool] = True

    def lower(self, model: ir.Model, options: TargetOptions) -> Executable:
        """Lower a model; see Target.lower.

        Raises:
            UnsupportedError: The packages that find circuits are not installed, or another precision is asked for.
            LoweringError: Nodes can run neither as circuits nor on the host.
            FallbackError: ``strict``, and there are ops that no mode of the target is made for.
            LimitError: A matrix is too large for the memory.
        """
        if options.precision != "f32":
            raise UnsupportedError(
                f"target 'quantum' has no precision {options.precision}",
                fix="use --precision f32; --encoding-error says how exact the circuits are to be",
            )
        if not 0.0 <= options.encoding_error < 1.0:
            raise UsageError(
                f"encoding_error={options.encoding_error} makes no sense", why="it is from 0 to 1"
            )
        check_installed()
        from accelc.targets.quantum_circuit.executable import Settings
        from accelc.targets.quantum_circuit.lower import lower

        settings = Settings(
            options.shots or 0, options.seed, options.encoding_error, options.encoding_seconds
        )
        return lower(
            inlined(model),
            settings,
            strict=options.strict,
            cache_dir=options.cache_dir,
            progress=options.progress,
        )

    def load(self, folder: Path, manifest: Mapping[str, Any], options: TargetOptions) -> Executable:
        """Load an artifact: needs NumPy alone. ``options.shots`` goes before what it was compiled for."""
        from accelc.targets.quantum_circuit.saved import read

        return read(folder, manifest, options.shots)

    def pipeline(self, level: int, options: TargetOptions) -> Pipeline:
        """No fusion and no recovered formulas: a segment is made of plain ops."""
        return Pipeline.default(min(level, 1))

    def ops(self) -> Sequence[Support]:
        """Linear ops as circuits, the others on the host."""
        from accelc.targets.host_ops.support import host_support
        from accelc.targets.quantum_circuit.linear import READERS
        from accelc.targets.quantum_circuit.segments import BY_DESIGN

        rows = [Support("", op, 1, (), "a circuit where all but one operand are constant") for op in READERS]
        rows += [Support("", op, 1, (), "in float64", way="host") for op in sorted(BY_DESIGN - set(READERS))]
        return [*rows, *host_support({(row.domain, row.op) for row in rows})]

    def doctor(self) -> Mapping[str, str]:
        """Versions of what finds, writes and simulates circuits.

        Raises:
            UnsupportedError: It is not installed.
        """
        check_installed()
        from importlib.metadata import PackageNotFoundError, version

        facts = {}
        for name in (*_PACKAGES, "qiskit-aer"):
            try:
                facts[name] = version(name)
            except PackageNotFoundError:
                facts[name] = "not installed"
        return facts


def check_installed() -> None:
    """See that what finds circuits is there; artifacts load and run without it.

    Raises:
        UnsupportedError: Names what is missing, and how to install it.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UnsupportedError(
            "target 'quantum' is not installed", why=f"{' and '.join(missing)} missing", fix=FIX
        )
