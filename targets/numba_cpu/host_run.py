"""Running a host call: one node on the single-op reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accelc.targets.numba_cpu.program import HostCall


def run_host(step: HostCall, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    """Results of the node, in order.

    Raises:
        UnsupportedError: The reference cannot evaluate it on these inputs.
    """
    import onnx
    import onnx_ir as ir

    from accelc.reference import evaluate_node

    proto = onnx.NodeProto.FromString(step.node)
    node = ir.serde.deserialize_node(proto)
    count = len(inputs) - len(step.captures)
    captured = {
        name: array for name, array in zip(step.captures, inputs[count:], strict=True) if array is not None
    }
    return evaluate_node(node, inputs[:count], captures=captured, opset=step.opset)
