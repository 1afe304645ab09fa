"""Calls one lowering as the tracer does, and ONNX's reference on the same node.

Attributes are written with ONNX's names (``transA``); operands are NumPy arrays, None where absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import onnx_ir as ir

from accelc.ir.attributes import attributes
from accelc.targets import jax_xla
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.table import LoweringTable, snake

OPSET = 24


@cache
def table() -> LoweringTable:
    """All lowerings of the target, found by file name so that a family is tested before it is merged."""
    folder = Path(jax_xla.__file__).parent
    modules = [
        import_module(f"accelc.targets.jax_xla.{path.stem}") for path in sorted(folder.glob("lower_*.py"))
    ]
    return LoweringTable().merge(module.TABLE for module in modules if hasattr(module, "TABLE"))


def make_node(
    op_type: str,
    operands: Sequence[np.ndarray | None],
    attrs: dict[str, Any],
    *,
    outputs: int = 1,
    domain: str = "",
    version: int = OPSET,
    out_dtype: Any = None,
) -> ir.Node:
    """The node that the operands would feed, its input dtypes and shapes known."""
    values = [
        None
        if operand is None
        else ir.Value(
            name=f"x{i}",
            type=ir.TensorType(ir.DataType.from_numpy(operand.dtype)),
            shape=ir.Shape(operand.shape),
        )
        for i, operand in enumerate(operands)
    ]
    node = ir.node(op_type, values, attributes=attrs, domain=domain, num_outputs=outputs, version=version)
    for i, value in enumerate(node.outputs):
        value.name = f"y{i}"
    if out_dtype is not None:
        node.outputs[0].type = ir.TensorType(ir.DataType.from_numpy(np.dtype(out_dtype)))
    return node


def lowered(
    op_type: str,
    *operands: np.ndarray | None,
    outputs: int = 1,
    domain: str = "",
    version: int = OPSET,
    out_dtype: Any = None,
    known: Sequence[int] = (),
    precision: str = "f32",
    seed: int | None = None,
    **attrs: Any,
) -> list[np.ndarray]:
    """Outputs of one op through its lowering, jitted.

    Args:
        op_type: The op.
        operands: Its inputs.
        outputs: How many outputs are asked for.
        domain: Domain of the op.
        version: Opset version of the domain.
        out_dtype: Declared dtype of the first output.
        known: Places of operands given as static besides those that must be.
        precision: As in ``Ctx``.
        seed: Makes the node's random key; None for no key.
        attrs: Attributes by ONNX's names.
    """
    node = make_node(
        op_type, operands, attrs, outputs=outputs, domain=domain, version=version, out_dtype=out_dtype
    )
    rule = table().find(domain, op_type, version)
    assert rule is not None, f"{op_type}-{version} has no lowering"
    fixed = {i for i, x in enumerate(operands) if x is None or i in rule.static or i in known}
    named = {snake(name): value for name, value in attributes(node).items()}

    def run(*traced: Any) -> Any:
        left = iter(traced)
        taken = [x if i in fixed else next(left) for i, x in enumerate(operands)]
        key = None if seed is None else jax.random.key(seed)
        return rule.function(
            Ctx(node, version, output_count=outputs, precision=precision, key=key), *taken, **named
        )

    with jax.enable_x64(True):
        found = jax.jit(run)(*(x for i, x in enumerate(operands) if i not in fixed))
    return [np.asarray(y) for y in (found if isinstance(found, tuple | list) else (found,))]


def reference(
    op_type: str,
    *operands: np.ndarray | None,
    outputs: int = 1,
    domain: str = "",
    version: int = OPSET,
    **attrs: Any,
) -> list[np.ndarray]:
    """Outputs of one op by ONNX's reference."""
    from accelc.reference import evaluate_node

    node = make_node(op_type, operands, attrs, outputs=outputs, domain=domain, version=version)
    return [np.asarray(y) for y in evaluate_node(node, list(operands), opset=version)]


def check(
    op_type: str,
    *operands: np.ndarray | None,
    outputs: int = 1,
    domain: str = "",
    version: int = OPSET,
    rtol: float | None = None,
    atol: float = 1e-6,
    **attrs: Any,
) -> list[np.ndarray]:
    """Compare the lowering with ONNX's reference: dtypes and shapes equal, values close; gives the outputs."""
    options = {"outputs": outputs, "domain": domain, "version": version}
    found = lowered(op_type, *operands, **options, **attrs)
    with np.errstate(all="ignore"):
        wanted = reference(op_type, *operands, **options, **attrs)
    for y, expected in zip(found, wanted, strict=True):
        assert_close(y, expected, rtol=rtol, atol=atol)
    return found


def assert_close(
    y: np.ndarray, expected: np.ndarray, *, rtol: float | None = None, atol: float = 1e-6
) -> None:
    """Same dtype and shape; integers and bools equal, floats within the tolerance of their dtype."""
    assert y.dtype == expected.dtype
    assert y.shape == expected.shape
    if y.dtype.kind in "biu" or y.dtype.name in ("int4", "uint4", "int2", "uint2"):
        np.testing.assert_array_equal(y.astype(np.int64), expected.astype(np.int64))
        return
    info: Any = ml_dtypes.finfo(y.dtype)
    tolerance = max(float(info.eps) * 4, 1e-5 if y.dtype == np.float32 else 0.0) if rtol is None else rtol
    slack = max(atol, float(info.eps)) if info.bits < 32 else atol
    np.testing.assert_allclose(
        y.astype(np.float64), expected.astype(np.float64), rtol=tolerance, atol=slack, equal_nan=True
    )
