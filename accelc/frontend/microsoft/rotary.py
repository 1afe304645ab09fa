"""RotaryEmbedding of com.microsoft in plain ONNX.

Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from accelc.frontend.microsoft.call import Call, Opaque, Rule


def rotated(
    call: Call,
    x: str,
    at: str,
    tables: tuple[str, str],
    *,
    interleaved: bool,
    heads_first: bool,
    partial: int = 0,
) -> str:
    """Pairs of elements of ``x``'s last dim turned by the angle of their place.

    Args:
        call: The call.
        x: [batch, heads, length, size] if ``heads_first``, else [batch, length, heads, size].
        at: Places, int64 [batch or 1, length].
        tables: Cosines and sines, [places, pairs].
        interleaved: A pair is two neighbours, not an element of the first half and one of the second.
        heads_first: See ``x``.
        partial: Elements that are turned, if not all.
    """
    cosine, sine = (
        call.add("Unsqueeze", call.add("Gather", table, at, axis=0), call.ints(1 if heads_first else 2))
        for table in tables
    )
    rest = ""
    if partial:
        zero, cut, end, last = call.ints(0), call.ints(partial), call.ints(2**62), call.ints(-1)
        x, rest = call.add("Slice", x, zero, cut, last), call.add("Slice", x, cut, end, last)
    if interleaved:
        pairs = call.add("Reshape", x, call.ints(0, 0, 0, -1, 2))
        first, second = (
            call.add("Gather", pairs, call.add("Constant", value_int=i), axis=-1) for i in (0, 1)
        )
    else:
        first = call.add("Split", x, outputs=2, axis=-1, num_outputs=2)
        second = first[:-1] + "1"
    real = call.add("Sub", call.add("Mul", first, cosine), call.add("Mul", second, sine))
    other = call.add("Add", call.add("Mul", first, sine), call.add("Mul", second, cosine))
    if interleaved:
        both = [call.add("Unsqueeze", part, call.ints(-1)) for part in (real, other)]
        turned = call.add("Reshape", call.add("Concat", *both, axis=-1), call.ints(0, 0, 0, -1))
        return call.add("Concat", turned, rest, axis=-1) if rest else turned
    return call.add("Concat", real, other, *([rest] if rest else []), axis=-1)


def rotary_embedding(call: Call) -> None:
    """Of [batch, length, hidden] or [batch, heads, length, size]; places count from one offset, or are all given."""
    rank, at_rank = call.rank(0), call.rank(1)
    if rank not in (3, 4) or at_rank not in (1, 2):
        raise Opaque("the rank of the input or of the places is not known")
    if call.attr("is_packed_batching", 0) or float(call.attr("scale", 1.0)) != 1.0:
        raise Opaque("packed batches, or a scale")
    x, at, partial = call.operand(0), call.operand(1), int(call.attr("rotary_embedding_dim", 0))
    heads_first = rank == 4
    if at_rank == 1:
        length = call.add("Squeeze", call.add("Shape", x, start=rank - 2, end=rank - 1), call.ints(0))
        zero, one = (call.add("Constant", value_int=number) for number in (0, 1))
        at = call.add("Unsqueeze", call.add("Add", at, call.add("Range", zero, length, one)), call.ints(0))
    if rank == 3:
        heads = int(call.attr("num_heads", 0))
        if heads:
            shape = call.ints(0, 0, heads, -1)
        else:
            size = call.add("Mul", call.add("Shape", call.operand(2), start=1, end=2), call.ints(2))
            shape = call.add("Concat", call.ints(0, 0, -1), size, axis=0)
        x = call.add("Reshape", x, shape)
    tables = (call.operand(2), call.operand(3))
    interleaved = bool(call.attr("interleaved", 0))
    result = rotated(call, x, at, tables, interleaved=interleaved, heads_first=heads_first, partial=partial)
    call.gives(0, call.add("Reshape", result, call.ints(0, 0, -1)) if rank == 3 else result)


RULES: dict[str, Rule] = {"RotaryEmbedding": rotary_embedding}
