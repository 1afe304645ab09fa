"""Ops of com.microsoft, onnxruntime's own, written as plain ONNX at import."""

from accelc.frontend.microsoft.expand import expand_microsoft

__all__ = ["expand_microsoft"]
