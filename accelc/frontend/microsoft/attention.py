"""Attention of com.microsoft as ONNX's own Attention.

Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from typing import Any

from accelc.frontend.microsoft.cached_attention import (
    Cached,
    appended,
    as_scores,
    attend,
    length_of,
    places,
    split_heads,
    visible,
)
from accelc.frontend.microsoft.call import Call, Opaque, Rule


def _mask(call: Call, i: int, query: str, like: str, length: str = "") -> str | None:
    """What is added to the scores, [B, 1, S, T]; None without a mask.

    Takes a raw mask [B, T] or [B, S, T] of 0 and 1, or the lengths [B] of what counts; ``query`` is [B, S, hidden] and
    ``like`` [B, T, hidden], or ``length`` is the scalar T.
    """
    if not call.has(i):
        return None
    mask, rank = call.operand(i), call.rank(i)
    if rank == 1:
        length = length or length_of(call, like, 1)
        row = call.add("Unsqueeze", places(call, length), call.ints(0))
        lengths = call.add("Unsqueeze", call.add("CastLike", mask, length), call.ints(1))
        mask = call.add("Less", row, lengths)
    elif rank not in (2, 3):
        raise Opaque(f"a mask of rank {rank or 'unknown'}")
    keep = call.add("CastLike", mask, like)
    away = call.add("Sub", call.number(1.0, like), keep)
    scores = call.add("Mul", away, call.number(float(call.attr("mask_filter_value", -10000.0)), like))
    if rank == 3:
        return call.add("Unsqueeze", scores, call.ints(1))
    rows = call.add("Shape", query, start=1, end=2)
    # onnxruntime's Attention does not broadcast over the query's length.
    shape = call.add("Concat", call.ints(1, 1), rows, call.ints(1), axis=0)
    return call.add("Expand", call.add("Unsqueeze", scores, call.ints(1, 2)), shape)


def _attend_cached(call: Call, q: str, query: str, cached: Cached, mask: int, bias: int) -> None:
    """Attention of q [B, N, S, D], which comes from ``query`` [B, S, hidden], over all keys there are."""
    total, rows = length_of(call, cached.keys, 2), length_of(call, query, 1)
    parts = [_mask(call, mask, query, query, total), call.operand(bias) if call.has(bias) else None]
    if call.attr("unidirectional", 0):
        queries = call.add("Add", call.add("Sub", total, rows), places(call, rows))
        parts.append(as_scores(call, visible(call, queries, places(call, total)), q))
    found = [part for part in parts if part is not None]
    whole = found[0] if found else None
    for part in found[1:]:
        whole = call.add("Add", whole or part, part)
    call.gives(0, attend(call, q, cached, whole, float(call.attr("scale", 0.0))))


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
    """One projection to query, key and value, then attention; the cache holds both, [2, B, N, P, D]."""
    call.refuse_operands(6)
    if call.attr("do_rotary", 0) or call.attr("past_present_share_buffer", 0):
        raise Opaque("rotary embedding or a shared buffer inside")
    projected = call.add("MatMul", call.operand(0), call.operand(1))
    _attend_projected(call, projected, mask=3, past=4, bias=5)


def quantized_attention(call: Call) -> None:
    """As ``attention``, of a quantised input and quantised weights."""
    if call.attr("do_rotary", 0) or call.attr("past_present_share_buffer", 0):
        raise Opaque("rotary embedding or a shared buffer inside")
    zeros = [[call.operand(i)] if call.has(i) else [] for i in (6, 7)]
    x = call.add("DequantizeLinear", call.operand(0), call.operand(3), *zeros[0])
    weights = call.add("DequantizeLinear", call.operand(1), call.operand(4), *zeros[1], axis=1)
    _attend_projected(call, call.add("MatMul", x, weights), mask=5, past=8, bias=9)


def _attend_projected(call: Call, projected: str, *, mask: int, past: int, bias: int) -> None:
    """Attention of query, key and value side by side in the last dim, of sizes that an attribute gives."""
    if call.has(2):
        projected = call.add("Add", projected, call.operand(2))
    sizes = [int(size) for size in call.attr("qkv_hidden_sizes", [])]
    q = (
        call.add("Split", projected, call.ints(*sizes), outputs=3, axis=-1)
        if sizes
        else call.add("Split", projected, outputs=3, axis=-1, num_outputs=3)
    )
    k, v = q[:-1] + "1", q[:-1] + "2"
    if not call.has(past) and not call.wants(1):
        _attend(call, q, k, v, _mask(call, mask, projected, projected), bias)
        return
    heads = int(call.attr("num_heads", 0))
    parts = [split_heads(call, part, heads) for part in (k, v)]
    if call.has(past):
        sides = [call.add("Constant", value_int=i) for i in (0, 1)]
        ends = [call.add("Gather", call.operand(past), side, axis=0) for side in sides]
        parts = [appended(call, old, new) for old, new in zip(ends, parts, strict=True)]
    _attend_cached(call, split_heads(call, q, heads), projected, Cached(*parts), mask, bias)
    both = [call.add("Unsqueeze", part, call.ints(0)) for part in parts]
    call.gives(1, call.add("Concat", *both, axis=0))


def multi_head_attention(call: Call) -> None:
    """Attention of query, key and value of [batch, length, hidden], packed together, or of a cache."""
    call.refuse_operands(8, 9)
    call.refuse_results(3)
    heads, rank = int(call.attr("num_heads", 0)), call.rank(0)
    plain = call.has(1) and call.has(2) and all(call.rank(i) in (3, None) for i in range(3))
    if plain and not call.has(6) and not call.wants(1) and not call.wants(2):
        # Of unknown rank they are taken for [batch, length, hidden].
        q, k, v = _biased(call)
        _attend(call, q, k, v, _mask(call, 4, q, k), 5)
        return
    query = call.operand(0)
    if plain:
        query, *others = _biased(call)
        q, k, v = (split_heads(call, part, heads) for part in (query, *others))
    elif rank == 3 and call.rank(1) == 4 and call.rank(2) == 4:
        query = _first_biased(call)
        q, k, v = split_heads(call, query, heads), call.operand(1), call.operand(2)
    elif call.has(3):
        raise Opaque("a bias beside packed keys")
    elif rank == 5 and not call.has(1):
        q, k, v = _unpacked(call, query, 3)
    elif rank == 3 and call.rank(1) == 5 and not call.has(2):
        q = split_heads(call, query, heads)
        k, v = _unpacked(call, call.operand(1), 2)
    else:
        raise Opaque("the ranks of query, key and value")
    if call.has(6) and call.has(7):
        k, v = appended(call, call.operand(6), k), appended(call, call.operand(7), v)
    _attend_cached(call, q, query, Cached(k, v), 4, 5)
    call.gives(1, k)
    call.gives(2, v)


def _unpacked(call: Call, x: str, count: int) -> list[str]:
    """[batch, length, heads, count, size] as ``count`` times [batch, heads, length, size]."""
    parts = [call.add("Gather", x, call.add("Constant", value_int=i), axis=3) for i in range(count)]
    return [call.add("Transpose", part, perm=[0, 2, 1, 3]) for part in parts]


def _first_biased(call: Call) -> str:
    """The query alone: keys and values come projected, so their part of the bias is not used."""
    query = call.operand(0)
    if not call.has(3):
        return query
    width = call.add("Shape", query, start=2, end=3)
    return call.add("Add", query, call.add("Slice", call.operand(3), call.ints(0), width, call.ints(0)))


def _biased(call: Call) -> list[str]:
    """Query, key and value; the bias is that of all three, one after the other: [3 * hidden] if these are equal."""
    parts = [call.operand(i) for i in range(3)]
    if not call.has(3):
        return parts
    width = call.add("Shape", parts[0], start=2, end=3)
    twice = call.add("Add", width, width)
    sizes = [width, call.add("Shape", parts[1], start=2, end=3)]
    starts = [call.ints(0), width, twice]
    ends = [width, call.add("Add", *sizes), call.add("Shape", call.operand(3), start=0, end=1)]
    zero = call.ints(0)
    return [
        call.add("Add", part, call.add("Slice", call.operand(3), start, end, zero))
        for part, start, end in zip(parts, starts, ends, strict=True)
    ]


RULES: dict[str, Rule] = {
    "Attention": attention,
    "QAttention": quantized_attention,
    "MultiHeadAttention": multi_head_attention,
}
