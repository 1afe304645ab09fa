"""Target ``onnx``: the optimised graph as a plain ONNX model, for any other runtime."""
