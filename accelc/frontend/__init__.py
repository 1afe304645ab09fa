"""ONNX in, checked graph out: ``load_model`` reads a file, bytes, proto, ir.Model or text within limits."""

from accelc.frontend.convert import IR_VERSION, OPSET
from accelc.frontend.load import Imported, load_model
from accelc.ir.pass_base import Limits

__all__ = ["IR_VERSION", "OPSET", "Imported", "Limits", "load_model"]
