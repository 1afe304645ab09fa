"""The constant second operand with which a Reshape gives a wanted shape, symbolic dims included."""

from __future__ import annotations

from collections.abc import Sequence

from accelc.ir.dims import Dim, same

Dims = Sequence[Dim | None]


def reshape_target(
    source: Dims | None, wanted: Dims | None, inferred: int | None = None
) -> tuple[int, ...] | str:
    """A Reshape target (allowzero=0) that turns shape ``source`` into ``wanted`` for every value of the symbols.

    ``0`` copies the dim at the same place of the source. ``-1`` is used only beside dims that are known and not
    zero, because ``-1`` is undefined for a tensor without elements otherwise.

    Args:
        source: Dims of the operand: ints, expressions, None where unknown; None if the rank is unknown.
        wanted: Dims of the result.
        inferred: Place of the dim that the model itself writes as -1, with the same restriction.

    Returns:
        The target, or the reason why there is none.

    Source: https://onnx.ai/onnx/operators/onnx__Reshape.html
    """
    if wanted is None:
        return "the rank of the result is unknown"
    target: list[int] = []
    open_places: list[int] = []
    for place, dim in enumerate(wanted):
        if isinstance(dim, int) and dim != 0:
            target.append(dim)
            continue
        twin = source[place] if source is not None and place < len(source) else None
        if dim is not None and twin is not None and same(dim, twin):
            target.append(0)
        elif dim == 0:
            return f"dim {place} of the result is 0, which Reshape cannot ask for here"
        else:
            target.append(-1)
            open_places.append(place)
    if len(open_places) > 1:
        return f"dims {open_places} of the result are not known and not copied"
    if open_places and 0 in target and open_places != [inferred]:
        return f"dim {open_places[0]} would be inferred beside dims that may be 0"
    return tuple(target)
