"""Attention of com.microsoft as ONNX's own Attention.

Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from typing import Any

from accelc.frontend.microsoft.call import Call, Opaque, Rule


def _mask(call: Call, i: int, query: str, like: str) -> str | None:
    """What is added to the scores, [B, 1, S, T]; None without a mask.

    Takes a raw mask [B, T] of 0 and 1, or the lengths [B] of what counts; ``query`` is [B, S, hidden] and ``like``
    [B, T, hidden].
    """
    if not call.has(i):
        return None
    mask, rank = call.operand(i), call.rank(i)
    if rank == 1:
        length = call.add("Squeeze", call.add("Shape", like, start=1, end=2))
        zero, one = (call.add("Constant", value_int=number) for number in (0, 1))
        places = call.add("Unsqueeze", call.add("Range", zero, length, one), call.ints(0))
        lengths = call.add("Unsqueeze", call.add("CastLike", mask, length), call.ints(1))
        mask = call.add("Less", places, lengths)
    elif rank != 2:
        raise Opaque(f"a mask of rank {rank or 'unknown'}")
    keep = call.add("CastLike", mask, like)
    away = call.add("Sub", call.number(1.0, like), keep)
    scores = call.add("Mul", away, call.number(float(call.attr("mask_filter_value", -10000.0)), like))
    rows = call.add("Shape", query, start=1, end=2)
    # onnxruntime's Attention does not broadcast over the query's length.
    shape = call.add("Concat", call.ints(1, 1), rows, call.ints(1), axis=0)
    return call.add("Expand", call.add("Unsqueeze", scores, call.ints(1, 2)), shape)


def _attend(call: Call, q: str, k: str, v: str, mask: str | None, bias: int) -> None:
    if call.has(bias):
        extra = call.operand(bias)
        mask = extra if mask is None else call.add("Add", mask, extra)
    heads = int(call.attr("num_heads", 0))
    attributes: dict[str, Any] = {"q_num_heads": heads, "kv_num_heads": heads}
    if call.attr("unidirectional", 0):
        attributes["is_causal"] = 1
    scale = float(call.attr("scale", 0.0))
    if scale:
        attributes["scale"] = scale
    call.gives(0, call.add("Attention", q, k, v, *([mask] if mask else []), **attributes))


def attention(call: Call) -> None:
    """One projection to query, key and value, then attention."""
    call.refuse_results(1)
    call.refuse_operands(4, 6)
    if call.attr("do_rotary", 0) or call.attr("past_present_share_buffer", 0):
        raise Opaque("rotary embedding or a shared buffer inside")
    projected = call.add("MatMul", call.operand(0), call.operand(1))
    if call.has(2):
        projected = call.add("Add", projected, call.operand(2))
    sizes = [int(size) for size in call.attr("qkv_hidden_sizes", [])]
    q = (
        call.add("Split", projected, call.ints(*sizes), outputs=3, axis=-1)
        if sizes
        else call.add("Split", projected, outputs=3, axis=-1, num_outputs=3)
    )
    k, v = q[:-1] + "1", q[:-1] + "2"
    _attend(call, q, k, v, _mask(call, 3, projected, projected), 5)


def multi_head_attention(call: Call) -> None:
    """Attention of separate query, key and value of [batch, length, hidden]."""
    call.refuse_results(1, 2, 3)
    call.refuse_operands(6, 7, 8, 9)
    if not (call.has(1) and call.has(2)):
        raise Opaque("query, key and value are packed")
    if any(call.rank(i) not in (3, None) for i in range(3)):
        raise Opaque("key and value are not of rank 3")
    parts = [call.operand(i) for i in range(3)]  # of unknown rank they are taken for [batch, length, hidden]
    if call.has(3):
        # The bias is that of query, key and value, one after the other: [3 * hidden] if these are equal.
        width = call.add("Shape", parts[0], start=2, end=3)
        twice = call.add("Add", width, width)
        sizes = [width, call.add("Shape", parts[1], start=2, end=3)]
        starts = [call.ints(0), width, twice]
        ends = [width, call.add("Add", *sizes), call.add("Shape", call.operand(3), start=0, end=1)]
        zero = call.ints(0)
        parts = [
            call.add("Add", part, call.add("Slice", call.operand(3), start, end, zero))
            for part, start, end in zip(parts, starts, ends, strict=True)
        ]
    q, k, v = parts
    _attend(call, q, k, v, _mask(call, 4, q, k), 5)


RULES: dict[str, Rule] = {"Attention": attention, "MultiHeadAttention": multi_head_attention}
