"""What a lowering may ask about its node and the compile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import jax
    import onnx_ir as ir


@dataclass(frozen=True)
class Ctx:
    """One node at the time it is traced.

    Args:
        node: The node; its name and output dtypes are for messages and for ops that need a wanted dtype.
        version: Opset version of its domain.
        output_count: Outputs that are asked for, trailing absent ones left out.
        platform: ``cpu``, ``cuda``, ``rocm`` or ``tpu``: rules may differ by what XLA does well there.
        precision: ``f32``, ``tf32``, ``bf16`` or ``f16``: of the operands of matrix products and convolutions.
        key: Random key of this node, None where the model has no random op.
    """

    node: ir.Node
    version: int
    output_count: int = 1
    platform: str = "cpu"
    precision: str = "f32"
    key: jax.Array | None = None

    def out_dtype(self, i: int = 0) -> Any:
        """NumPy dtype that the graph declares for output ``i``; None if it does not."""
        value = self.node.outputs[i] if i < len(self.node.outputs) else None
        return None if value is None or value.dtype is None else value.dtype.numpy()


def is_static(value: Any) -> bool:
    """Whether an operand is known while tracing."""
    return isinstance(value, np.ndarray | np.generic)
