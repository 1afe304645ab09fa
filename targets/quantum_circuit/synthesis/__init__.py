"""Circuits of Ry and CX for real matrices, found numerically close to the least number of CX that any can have."""

from accelc.targets.quantum_circuit.synthesis.blocks import block
from accelc.targets.quantum_circuit.synthesis.orthogonals import orthogonal

__all__ = ["block", "orthogonal"]
