"""Family ``softmax``: softmax or log-softmax of an expression along rows.

Params: those of row_family.py, and ``log``. Three passes over a row that stays in the first-level cache: maximum,
exponentials and their sum, scaling. A row with NaN or with no finite maximum gives NaN, as NumPy's formula does.
"""

from __future__ import annotations

from typing import ClassVar

from accelc.errors import ArtifactError
from accelc.targets.numba_cpu.kernels.base import Params
from accelc.targets.numba_cpu.kernels.row_family import RowFamily, RowText


class Softmax(RowFamily):
    """y = exp(x - max) / sum(exp(x - max)), or its logarithm."""

    name: ClassVar[str] = "softmax"
    element_ns: ClassVar[float] = 0.9

    def check(self, params: Params) -> None:
        """See Family."""
        super().check(params)
        if not isinstance(params.get("log"), bool):
            raise ArtifactError("malformed kernel parameters", why="'log' is not a boolean")

    def body(self, params: Params, text: RowText, pad: str) -> list[str]:
        """See RowFamily."""
        shifted = "{v} = vexp(vsub({v}, top))"
        keep = [] if params["log"] else ["vstore(p_y, o_y + {i}, {v})"]
        keep_tail = [] if params["log"] else ["vstorem(p_y, o_y + i, v0, n - i)"]
        lines = [
            *text.accumulators(pad, "-math.inf"),
            *text.first_pass(
                pad, "{a} = vmaxq({a}, {v})", "{a} = vselect(vmask({a}, n - i), vmaxq({a}, {v}), {a})"
            ),
            f"{pad}top = vhmax({text.joined('vmaxq')})",
            *text.accumulators(pad, "0"),
            *text.next_pass(
                pad,
                [shifted, "{a} = vadd({a}, {v})", *keep],
                [shifted, "{a} = vadd({a}, vselect(vmask({a}, n - i), {v}, 0.0))", *keep_tail],
                from_input=True,
            ),
            f"{pad}total = vsum({text.joined('vadd')})",
        ]
        if params["log"]:
            lines.append(f"{pad}shift = vlike(a0, top)")
            lines.append(f"{pad}scale = vlog(vlike(a0, total))")
            # Two subtractions: adding top and log(total) first would lose digits where top is large.
            change = "vsub(vsub({v}, shift), scale)"
        else:
            lines.append(f"{pad}scale = vdiv(1.0, vlike(a0, total))")
            change = "vmul({v}, scale)"
        return lines + text.next_pass(
            pad,
            [f"vstore(p_y, o_y + {{i}}, {change})"],
            [f"vstorem(p_y, o_y + i, {change}, n - i)"],
            # The logarithm starts again from x; its second pass only sums.
            from_input=params["log"],
        )
