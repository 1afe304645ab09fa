"""Samplers of single ops: each picks operands and attributes and adds one node.

A sampler may propose what does not fit: the builder runs every node and rejects what onnxruntime rejects.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from fuzz_graph import BINDINGS, Builder, Dim, RejectedError, Value

Sampler = Callable[[Builder], object]

FLOATS = ("float32", "float64", "float16")
INTS = ("int64", "int32", "uint8", "int8")
NUMBERS = (*FLOATS, *INTS)
UNARY = [
    "Relu", "Sigmoid", "Tanh", "Neg", "Abs", "Erf", "Exp", "Softplus",
    "LeakyRelu", "Elu", "Selu", "HardSigmoid", "HardSwish", "Sin", "Cos", "Floor",
    "Ceil", "Round", "Sign", "Sqrt", "Log", "Reciprocal", "Softsign", "Celu",
    "ThresholdedRelu", "Mish", "Gelu", "Atan", "Sinh", "Asinh", "Swish",
]  # fmt: skip
SLOPES: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
    "LeakyRelu": (("alpha",), (0.0, 0.125, 1.5)),
    "Elu": (("alpha",), (0.0, 0.5, 2.0)),
    "Celu": (("alpha",), (0.5, 2.0)),
    "Selu": (("alpha", "gamma"), (0.5, 1.0, 2.0)),
    "HardSigmoid": (("alpha", "beta"), (0.0, 0.25, 0.5)),
    "ThresholdedRelu": (("alpha",), (0.0, 0.5, 2.0)),
}


def unary(b: Builder) -> None:
    op = b.choose(UNARY[:8] * 3 + UNARY)
    x = b.pick(FLOATS if op not in ("Neg", "Abs", "Sign", "Relu") else NUMBERS)
    attrs: dict[str, object] = {}
    if op in SLOPES and b.chance(0.6):
        attrs = {name: float(b.choose(SLOPES[op][1])) for name in SLOPES[op][0]}
    if op == "Gelu" and b.chance(0.5):
        attrs = {"approximate": "tanh"}
    if op == "Sqrt" or (op == "Log" and b.chance(0.8)):
        x = b.emit("Abs", [x])
        if op == "Log":
            x = b.emit("Add", [x, scalar(b, x.dtype, 1)])
    b.emit(op, [x], **attrs)


def scalar(b: Builder, dtype: str, number: float) -> Value:
    """A rank-0 (or [1]) constant."""
    array = np.array(number, dtype=dtype)
    return b.const(array.reshape(1) if b.chance(0.2) else array)


def partner(b: Builder, x: Value) -> Value:
    """An operand of the same dtype that broadcasts with ``x``: another value, a new input or a constant."""
    roll = b.rng.random()
    if roll < 0.4:
        found = [v for v in b.pool if v.dtype == x.dtype and broadcasts(v.dims, x.dims)]
        if found:
            return found[int(b.rng.integers(len(found)))]
    if roll < 0.65 and len(b.inputs) < 6:
        return b.new_input(x.dtype, reduced(b, x.dims))
    if roll < 0.8:
        return b.const(b.random_array(x.dtype, () if b.chance(0.7) else (1,)))
    sizes = [dim[0] if len(set(dim)) == 1 and b.chance(0.8) else 1 for dim in x.dims]
    return b.const(b.random_array(x.dtype, sizes[b.integer(0, max(0, x.rank - 1)) :]))


def broadcasts(a: tuple[Dim, ...], c: tuple[Dim, ...]) -> bool:
    """Whether the dims broadcast for every binding."""
    pairs = zip(reversed(a), reversed(c), strict=False)
    return all(p == q or p == 1 or q == 1 for x, y in pairs for p, q in zip(x, y, strict=True))


def broadcasts_to(a: tuple[Dim, ...], c: tuple[Dim, ...]) -> bool:
    """Whether ``a`` broadcasts to ``c`` for every binding and leaves it as it is."""
    pairs = zip(reversed(a), reversed(c), strict=False)
    return all(p in (1, q) for x, y in pairs for p, q in zip(x, y, strict=True))


def reduced(b: Builder, dims: tuple[Dim, ...]) -> list[Dim]:
    """Dims that broadcast to ``dims``."""
    kept = [dim if b.chance(0.75) else (1,) * BINDINGS for dim in dims]
    return kept if b.chance(0.6) else kept[b.integer(0, len(kept)) :]


def binary(b: Builder) -> None:
    op = b.choose(["Add", "Sub", "Mul"] * 4 + ["Div", "Min", "Max", "Pow", "Mod", "Sum", "Mean", "PRelu"])
    x = b.pick(NUMBERS)
    y = partner(b, x)
    if op == "Div":
        y = b.emit("Add", [b.emit("Abs", [y]), scalar(b, x.dtype, 1)])
    if op == "Pow":
        x = b.emit("Abs", [x]) if b.chance(0.7) else x
        y = scalar(b, x.dtype, float(b.choose([2, 3, 0.5, 1, 0, 2]))) if b.chance(0.8) else y
    if op == "Mod":
        y = scalar(b, x.dtype, b.choose([2, 3, 5]))
        b.emit(op, [x, y], fmod=1 if x.dtype in FLOATS or b.chance(0.3) else 0)
        return
    if op == "PRelu" and (y.rank > x.rank or not broadcasts_to(y.dims, x.dims)):
        raise RejectedError  # onnxruntime takes any slope, ONNX only one that does not widen x
    pair = [y, x] if b.chance(0.3) and op not in ("Div", "Pow", "PRelu") else [x, y]
    if op in ("Sum", "Mean", "Min", "Max") and b.chance(0.3):
        pair.append(partner(b, x))
    b.emit(op, pair)


def comparison(b: Builder) -> None:
    x = b.pick(NUMBERS)
    b.emit(b.choose(["Less", "Greater", "Equal", "LessOrEqual", "GreaterOrEqual"]), [x, partner(b, x)])


def logical(b: Builder) -> None:
    x = b.pick(["bool"])
    op = b.choose(["And", "Or", "Xor", "Not"])
    b.emit(op, [x] if op == "Not" else [x, partner(b, x)])


def bits(b: Builder) -> None:
    x = b.pick(["int32", "int64", "uint8"])
    op = b.choose(["BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"])
    b.emit(op, [x] if op == "BitwiseNot" else [x, partner(b, x)])


def float_tests(b: Builder) -> None:
    b.emit(b.choose(["IsNaN", "IsInf"]), [b.pick(["float32", "float64"])])


def where(b: Builder) -> None:
    x = b.pick((*NUMBERS, "bool"))
    found = [v for v in b.pool if v.dtype == "bool" and broadcasts(v.dims, x.dims)]
    condition = b.choose(found) if found else b.emit("Greater", [x, partner(b, x)])
    branches = [x, partner(b, x)]
    b.emit("Where", [condition, *(branches if b.chance(0.5) else branches[::-1])])


def clip(b: Builder) -> None:
    x = b.pick(NUMBERS)
    low = b.const(np.array(b.integer(0, 1) - 1 if x.dtype != "uint8" else 1, x.dtype))
    high = b.const(np.array(b.integer(1, 3), x.dtype))
    b.emit("Clip", b.choose([[x, low, high], [x, low], [x, None, high], [x]]))


def cast(b: Builder) -> None:
    x = b.pick((*NUMBERS, "bool"))
    to = b.choose(["float32"] * 5 + ["float64", "int64", "int32", "bool", "float16", "uint8", "int8"])
    if b.chance(0.2):
        b.emit("CastLike", [x, b.const(np.ones(1, to))])
        return
    if to == "uint8" and x.dtype in FLOATS:
        x = b.emit("Abs", [x])
    b.emit("Cast", [x], to=int(np_to_onnx(to)))


def np_to_onnx(dtype: str) -> int:
    """ONNX element type."""
    from fuzz_graph import tensor_type

    return tensor_type(dtype)


def axes_of(b: Builder, x: Value) -> list[int]:
    """Some axes, none twice, negative ones among them."""
    if x.rank == 0:
        raise RejectedError
    count = b.integer(1, x.rank) if b.chance(0.4) else 1
    chosen = b.rng.permutation(x.rank)[:count] if b.chance(0.5) else range(x.rank - count, x.rank)
    return [int(a) - (x.rank if b.chance(0.4) else 0) for a in chosen]


def reduction(b: Builder) -> None:
    x = b.pick(NUMBERS, (0, 6))
    ops = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"] * 2
    ops += ["ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"]
    ops += ["ReduceLogSumExp", "ReduceLogSum"] if x.dtype in FLOATS else []
    if any(a.size == 0 for a in x.arrays):
        ops = [op for op in ops if op != "ReduceMean"]  # undefined: onnxruntime says 0, NumPy NaN
    attrs = {"keepdims": 0} if b.chance(0.5) else {}
    roll = b.rng.random()
    if roll < 0.1 or x.rank == 0:
        b.emit(b.choose(ops), [x], **attrs)
    elif roll < 0.2:
        b.emit(b.choose(ops), [x, b.ints()], **attrs, noop_with_empty_axes=b.integer(0, 1))
    else:
        b.emit(b.choose(ops), [x, b.ints(*axes_of(b, x))], **attrs)


def arg_reduction(b: Builder) -> None:
    x = b.pick(NUMBERS, (1, 4))
    attrs = {"axis": b.integer(-x.rank, x.rank - 1), "keepdims": b.integer(0, 1)}
    b.emit(b.choose(["ArgMax", "ArgMin"]), [x], **attrs, select_last_index=b.integer(0, 1))


def top_k(b: Builder) -> None:
    x = b.pick(("float32", "float64", "int64", "int32"), (1, 4))
    axis = b.integer(-x.rank, x.rank - 1)
    k = b.integer(0 if b.chance(0.1) else 1, max(1, min(x.dims[axis])))
    b.emit_many("TopK", [x, b.ints(k)], 2, axis=axis, largest=b.integer(0, 1))


def cumulative(b: Builder) -> None:
    x = b.pick(("float32", "float64", "int64", "int32"), (1, 4))
    axis = b.const(np.array(b.integer(-x.rank, x.rank - 1), np.int64))
    b.emit("CumSum", [x, axis], exclusive=b.integer(0, 1), reverse=b.integer(0, 1))


def softmax(b: Builder) -> None:
    x = b.pick(FLOATS, (1, 4))
    op = b.choose(["Softmax"] * 4 + ["LogSoftmax", "Hardmax"])
    b.emit(op, [x], axis=b.choose([-1, -1, b.integer(-x.rank, x.rank - 1)]))


def one_hot(b: Builder) -> None:
    x = b.pick(("int64", "int32"), (0, 3))
    dtype = b.choose(["float32", "int64"])
    depth = b.const(np.array(b.integer(1, 6), np.int64))
    values = b.const(np.array([0, 3], dtype))
    b.emit("OneHot", [x, depth, values], axis=b.integer(-1, x.rank))


def conditional(b: Builder) -> None:
    """An If whose branches read values from outside; the condition is an input, computed or constant."""
    from onnx import helper

    x = b.pick(("float32",))
    y = partner(b, x)
    roll = b.rng.random()
    if roll < 0.4:
        condition = b.new_input("bool", ())
    elif roll < 0.5:
        condition = b.const(np.array(b.chance(0.5)))
    else:
        whole = b.emit("ReduceSum", [b.emit("Cast", [x], to=7)], keepdims=0)
        condition = b.emit("Greater", [whole, b.const(np.array(b.integer(-2, 2), np.int64))])
    branches = []
    for side, ops in (("then", ["Add", "Sub", "Mul"]), ("else", ["Max", "Min", "Mul"])):
        inner, out = b._name(f"{side}_"), b._name(f"{side}_out")
        nodes = [helper.make_node(b.choose(ops), [x.name, y.name], [inner])]
        nodes.append(helper.make_node(b.choose(["Relu", "Neg", "Tanh", "Identity"]), [inner], [out]))
        branches.append(helper.make_graph(nodes, side, [], [helper.make_empty_tensor_value_info(out)]))
    name = b._name("v")
    node = helper.make_node("If", [condition.name], [name], then_branch=branches[0], else_branch=branches[1])
    b.add(node, [condition, x, y])


SAMPLERS: list[tuple[float, Sampler]] = [
    (14, unary),
    (14, binary),
    (2.5, comparison),
    (1.5, logical),
    (0.7, bits),
    (0.4, float_tests),
    (2, where),
    (2, clip),
    (3, cast),
    (5, reduction),
    (1, arg_reduction),
    (0.8, top_k),
    (0.8, cumulative),
    (3, softmax),
    (0.6, one_hot),
    (0.8, conditional),
]
