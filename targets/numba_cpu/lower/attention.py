"""Lowering of Attention to one fused kernel per head and row block."""

from __future__ import annotations

import math

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.lower import dims
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.narrow import also_narrow
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op
from accelc.targets.numba_cpu.program import Value, View

TABLE = LoweringTable()

_HEADS_INSIDE = (0, 2, 1, 3)
"""Physical order [B, S, H, E]: what the usual transpose after attention wants, so that it costs nothing."""


@TABLE.op("Attention", since=23)
@also_narrow
def attention(ctx: LowerContext, op: Op) -> Refusal | None:
    """softmax(q kᵀ · scale + mask) v for float32; float16 and bfloat16 in float32.

    Shapes: q [B, Hq, S, D], k [B, Hkv, T, D], v [B, Hkv, T, E], or [B, S, H*D] with the head counts as attributes;
    mask broadcasts to [B, Hq, S, T], its last dim equal to T.
    Refuses: a cache (past or present), softcap, scores as output, other dtypes.
    Source: https://onnx.ai/onnx/operators/onnx__Attention.html
    """
    q, k, v, mask = (op.input(i) for i in range(4))
    if q is None or k is None or v is None:
        return Refusal("attention without q, k or v")
    if (refusal := _unsupported(op, [q, k, v], mask)) is not None:
        return refusal
    flat = len(q.dims) == 3
    if flat:
        heads = [int(op.attrs.get(name, 0)) for name in ("q_num_heads", "kv_num_heads", "kv_num_heads")]
        q, k, v = (_split_heads(ctx, value, n) for value, n in zip((q, k, v), heads, strict=True))
    if mask is not None and (len(mask.dims) > 4 or mask.dims[-1] != k.dims[2]):
        return Refusal(f"the mask's last dim is {mask.dims[-1]}, there are {k.dims[2]} keys", at=None)
    depth = q.dims[3]
    if not isinstance(depth, int):
        return Refusal("the head size is not known at compile time")
    scale = float(op.attrs.get("scale", 1.0 / math.sqrt(depth) if depth else 1.0))
    params = {
        "mask": "none" if mask is None else "bool" if mask.dtype == "bool" else "float",
        "causal": bool(op.attrs.get("is_causal", 0)),
        "scale": scale,
    }
    mask = None if mask is None else ctx.ordered(mask)
    operands = [q, k, v, mask]
    # A task reads its rows of q before it writes the same rows; k, v and the mask are read by others still.
    others = {ctx.program.root(value.id) for value in operands[1:] if value is not None}
    inplace = (0,) if ctx.program.root(q.id) not in others else ()
    if not flat:
        ctx.emit("attention", params, operands, [ctx.out(op, 0, _HEADS_INSIDE)], inplace)
        return None
    result = ctx.temp("float32", (q.dims[0], q.dims[1], q.dims[2], v.dims[3]), _HEADS_INSIDE)
    ctx.emit("attention", params, operands, [result], inplace)
    inside = ctx.permuted(result, _HEADS_INSIDE)
    ctx.view(op, 0, View(inside.id, "reshape"))
    return None


def _unsupported(op: Op, operands: list[Value], mask: Value | None) -> Refusal | None:
    if any(value.dtype != "float32" for value in operands):
        return Refusal(f"attention in {operands[0].dtype} has no kernel")
    if mask is not None and mask.dtype not in ("float32", "bool"):
        return Refusal(f"a mask of {mask.dtype} has no kernel")
    if any(op.input(i) is not None for i in range(4, len(op.inputs))):
        return Refusal("a key-value cache inside Attention has no kernel")
    if any(spec.name for spec in op.outputs[1:]):
        return Refusal("further outputs of Attention have no kernel")
    if op.attrs.get("softcap", 0.0) != 0.0:
        return Refusal("softcap has no kernel")
    if len({len(value.dims) for value in operands}) != 1 or len(operands[0].dims) not in (3, 4):
        return Refusal("q, k and v are not all of rank 3 or 4")
    return None


def _split_heads(ctx: LowerContext, value: Value, heads: int) -> Value:
    """[B, S, H*D] as a view [B, H, S, D]."""
    batch, rows, width = value.dims
    split = ctx.reshaped(value, (batch, rows, heads, dims.floordiv(width, heads)))
    return ctx.permuted(split, _HEADS_INSIDE)
