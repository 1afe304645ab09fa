"""ONNX's own backend suite, run against a target: every case in isolation, with a verdict and a reason."""
