"""Nesting and expansion bombs, attributes that trip arithmetic, and bombs for a constant folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from hostile_kit import (
    INT_MIN,
    INVALID,
    LIMIT,
    OK,
    case,
    external,
    info,
    int64s,
    model,
    relu,
    save,
    write,
)
from onnx import TensorProto as T
from onnx import helper as h


def nested(depth: int) -> onnx.ModelProto:
    """Ifs in Ifs, made bottom up as bytes: building it as messages would copy quadratically."""
    graph = h.make_graph([h.make_node("Not", ["c"], ["v0"])], "g", [], [info("v0", (), T.BOOL)])
    for level in range(1, depth):
        branch = h.make_node("If", ["c"], [f"v{level}"], name=f"if{level}")
        for label in ("then_branch", "else_branch"):
            attr = branch.attribute.add(name=label, type=onnx.AttributeProto.GRAPH)
            if label == "then_branch":
                attr.g.CopyFrom(graph)
            else:
                leaf = h.make_node("Not", ["c"], [f"e{level}"])
                attr.g.CopyFrom(h.make_graph([leaf], "e", [], [info(f"e{level}", (), T.BOOL)]))
        graph = h.make_graph([branch], "g", [], [info(f"v{level}", (), T.BOOL)])
    graph.input.append(info("c", (), T.BOOL))
    proto = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)])
    proto.ir_version = 8
    return proto


def field(number: int, content: bytes) -> bytes:
    out, size = bytearray([number << 3 | 2]), len(content)
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    out.append(size)
    return bytes(out) + content


@case(LIMIT, "nest")
def nesting_bomb(folder: Path) -> Path:
    return write(folder, _deep_graphs(3000))


def _deep_graphs(depth: int) -> bytes:
    graph = b""
    for _ in range(depth):
        attribute = field(1, b"body") + field(6, graph) + b"\xa0\x01\x05"
        graph = field(1, field(1, b"c") + field(2, b"y") + field(4, b"If") + field(5, attribute))
    return b"\x08\x08" + field(7, graph) + field(8, b"\x10\x11")


@case(LIMIT, "nest")
def type_nesting_bomb(folder: Path) -> Path:
    type_ = b""
    for _ in range(3000):
        type_ = field(4, field(1, type_))
    graph = field(11, field(1, b"x") + field(2, type_))
    return write(folder, b"\x08\x08" + field(7, graph) + field(8, b"\x10\x11"))


def functions(calls: Sequence[Sequence[str]]) -> onnx.ModelProto:
    """Functions f0, f1, ... that call the named ones; the graph calls the last."""
    proto = model([h.make_node(f"f{len(calls) - 1}", ["x"], ["y"], name="call1", domain="local")])
    proto.opset_import.append(h.make_opsetid("local", 1))
    for index, names in enumerate(calls):
        nodes, value = [], "x"
        for step, name in enumerate(names or ["Relu"]):
            domain = "local" if names else ""
            nodes.append(h.make_node(name, [value], [f"v{step}"], domain=domain))
            value = f"v{step}"
        opsets = [h.make_opsetid("", 17), h.make_opsetid("local", 1)]
        proto.functions.append(h.make_function("local", f"f{index}", ["x"], [value], nodes, opsets))
    return proto


@case(LIMIT, "function local.f")
def exponential_functions(folder: Path) -> Path:
    return save(folder, functions([[]] + [[f"f{i}"] * 10 for i in range(28)]))


@case(LIMIT, "levels deep")
def deep_functions(folder: Path) -> Path:
    return save(folder, functions([[]] + [[f"f{i}"] for i in range(2000)]))


@case(INVALID, "calls itself")
def recursive_function(folder: Path) -> Path:
    return save(folder, functions([["f1"], ["f0"]]))


@case(INVALID, "twice")
def function_twice(folder: Path) -> Path:
    proto = functions([[]])
    proto.functions.append(proto.functions[0])
    return save(folder, proto)


@case(INVALID, "function local.f0")
def function_with_free_value(folder: Path) -> Path:
    proto = functions([[]])
    proto.functions[0].node[0].input[0] = "elsewhere"
    return save(folder, proto)


@case(INVALID, "node call1 (local.f0")
def call_with_too_many_inputs(folder: Path) -> Path:
    proto = functions([[]])
    proto.graph.node[0].input.extend(["x", "x"])
    return save(folder, proto)


@case(INVALID, "node conv1 (Conv")
def conv_stride_zero(folder: Path) -> Path:
    node = h.make_node("Conv", ["x", "w"], ["y"], name="conv1", strides=[0, 0])
    return save(folder, model([node], inputs=[info("x", (1, 1, 8, 8)), info("w", (1, 1, 3, 3))]))


@case(INVALID, "node t1 (Transpose")
def transpose_wrong_permutation(folder: Path) -> Path:
    node = h.make_node("Transpose", ["x"], ["y"], name="t1", perm=[0, 5])
    return save(folder, model([node], inputs=[info("x", (2, 3))]))


@case(INVALID, "node c1 (Concat")
def concat_axis_out_of_range(folder: Path) -> Path:
    node = h.make_node("Concat", ["x", "x"], ["y"], name="c1", axis=1000)
    return save(folder, model([node], inputs=[info("x", (2, 3))]))


def folds(
    folder: Path, op: str, operands: Sequence[onnx.TensorProto], out: onnx.ValueInfoProto, **attrs: object
) -> Path:
    """``op`` on constants, its result beside the ordinary y."""
    nodes = [relu(), h.make_node(op, [t.name for t in operands], [out.name], name="fold1", **attrs)]
    return save(folder, model(nodes, outputs=[info("y"), out], initializers=operands))


def scalar_int(name: str, value: int) -> onnx.TensorProto:
    return h.make_tensor(name, T.INT32, [], [value])


@case(OK)
def fold_bomb_expand(folder: Path) -> Path:
    one = h.make_tensor("one", T.FLOAT, [1], [1.0])
    nodes = [
        h.make_node("Expand", ["one", "shape"], ["big"], name="expand1"),
        h.make_node("ReduceSum", ["big"], ["total"], name="sum1", keepdims=0),
        h.make_node("Mul", ["x", "total"], ["y"], name="mul1"),
    ]
    return save(folder, model(nodes, initializers=[one, int64s("shape", [1 << 14, 1 << 14])]))


@case(OK)
def fold_bomb_constant_of_shape(folder: Path) -> Path:
    nodes = [
        h.make_node("ConstantOfShape", ["shape"], ["big"], name="fill1"),
        h.make_node("Gather", ["big", "i"], ["one"], name="gather1"),
        h.make_node("Add", ["x", "one"], ["y"], name="add1"),
    ]
    weights = [int64s("shape", [1 << 28]), int64s("i", [0])]
    return save(folder, model(nodes, initializers=weights))


@case(OK)
def fold_bomb_range(folder: Path) -> Path:
    ends = [h.make_tensor(n, T.INT64, [], [v]) for n, v in (("a", 0), ("b", 1 << 28), ("s", 1))]
    nodes = [
        h.make_node("Range", ["a", "b", "s"], ["big"], name="range1"),
        h.make_node("Gather", ["big", "i"], ["one"], name="gather1"),
        h.make_node("Cast", ["one"], ["f"], name="cast1", to=T.FLOAT),
        h.make_node("Add", ["x", "f"], ["y"], name="add1"),
    ]
    return save(folder, model(nodes, initializers=[*ends, int64s("i", [3])]))


@case(OK)
def fold_bomb_doubling(folder: Path) -> Path:
    nodes = [h.make_node("Concat", [f"v{i}"] * 2, [f"v{i + 1}"], name=f"c{i}", axis=0) for i in range(26)]
    nodes += [
        h.make_node("Gather", ["v26", "i"], ["one"], name="gather1"),
        h.make_node("Add", ["x", "one"], ["y"], name="add1"),
    ]
    weights = [h.make_tensor("v0", T.FLOAT, [4], [1.0, 2.0, 3.0, 4.0]), int64s("i", [5])]
    return save(folder, model(nodes, initializers=weights))


@case(OK)
def fold_bomb_loop(folder: Path) -> Path:
    step = [h.make_node("Identity", ["cond"], ["go"]), h.make_node("Add", ["acc", "acc"], ["next"])]
    body = h.make_graph(
        step,
        "body",
        [info("i", (), T.INT64), info("cond", (), T.BOOL), info("acc", ())],
        [info("go", (), T.BOOL), info("next", ())],
    )
    weights = [
        h.make_tensor("trips", T.INT64, [], [10_000]),
        h.make_tensor("c", T.BOOL, [], [True]),
        h.make_tensor("seed", T.FLOAT, [], [1.0]),
    ]
    nodes = [h.make_node("Loop", ["trips", "c", "seed"], ["z"], name="loop1", body=body), relu()]
    return save(folder, model(nodes, outputs=[info("y"), info("z", ())], initializers=weights))


@case(OK)
def integer_division_by_zero(folder: Path) -> Path:
    return folds(folder, "Div", [scalar_int("a", 7), scalar_int("b", 0)], info("z", (), T.INT32))


@case(OK)
def integer_minimum_by_minus_one(folder: Path) -> Path:
    return folds(folder, "Div", [scalar_int("a", INT_MIN), scalar_int("b", -1)], info("z", (), T.INT32))


@case(OK)
def integer_modulo_zero(folder: Path) -> Path:
    return folds(folder, "Mod", [scalar_int("a", 7), scalar_int("b", 0)], info("z", (), T.INT32))


@case(OK)
def integer_modulo_minus_one(folder: Path) -> Path:
    return folds(folder, "Mod", [scalar_int("a", INT_MIN), scalar_int("b", -1)], info("z", (), T.INT32))


@case(OK)
def no_nodes(folder: Path) -> Path:
    proto = model([relu()], outputs=[info("x")])
    del proto.graph.node[:]
    return save(folder, proto)


@case(OK)
def unsorted_nodes(folder: Path) -> Path:
    return save(folder, model([relu("b", "v", "y"), relu("a", "x", "v")]))


@case(OK)
def thirty_nested_ifs(folder: Path) -> Path:
    return save(folder, nested(30))


@case(OK)
def external_good(folder: Path) -> Path:
    (folder / "sub").mkdir()
    write(folder / "sub", np.arange(8, dtype=np.float32).tobytes(), "w.bin")
    return external(folder, "sub/w.bin", offset=16, length=16)
