"""Circuits of quantum gates: what models become on a quantum computer. Qiskit is imported only below this folder."""
