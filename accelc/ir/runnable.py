"""Forms of a graph that runtimes have kernels for.

Opset 22 renewed many ops, to let bfloat16 in. onnxruntime 1.32 has kernels of the renewed ops for fewer dtypes than it
has of the old ones, and of some none: a model that ran when it came in would be refused when it goes out.
"""

from __future__ import annotations

import onnx.parser
import onnx_ir as ir

from accelc.ir.inline import inline_call
from accelc.ir.lower_opset import knows
from accelc.ir.pass_base import PassContext
from accelc.ir.rewrite import Editor, regions

DOMAIN = "accelc.plain"
"""Domain of the functions made here; none is left."""
OLDER_OPSET = 21
"""The last opset before the renewal."""
RENEWED = frozenset({"Bernoulli", "GlobalLpPool", "RandomNormalLike", "RandomUniformLike", "RoiAlign"})
"""Ops without any kernel from opset 22 on."""
_DOUBLE = frozenset({ir.DataType.DOUBLE})
_WITHOUT_KERNEL: dict[str, frozenset[ir.DataType]] = {
    **dict.fromkeys(
        (
            "Elu",
            "HardSigmoid",
            "HardSwish",
            "LeakyRelu",
            "Mish",
            "Selu",
            "Softplus",
            "Softsign",
            "ThresholdedRelu",
        ),
        _DOUBLE,
    ),
    "PRelu": _DOUBLE | {ir.DataType.INT32, ir.DataType.INT64, ir.DataType.UINT32, ir.DataType.UINT64},
    "Relu": frozenset({ir.DataType.INT64}),
}
_SOFTPLUS = [
    "m = Abs(x)",
    "n = Neg(m)",
    "e = Exp(n)",
    "f = Add({one}, e)",
    "l = Log(f)",
    "p = Max(x, {zero})",
]
_HARD = ["a = Mul(x, {alpha})", "b = Add(a, {beta})", "h = Max(b, {zero})"]
_BELOW = ["e = Exp(x)", "d = Sub(e, {one})", "a = Mul({alpha}, d)", "n = LessOrEqual(x, {zero})"]
_LINES: dict[str, list[str]] = {
    "Elu": [*_BELOW, "y = Where(n, a, x)"],
    "HardSigmoid": [*_HARD, "y = Min(h, {one})"],
    "HardSwish": [*_HARD, "g = Min(h, {one})", "y = Mul(x, g)"],
    "LeakyRelu": ["a = Mul(x, {alpha})", "n = Less(x, {zero})", "y = Where(n, a, x)"],
    "Mish": [*_SOFTPLUS, "s = Add(p, l)", "t = Tanh(s)", "y = Mul(x, t)"],
    "PRelu": ["a = Mul(x, slope)", "n = Less(x, {zero})", "y = Where(n, a, x)"],
    "Relu": ["y = Max(x, {zero})"],
    "Selu": [*_BELOW, "s = Where(n, a, x)", "y = Mul(s, {gamma})"],
    "Softplus": [*_SOFTPLUS, "y = Add(p, l)"],
    "Softsign": ["a = Abs(x)", "b = Add(a, {one})", "y = Div(x, b)"],
    "ThresholdedRelu": ["n = Greater(x, {alpha})", "y = Where(n, x, {zero})"],
}
"""Bodies by op; constants stand in braces. Softplus is written so that nothing overflows."""
_DEFAULTS: dict[str, dict[str, float]] = {
    "Elu": {"alpha": 1.0},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "HardSwish": {"alpha": 1.0 / 6.0, "beta": 0.5},
    "LeakyRelu": {"alpha": 0.01},
    "Selu": {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
    "ThresholdedRelu": {"alpha": 1.0},
}


def make_runnable(model: ir.Model) -> None:
    """Write ops for which onnxruntime has no kernel by others, or go back to an opset where it has; in place.

    Args:
        model: Plain ONNX at the pinned opset, without local functions, with inferred dtypes. Ops of which the older
            opset knows another form keep the newer opset.
    """
    edit = Editor(model, PassContext())
    for graph in list(regions(model)):
        for node in list(graph):
            x = node.inputs[0] if node.inputs else None
            if node.domain == "" and x is not None and x.dtype in _WITHOUT_KERNEL.get(node.op_type, ()):
                inline_call(edit, node, _definition(node, x))
    nodes = [node for graph in regions(model) for node in graph]
    if any(node.domain == "" and node.op_type in RENEWED for node in nodes) and all(
        knows(node, OLDER_OPSET) for node in nodes
    ):
        model.opset_imports[""] = OLDER_OPSET


def _definition(node: ir.Node, x: ir.Value) -> ir.Function:
    """The op as a function of ops that every runtime has, with its attributes written in."""
    kind = {ir.DataType.DOUBLE: "double"}.get(x.dtype or ir.DataType.UNDEFINED, str(x.dtype).lower())

    def number(value: float) -> str:
        shown = repr(float(value)) if kind == "double" else str(int(value))
        return f"Constant <value = {kind} {{{shown}}}> ()"

    lines = _LINES[node.op_type]
    constants = {"zero": 0.0, "one": 1.0}
    for name, default in _DEFAULTS.get(node.op_type, {}).items():
        constants[name] = node.attributes.get_float(name, default)
    used = {name: value for name, value in constants.items() if any(f"{{{name}}}" in line for line in lines)}
    body = [f"c_{name} = {number(value)}" for name, value in used.items()]
    body += [line.format(**{name: f"c_{name}" for name in used}) for line in lines]
    operands = ", ".join(("x", "slope")[: len(node.inputs)])
    text = f'<domain: "{DOMAIN}", opset_import: ["" : 24]> f ({operands}) => (y) {{ {" ".join(body)} }}'
    return ir.serde.deserialize_function(onnx.parser.parse_function(text))
