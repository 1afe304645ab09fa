"""Family ``irregular``: ops that follow computed places element by element, written as scalar loops.

All operands are dense and row-major. The texts are in irregular_text.py; here are their checks and descriptors:
addresses of outputs and inputs, then the extents of all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import (
    Address,
    Binding,
    Family,
    KernelSource,
    Params,
    Tensor,
    itemsize,
)
from accelc.targets.numba_cpu.kernels.irregular_text import HELPERS, KINDS
from accelc.targets.numba_cpu.kernels.resize_text import TAPS
from accelc.targets.numba_cpu.kernels.rows import product
from accelc.targets.numba_cpu.kernels.text import POINTERS, SHORT, VECTOR_FLOATS, check_int, check_name

_LIMIT = 1 << 20


class Irregular(Family):
    """Params: ``kind``, ``dtype``, and what the kind asks for (irregular_text.Kind)."""

    name: ClassVar[str] = "irregular"

    def check(self, params: Params) -> None:
        """See Family."""
        kind = KINDS[check_name(params, "kind", tuple(KINDS))]
        dtypes = tuple(name for name in POINTERS if name in VECTOR_FLOATS or not kind.floating)
        check_name(params, "dtype", dtypes)
        for flag in kind.flags:
            if not isinstance(params.get(flag), bool):
                raise ArtifactError("malformed kernel parameters", why=f"{flag!r} is not a boolean")
        for key, length in kind.lists:
            found = params.get(key)
            if not isinstance(found, list | tuple) or len(found) != length:
                raise ArtifactError("malformed kernel parameters", why=f"{key!r} has {length} numbers")
            if any(type(number) is not int or not -_LIMIT <= number <= _LIMIT for number in found):
                raise ArtifactError("malformed kernel parameters", why=f"{key!r} is {found!r}")
        for key in kind.numbers:
            number = params.get(key)
            if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
                raise ArtifactError("malformed kernel parameters", why=f"{key!r} is no number")
        for key, names in kind.names:
            check_name(params, key, names)
        if "rank" in kind.numbers:
            check_int(params, "rank", 1, 3)
        if "offset_groups" in kind.numbers:
            check_int(params, "offset_groups", 1, _LIMIT)

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See Family."""
        kind, dtype = KINDS[params["kind"]], params["dtype"]
        operands = _operands(params)
        lines = ["def kernel(d, lo, hi, tid):"]
        word = len(operands)
        for i, (name, rank, own) in enumerate(operands):
            lines.append(f"    {name} = {POINTERS[own or dtype]}(get(d, {i}))")
            lines += [f"    {name}_{dim} = get(d, {word + dim})" for dim in range(rank)]
            word += rank
        lines.append("    for task in range(lo, hi):")
        lines += [f"        {line}" for line in kind.body(params).strip().split("\n")]
        text = HELPERS + "\n\n" + "\n".join(lines) + "\n"
        return KernelSource(f"{params['kind']}_{dtype}", text.replace("Z(", f"{SHORT[dtype]}("))

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See Family."""
        kind = KINDS[params["kind"]]
        given: list[Tensor | None] = [*outputs, *inputs]
        operands = _operands(params)
        if len(given) != len(operands):
            raise CallError(f"{params['kind']} takes {len(operands)} operands", fix="recompile the model")
        words: list[int | Address] = []
        extents: list[int] = []
        for (name, rank, own), tensor in zip(operands, given, strict=True):
            if tensor is None:
                if name != "mask":
                    raise CallError(f"{params['kind']} lacks operand {name}", fix="recompile the model")
                words.append(0)
                extents += [0] * rank
                continue
            same = itemsize(tensor.dtype) == itemsize(own or params["dtype"])
            if len(tensor.shape) != rank or not same:
                raise CallError(f"operand {name} of {params['kind']} has shape {list(tensor.shape)}")
            words.append(tensor.address())
            extents += tensor.shape
        check_shapes(params, {o[0]: t for o, t in zip(operands, given, strict=True) if t is not None})
        y = outputs[0]
        if y.size == 0:
            return Binding([], 0)
        # One task for each output pixel of a grid, all channels of it.
        tasks = product(y.shape[: kind.tasks]) if kind.tasks else y.shape[0] * y.shape[2]
        grain = max(1, 2048 // max(1, y.size // tasks))
        return Binding([*words, *extents], tasks, grain=grain)


def check_shapes(params: Params, found: dict[str, Tensor]) -> None:
    """Raise CallError unless the operands fit together so that no kernel leaves their memory."""
    kind, y = params["kind"], found["y"].shape
    x = found["x"].shape if "x" in found else ()
    fits = True
    if kind == "resize_taps":
        fits = found["z"].shape == y and y[0] == TAPS[params["mode"]] and found["sizes"].shape == (1,)
    elif kind == "pad_places":
        fits = found["sizes"].shape == (1,)
    elif kind == "reverse_sequence":
        fits = x == y and found["lens"].shape[0] == y[0 if params["batch_first"] else 1]
    elif kind == "det":
        fits = x[1] == x[2] and y[0] == x[0] and found["w"].shape == x
    elif kind == "max_pool":
        fits = x[0] == y[0] and found["z"].shape == y and (product(x[1:]) > 0 or product(y) == 0)
    elif kind == "roi_align":
        fits = found["rois"].shape == (y[0], 4) and found["index"].shape == (y[0],) and x[1] == y[1]
        fits = fits and (product(x) > 0 or product(y) == 0)
    elif kind == "deform_columns":
        offset, taps = found["offset"].shape, product(params["kernel"])
        groups = params["offset_groups"]
        fits = y == (x[0], offset[2] * offset[3], taps, x[1]) and offset[:2] == (x[0], 2 * groups * taps)
        fits = fits and x[1] % groups == 0
        if "mask" in found:
            fits = fits and found["mask"].shape == (x[0], groups * taps, *offset[2:])
        fits = fits and params["mask"] == ("mask" in found)
    else:
        grid = found["grid"].shape
        fits = y[:2] == x[:2] and grid == (x[0], y[2], params["rank"])
        fits = fits and (product(x) > 0 or product(y) == 0) and product(x[2 + params["rank"] :]) == 1
    if not fits:
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in found.items())
        raise CallError(f"shapes do not fit together: {shapes}", fix="check the shapes of the inputs")


def _operands(params: Params) -> tuple[tuple[str, int, str], ...]:
    kind = KINDS[params["kind"]]
    return (*kind.outputs, *kind.inputs)
