"""Kernel families: each generates Python text that Numba compiles once per machine."""
