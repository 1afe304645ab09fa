"""Targets by name: one line per target, loaded when asked for.

Third parties add targets by entry point in the group ``accelc.targets``.
"""

from __future__ import annotations

from accelc.registry import Registry
from accelc.target import Target

TABLE: dict[str, str] = {
    "cpu": "accelc.targets.numba_cpu.target:NumbaCpu",
    "gpu": "accelc.targets.jax_xla.target:XlaGpu",
    "onnx": "accelc.targets.onnx_model.target:OnnxModel",
    "quantum": "accelc.targets.quantum_circuit.target:Quantum",
    "tpu": "accelc.targets.jax_xla.target:XlaTpu",
    "xla": "accelc.targets.jax_xla.target:Xla",
}

ALIASES: dict[str, str] = {
    "cuda": "gpu",
    "jax": "xla",
    "jax_xla": "xla",
    "numba_cpu": "cpu",
    "onnx_model": "onnx",
    "quantum_circuit": "quantum",
    "rocm": "gpu",
}

REGISTRY = Registry[Target](
    "target",
    Target,  # type: ignore[type-abstract]
    "accelc.target.Target",
    TABLE,
    group="accelc.targets",
    aliases=ALIASES,
)

names = REGISTRY.names
target_class = REGISTRY.load


def resolve(name: str) -> Target:
    """A target from its name or alias.

    Raises:
        UsageError: There is no such target, or it cannot be loaded.
    """
    return target_class(name)()
