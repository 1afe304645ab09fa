"""Attention of com.microsoft with a key-value cache: the cache is a Concat, what may be seen a mask.

Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from onnx import TensorProto

from accelc.frontend.microsoft.call import Call, Opaque, Rule
from accelc.frontend.microsoft.rotary import rotated


@dataclass(frozen=True)
class Cached:
    """Keys and values with what came before, [batch, heads, length, size]."""

    keys: str
    values: str


def split_heads(call: Call, x: str, heads: int) -> str:
    """[batch, length, hidden] as [batch, heads, length, size]."""
    return call.add("Transpose", call.add("Reshape", x, call.ints(0, 0, heads, -1)), perm=[0, 2, 1, 3])


def length_of(call: Call, x: str, axis: int) -> str:
    """Extent of one dim, a scalar."""
    return call.add("Squeeze", call.add("Shape", x, start=axis, end=axis + 1), call.ints(0))


def places(call: Call, count: str) -> str:
    """0, 1, 2, ... below ``count``."""
    zero, one = (call.add("Constant", value_int=number) for number in (0, 1))
    return call.add("Range", zero, count, one)


def appended(call: Call, past: str, new: str) -> str:
    """The cache and the new part behind it."""
    return call.add("Concat", past, new, axis=2)


def visible(call: Call, queries: str, keys: str, window: int = -1) -> str:
    """True where the query at ``queries`` [..., S] may see the key at ``keys`` [T]: not later, not long before."""
    rows = call.add("Unsqueeze", queries, call.ints(-1))
    seen = call.add("LessOrEqual", keys, rows)
    if window < 0:
        return seen
    first = call.add("Sub", rows, call.add("Constant", value_int=window))
    return call.add("And", seen, call.add("Greater", keys, first))


def as_scores(call: Call, seen: str, like: str, low: float = -3.0e38) -> str:
    """A boolean mask as what is added to scores."""
    return call.add("Where", seen, call.number(0.0, like), call.number(low, like))


def attend(call: Call, q: str, cached: Cached, mask: str | None, scale: float) -> str:
    """softmax(q keys' * scale + mask) values as [batch, length, hidden]."""
    attributes: dict[str, Any] = {"scale": scale} if scale else {}
    operands = [q, cached.keys, cached.values, *([mask] if mask else [])]
    return _flat(call, call.add("Attention", *operands, **attributes))


def _flat(call: Call, x: str) -> str:
    return call.add("Reshape", call.add("Transpose", x, perm=[0, 2, 1, 3]), call.ints(0, 0, -1))


def _capped(call: Call, q: str, cached: Cached, seen: str, scale: float, cap: float) -> str:
    """As ``attend``, the scores bounded by ``cap`` before the mask; ``seen`` is boolean."""
    shared, heads = int(call.attr("kv_num_heads", 0)), int(call.attr("num_heads", 0))
    inner = call.add("Shape", q, start=2)
    grouped = call.add("Reshape", q, call.add("Concat", call.ints(0, shared, heads // shared), inner, axis=0))
    keys, values = (call.add("Unsqueeze", part, call.ints(2)) for part in (cached.keys, cached.values))
    scores = call.add("MatMul", grouped, call.add("Transpose", keys, perm=[0, 1, 2, 4, 3]))
    if scale:
        scores = call.add("Mul", scores, call.number(scale, scores))
    else:
        size = call.add("CastLike", call.add("Shape", q, start=3), scores)
        scores = call.add("Div", scores, call.add("Sqrt", size))
    bound = call.number(cap, scores)
    scores = call.add("Mul", call.add("Tanh", call.add("Div", scores, bound)), bound)
    hidden = call.add("Unsqueeze", as_scores(call, seen, scores), call.ints(1, 2))
    shares = call.add("Softmax", call.add("Add", scores, hidden), axis=-1)
    mixed = call.add("MatMul", shares, values)
    back = call.add("Concat", call.ints(0, heads), inner, axis=0)
    return _flat(call, call.add("Reshape", mixed, back))


def group_query_attention(call: Call) -> None:
    """Queries share heads of keys and values; rows of a batch may have caches of different length.

    The cache given holds just what came before: a buffer that is longer and shared with the result is not known here.
    """
    call.refuse_operands(11, 12, 13)
    call.refuse_results(3)
    if call.attr("smooth_softmax", 0) > 0 or call.attr("k_quant_type", "NONE") != "NONE":
        raise Opaque("smooth softmax, or a quantised cache")
    heads, shared = int(call.attr("num_heads", 0)), int(call.attr("kv_num_heads", 0))
    q, k, v = _query_key_value(call, heads, shared)
    rows = length_of(call, call.operand(0), 1)
    one = call.add("Constant", value_int=1)
    lengths = call.add("Add", call.add("Cast", call.operand(5), to=TensorProto.INT64), one)
    lengths = call.add("Reshape", lengths, call.ints(-1, 1))  # [batch, 1], the new part included
    total = call.add("Reshape", call.add("Cast", call.operand(6), to=TensorProto.INT64), call.ints(1))
    first = call.add("Equal", total, rows)
    before = call.add("Where", first, call.add("Constant", value_int=0), call.add("Sub", lengths, rows))
    queries = call.add("Add", before, places(call, rows))  # [batch, S]: places of the new part
    if call.attr("do_rotary", 0):
        at = call.operand(9) if call.has(9) else queries
        tables = (call.operand(7), call.operand(8))
        interleaved = bool(call.attr("rotary_interleaved", 0))
        q, k = (rotated(call, x, at, tables, interleaved=interleaved, heads_first=True) for x in (q, k))
    cached = Cached(k, v)
    if call.has(3) and call.has(4):
        cached = _joined(call, cached, before, lengths)
    keys = places(call, length_of(call, cached.keys, 2))
    window = int(call.attr("local_window_size", -1))
    seen = visible(call, queries, keys, window)
    scale, cap = float(call.attr("scale", 0.0)), float(call.attr("softcap", 0.0))
    if cap and call.has(10):
        raise Opaque("a bias and softcap")
    mask = call.add("Unsqueeze", as_scores(call, seen, q), call.ints(1)) if not cap else None
    if mask is not None and call.has(10):
        mask = call.add("Add", mask, call.operand(10))
    result = _capped(call, q, cached, seen, scale, cap) if cap else attend(call, q, cached, mask, scale)
    call.gives(0, result)
    call.gives(1, cached.keys)
    call.gives(2, cached.values)


def _query_key_value(call: Call, heads: int, shared: int) -> tuple[str, str, str]:
    if call.has(1) and call.has(2):
        parts = zip(range(3), (heads, shared, shared), strict=True)
        q, k, v = (split_heads(call, call.operand(i), count) for i, count in parts)
        return q, k, v
    packed = split_heads(call, call.operand(0), heads + 2 * shared)
    q = call.add("Split", packed, call.ints(heads, shared, shared), outputs=3, axis=1)
    return q, q[:-1] + "1", q[:-1] + "2"


def _joined(call: Call, new: Cached, before: str, lengths: str) -> Cached:
    """The new part behind what counts of each row's cache, ``before`` keys; zeros from ``lengths`` on."""
    old = length_of(call, call.operand(3), 2)
    whole = appended(call, call.operand(3), new.keys)
    keys = places(call, length_of(call, whole, 2))
    # Row b takes its first ``before[b]`` keys from the cache, and then the new ones, which lie at ``old``.
    moved = call.add("Sub", call.add("Add", keys, old), before)
    last = call.add("Sub", length_of(call, whole, 2), call.add("Constant", value_int=1))
    source = call.add("Where", call.add("Less", keys, before), keys, call.add("Min", moved, last))
    index = call.add("Unsqueeze", source, call.ints(2))
    counts = call.add("Unsqueeze", call.add("Less", keys, lengths), call.ints(1, 3))
    parts = []
    for joined in (whole, appended(call, call.operand(4), new.values)):
        inside = call.add("Transpose", joined, perm=[0, 2, 1, 3])
        taken = call.add("Transpose", call.add("GatherND", inside, index, batch_dims=1), perm=[0, 2, 1, 3])
        parts.append(call.add("Where", counts, taken, call.number(0.0, taken)))
    return Cached(*parts)


RULES: dict[str, Rule] = {"GroupQueryAttention": group_query_attention}
