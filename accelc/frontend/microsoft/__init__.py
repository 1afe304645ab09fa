"""Ops of com.microsoft, onnxruntime's own, written as plain ONNX at import."""

from accelc.frontend.microsoft.expand import expand_microsoft, needs_data

__all__ = ["expand_microsoft", "needs_data"]
