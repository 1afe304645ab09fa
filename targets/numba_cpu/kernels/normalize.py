"""Family ``normalize``: layer, RMS and instance normalisation of an expression along rows.

Params: those of row_family.py, ``epsilon``, ``center`` (subtract the mean), and ``tables`` 0 to 2: scale, bias.
The variance is that of the centred row (two passes), so rows with a large mean keep their digits.
"""

from __future__ import annotations

import math
from typing import ClassVar

from accelc.errors import ArtifactError
from accelc.targets.numba_cpu.kernels.base import Params
from accelc.targets.numba_cpu.kernels.row_family import RowFamily, RowText


class Normalize(RowFamily):
    """y = (x - mean) / sqrt(var + epsilon) * scale + bias; without the mean for RMS normalisation."""

    name: ClassVar[str] = "normalize"
    table_names: ClassVar[tuple[str, ...]] = ("scale", "bias")

    def check(self, params: Params) -> None:
        """See Family."""
        super().check(params)
        epsilon = params.get("epsilon")
        if isinstance(epsilon, bool) or not isinstance(epsilon, int | float) or not math.isfinite(epsilon):
            raise ArtifactError("malformed kernel parameters", why=f"'epsilon' is {epsilon!r}")
        if not isinstance(params.get("center"), bool):
            raise ArtifactError("malformed kernel parameters", why="'center' is not a boolean")

    def body(self, params: Params, text: RowText, pad: str) -> list[str]:
        """See RowFamily."""
        lines = text.accumulators(pad, "0")
        lane = "vmask({a}, n - i)"
        if params["center"]:
            lines += text.first_pass(
                pad, "{a} = vadd({a}, {v})", f"{{a}} = vadd({{a}}, vselect({lane}, {{v}}, 0.0))"
            )
            lines.append(f"{pad}mean = vlike(a0, vsum({text.joined('vadd')}) / n)")
            lines += text.accumulators(pad, "0")
            centred = "{v} = vsub({v}, mean)"
            lines += text.next_pass(
                pad,
                [centred, "{a} = vfma({v}, {v}, {a})"],
                [centred, f"{{v}} = vselect({lane}, {{v}}, 0.0)", "{a} = vfma({v}, {v}, {a})"],
                from_input=True,
            )
        else:
            lines += text.first_pass(
                pad,
                "{a} = vfma({v}, {v}, {a})",
                f"{{a}} = vselect({lane}, vfma({{v}}, {{v}}, {{a}}), {{a}})",
            )
        total = f"vlike(a0, vsum({text.joined('vadd')}) / n)"
        lines.append(f"{pad}factor = vdiv(1.0, vsqrt(vadd({total}, {float(params['epsilon'])!r})))")
        change = "vmul(vsub({v}, mean), factor)" if params["center"] else "vmul({v}, factor)"
        return lines + text.next_pass(
            pad,
            [_affine(change, params["tables"], "")],
            [_affine(change, params["tables"], "n - i")],
            from_input=True,
        )


def _affine(change: str, tables: int, count: str) -> str:
    """The statement that scales, shifts and stores a vector."""

    def table(name: str) -> str:
        return f"vloadm(p_{name}, i, {count})" if count else f"vload(p_{name}, {{i}})"

    if tables == 1:
        change = f"vmul({change}, {table('scale')})"
    elif tables == 2:
        change = f"vfma({change}, {table('scale')}, {table('bias')})"
    return f"vstorem(p_y, o_y + i, {change}, {count})" if count else f"vstore(p_y, o_y + {{i}}, {change})"
