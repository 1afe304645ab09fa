"""From ONNX nodes to kernel calls: one file per op family, merged into one table in ``tables.py``."""
