"""Samplers of loops, recurrent layers, quantised ops, and ops whose result has a shape that depends on data."""

from __future__ import annotations

import numpy as np
from fuzz_graph import Builder, RejectedError
from fuzz_ops import Sampler, partner
from onnx import TensorProto, helper


def loop(b: Builder) -> None:
    """A Loop with one carried value, which reads another from outside, and collects a result of each trip."""
    state = b.pick(("float32", "int64"), (0, 3))
    other = partner(b, state)
    if not all(p in (1, q) for x, y in zip(reversed(other.dims), reversed(state.dims), strict=False)
               for p, q in zip(x, y, strict=True)) or other.rank > state.rank:  # fmt: skip
        raise RejectedError  # the carried value would grow
    trips = b.const(
        np.array(b.integer(1, 3), np.int64)
    )  # of no trip, nobody says what shape the results have
    kind = TensorProto.FLOAT if state.dtype == "float32" else TensorProto.INT64
    names = [b._name("l") for _ in range(6)]
    step, go_on, carried, going, moved, seen = names
    nodes = [
        helper.make_node(b.choose(["Add", "Sub", "Max"]), [carried, other.name], [moved]),
        helper.make_node(b.choose(["Neg", "Abs", "Relu"]), [moved], [seen]),
        helper.make_node("Identity", [go_on], [going]),
    ]
    body = helper.make_graph(
        nodes,
        "body",
        [
            helper.make_tensor_value_info(step, TensorProto.INT64, []),
            helper.make_tensor_value_info(go_on, TensorProto.BOOL, []),
            helper.make_tensor_value_info(carried, kind, [None] * state.rank),
        ],
        [helper.make_empty_tensor_value_info(name) for name in (going, moved, seen)],
    )
    outputs = [b._name("v"), b._name("v")]
    node = helper.make_node("Loop", [trips.name, "", state.name], outputs, body=body)
    b.add(node, [trips, state, other])


def scan(b: Builder) -> None:
    """A Scan along the first dim of one value, with a carried sum."""
    x = b.pick(("float32",), (1, 3))
    if min(x.dims[0]) < 1:
        raise RejectedError
    state = b.new_input("float32", x.dims[1:]) if b.chance(0.3) else b.const(np.zeros((), np.float32))
    if state.kind == "const" and x.rank > 1:
        state = b.emit("ReduceSum", [x, b.ints(0)], keepdims=0)
    carried, row, total, seen = (b._name("s") for _ in range(4))
    nodes = [
        helper.make_node("Add", [carried, row], [total]),
        helper.make_node(b.choose(["Tanh", "Neg", "Relu"]), [total], [seen]),
    ]
    infos = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [None] * (x.rank - 1)) for n in (carried, row)
    ]
    body = helper.make_graph(
        nodes, "body", infos, [helper.make_empty_tensor_value_info(n) for n in (total, seen)]
    )
    attrs = {"scan_input_directions": [b.integer(0, 1)], "scan_output_directions": [b.integer(0, 1)]}
    outputs = [b._name("v"), b._name("v")]
    node = helper.make_node("Scan", [state.name, x.name], outputs, body=body, num_scan_inputs=1, **attrs)
    b.add(node, [state, x])


def recurrent(b: Builder) -> None:
    """An LSTM, GRU or RNN of a small hidden size over [length, batch, features]."""
    # onnxruntime aborts on a batch, or features, of 0.
    x = b.pick(
        ("float32",), (3, 3), lambda v: len(set(v.dims[2])) == 1 and min(min(dim) for dim in v.dims) > 0
    )
    op = b.choose(["LSTM", "GRU", "RNN"])
    direction = b.choose(["forward", "reverse", "bidirectional"])
    hidden, sides = b.integer(1, 9), 2 if direction == "bidirectional" else 1
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    shapes = [
        (sides, gates * hidden, x.dims[2][0]),
        (sides, gates * hidden, hidden),
        (sides, 2 * gates * hidden),
    ]
    weights = [b.const(b.random_array("float32", shape) / np.float32(8)) for shape in shapes]
    attrs = {"linear_before_reset": b.integer(0, 1)} if op == "GRU" else {}
    operands = [x, *weights[: b.integer(2, 3)]]
    b.emit_many(
        op, operands, b.integer(1, 3 if op == "LSTM" else 2), hidden_size=hidden, direction=direction, **attrs
    )


def quantised(b: Builder) -> None:
    """Values that lie on a grid through QuantizeLinear and back, or an integer product of what it gives."""
    x = b.pick(("float32",), (1, 4))
    step = b.const(np.array(b.choose([0.125, 0.25, 0.5]), np.float32))
    dtype = b.choose(["uint8", "int8"])
    zero = b.const(np.array(b.choose([0, 3, 100]), dtype))
    small = b.emit("QuantizeLinear", [x, step, zero])
    if b.chance(0.6):
        b.emit("DequantizeLinear", [small, step, zero])
    elif x.rank >= 2 and len(set(x.dims[-1])) == 1:
        weights = b.const(b.rng.integers(-9, 9, (x.dims[-1][0], b.integer(1, 9))).astype(np.int8))
        b.emit("MatMulInteger", [small, weights, zero])


def chosen(b: Builder) -> None:
    """Elements, or their places, of which there are as many as the data says."""
    x = b.pick(("float32", "int64", "int32"), (1, 3))
    roll = b.rng.random()
    if roll < 0.4:
        b.emit("NonZero", [x])
    elif roll < 0.7:
        flags = b.const(np.array([b.chance(0.6) for _ in range(max(1, min(x.dims[0])))]))
        b.emit("Compress", [x, flags], axis=0)
    else:
        b.emit("Unique", [x], axis=0) if b.chance(0.3) else b.emit("Unique", [x])


def resized(b: Builder) -> None:
    """A Resize of the last two dims, in any mode, by scales or to sizes."""
    x = b.pick(("float32",), (3, 4), lambda v: min(min(dim) for dim in v.dims) > 0)
    attrs = {
        "mode": b.choose(["nearest", "linear", "cubic"]),
        "coordinate_transformation_mode": b.choose(
            ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"]
        ),
    }
    last = [1.0] * (x.rank - 2)
    if b.chance(0.5):
        scales = b.const(np.array([*last, b.choose([0.5, 1.5, 2]), b.choose([0.5, 1, 3])], np.float32))
        b.emit("Resize", [x, None, scales], **attrs)
        return
    sizes = b.ints(b.integer(1, 9), b.integer(1, 9))
    b.emit("Resize", [x, None, None, sizes], axes=[x.rank - 2, x.rank - 1], **attrs)


def same_pads(b: Builder) -> None:
    """A pool with automatic pads, which depend on the size."""
    x = b.pick(("float32",), (3, 4), lambda v: min(min(dim) for dim in v.dims) > 0)
    spatial = x.rank - 2
    b.emit(
        b.choose(["MaxPool", "AveragePool"]),
        [x],
        kernel_shape=[b.integer(1, 3) for _ in range(spatial)],
        strides=[b.integer(1, 2) for _ in range(spatial)],
        auto_pad=b.choose(["SAME_UPPER", "SAME_LOWER"]),
    )


SAMPLERS: list[tuple[float, Sampler]] = [
    (1.5, loop),
    (1.2, scan),
    (1.2, recurrent),
    (1.5, quantised),
    (1.2, chosen),
    (1, resized),
    (0.8, same_pads),
]
