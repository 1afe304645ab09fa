"""Malformed and hostile models of our own making: ``CASES`` lists (name, builder, expected exit code).

A builder writes its model into a folder and returns the path to give to accelc. As a script, it imports each case
and prints one JSON line per case: ``python hostile.py [FOLDER]``; ``python hostile.py --write FOLDER`` only
writes the models and an index of expected exit codes, for the command line's own tests.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h

OK, INVALID, UNSUPPORTED, LIMIT = 0, 3, 4, 5
INT_MIN = -(2**31)


class Case(NamedTuple):
    """One model: ``says`` must occur in the error's text, so that it names the place."""

    name: str
    build: Callable[[Path], Path]
    code: int
    says: str = ""


CASES: list[Case] = []


def case(code: int, says: str = "") -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
    def add(build: Callable[[Path], Path]) -> Callable[[Path], Path]:
        CASES.append(Case(build.__name__, build, code, says))
        return build

    return add


def info(name: str, shape: Sequence[int | str] | None = (4,), dtype: int = T.FLOAT) -> onnx.ValueInfoProto:
    return h.make_tensor_value_info(name, dtype, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto] = (),
    outputs: Sequence[onnx.ValueInfoProto] = (),
    initializers: Sequence[onnx.TensorProto] = (),
    opset: int = 17,
    **fields: object,
) -> onnx.ModelProto:
    graph = h.make_graph(
        list(nodes), "g", list(inputs) or [info("x")], list(outputs) or [info("y", None)], list(initializers)
    )
    proto = h.make_model(graph, opset_imports=[h.make_opsetid("", opset)], **fields)
    proto.ir_version = 8
    return proto


def save(folder: Path, proto: onnx.ModelProto) -> Path:
    return write(folder, proto.SerializeToString())


def write(folder: Path, data: bytes, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def relu(name: str = "relu1", x: str = "x", y: str = "y") -> onnx.NodeProto:
    return h.make_node("Relu", [x], [y], name=name)


def int64s(name: str, values: Sequence[int]) -> onnx.TensorProto:
    return h.make_tensor(name, T.INT64, [len(values)], values)


def external(
    folder: Path, location: str, *, dims: Sequence[int] = (4,), dtype: int = T.FLOAT, **entries: object
) -> Path:
    """A model whose weight w lies in another file."""
    weight = T(name="w", data_type=dtype, dims=list(dims), data_location=T.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=str(value))
    return save(folder, model([h.make_node("Add", ["x", "w"], ["y"], name="add1")], initializers=[weight]))


# --- files that are no model ---------------------------------------------------------------------------------


@case(INVALID, "empty")
def empty_file(folder: Path) -> Path:
    return write(folder, b"")


@case(INVALID, "not an ONNX model")
def garbage(folder: Path) -> Path:
    return write(folder, bytes(range(256)) * 64)


@case(INVALID, "not an ONNX model")
def truncated(folder: Path) -> Path:
    return write(folder, model([relu()]).SerializeToString()[:-7])


@case(INVALID, "not an ONNX model")
def truncated_in_weight(folder: Path) -> Path:
    weight = h.make_tensor("w", T.FLOAT, [1024], bytes(4096), raw=True)
    return write(folder, model([relu()], initializers=[weight]).SerializeToString()[:2000])


@case(INVALID, "not an ONNX model")
def length_beyond_file(folder: Path) -> Path:
    return write(folder, b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + b"\0" * 64)


@case(INVALID)
def zeros(folder: Path) -> Path:
    return write(folder, bytes(4096))


@case(INVALID, "no graph")
def no_graph(folder: Path) -> Path:
    return save(folder, onnx.ModelProto(ir_version=8, opset_import=[h.make_opsetid("", 17)]))


@case(INVALID, "IR version")
def no_ir_version(folder: Path) -> Path:
    proto = model([relu()])
    proto.ClearField("ir_version")
    return save(folder, proto)


@case(INVALID, "IR version")
def absurd_ir_version(folder: Path) -> Path:
    proto = model([relu()])
    proto.ir_version = 2**40
    return save(folder, proto)


# --- opsets, names, order ------------------------------------------------------------------------------------


@case(UNSUPPORTED, "opset 9999")
def opset_too_new(folder: Path) -> Path:
    return save(folder, model([relu()], opset=9999))


@case(INVALID, "version")
def opset_negative(folder: Path) -> Path:
    return save(folder, model([relu()], opset=-1))


@case(INVALID, "opset")
def no_opset_import(folder: Path) -> Path:
    proto = model([relu()])
    del proto.opset_import[:]
    return save(folder, proto)


@case(INVALID, "node custom1 (com.acme.Foo")
def domain_not_imported(folder: Path) -> Path:
    return save(folder, model([h.make_node("Foo", ["x"], ["y"], name="custom1", domain="com.acme")]))


@case(INVALID, "twice")
def opset_imported_twice(folder: Path) -> Path:
    proto = model([relu()])
    proto.opset_import.append(h.make_opsetid("", 11))
    return save(folder, proto)


@case(INVALID, "node b (Relu, opset 17)")
def duplicate_output_name(folder: Path) -> Path:
    return save(folder, model([relu("a"), relu("b")]))


@case(INVALID, "twice")
def duplicate_initializer(folder: Path) -> Path:
    return save(folder, model([relu()], initializers=[int64s("w", [1]), int64s("w", [2])]))


@case(INVALID, "twice")
def duplicate_input(folder: Path) -> Path:
    return save(folder, model([relu()], inputs=[info("x"), info("x")]))


@case(INVALID, "no name")
def nameless_initializer(folder: Path) -> Path:
    return save(folder, model([relu()], initializers=[int64s("", [1])]))


@case(INVALID, "no name")
def nameless_output(folder: Path) -> Path:
    return save(folder, model([relu()], outputs=[info("")]))


@case(INVALID, "node relu1 (Relu, opset 17)")
def undefined_input(folder: Path) -> Path:
    return save(folder, model([relu(x="nowhere")]))


@case(INVALID, "y2")
def undefined_output(folder: Path) -> Path:
    return save(folder, model([relu()], outputs=[info("y2")]))


@case(INVALID, "cycle")
def cycle(folder: Path) -> Path:
    return save(folder, model([relu("a", "z", "y"), relu("b", "y", "z")]))


@case(INVALID, "cycle")
def self_loop(folder: Path) -> Path:
    return save(folder, model([relu("a", "y", "y")]))


@case(INVALID, "cycle")
def cycle_through_subgraph(folder: Path) -> Path:
    body = h.make_graph([relu("inner", "later", "q")], "t", [], [info("q", None)])
    branch = h.make_node("If", ["c"], ["early"], name="if1", then_branch=body, else_branch=body)
    nodes = [branch, relu("after", "early", "later"), relu("last", "later", "y")]
    return save(folder, model(nodes, inputs=[info("c", (), T.BOOL)]))


@case(INVALID, "twice")
def subgraph_redefines(folder: Path) -> Path:
    body = h.make_graph([relu("inner", "x", "y")], "t", [], [info("y", None)])
    branch = h.make_node("If", ["c"], ["y"], name="if1", then_branch=body, else_branch=body)
    return save(folder, model([branch], inputs=[info("c", (), T.BOOL), info("x")]))


# --- nodes ---------------------------------------------------------------------------------------------------


@case(INVALID, "node nope (Conv2000, opset 17)")
def unknown_op(folder: Path) -> Path:
    return save(folder, model([h.make_node("Conv2000", ["x"], ["y"], name="nope")]))


@case(INVALID, "node n1 (, opset 17)")
def nameless_op(folder: Path) -> Path:
    return save(folder, model([onnx.NodeProto(input=["x"], output=["y"], name="n1")]))


@case(INVALID, "node add1 (Add, opset 17)")
def too_few_inputs(folder: Path) -> Path:
    return save(folder, model([h.make_node("Add", ["x"], ["y"], name="add1")]))


@case(INVALID, "node relu1 (Relu, opset 17)")
def too_many_inputs(folder: Path) -> Path:
    return save(folder, model([h.make_node("Relu", ["x"] * 500, ["y"], name="relu1")]))


@case(INVALID, "node relu1 (Relu, opset 17)")
def too_many_outputs(folder: Path) -> Path:
    return save(folder, model([h.make_node("Relu", ["x"], ["y", "z"], name="relu1")]))


@case(INVALID, "node conv1 (Conv, opset 17)")
def required_input_omitted(folder: Path) -> Path:
    return save(folder, model([h.make_node("Conv", ["x", "", "x"], ["y"], name="conv1")]))


@case(INVALID, "node relu1 (Relu, opset 17)")
def unknown_attribute(folder: Path) -> Path:
    return save(folder, model([h.make_node("Relu", ["x"], ["y"], name="relu1", slope=1.0)]))


@case(INVALID, "node lk (LeakyRelu, opset 17)")
def attribute_of_wrong_type(folder: Path) -> Path:
    return save(folder, model([h.make_node("LeakyRelu", ["x"], ["y"], name="lk", alpha="high")]))


@case(INVALID, "node c1 (Concat, opset 17)")
def required_attribute_missing(folder: Path) -> Path:
    return save(folder, model([h.make_node("Concat", ["x", "x"], ["y"], name="c1")]))


@case(INVALID, "twice")
def attribute_twice(folder: Path) -> Path:
    node = h.make_node("LeakyRelu", ["x"], ["y"], name="lk", alpha=0.1)
    node.attribute.append(h.make_attribute("alpha", 0.2))
    return save(folder, model([node]))


@case(INVALID, "node ref1 (LeakyRelu")
def reference_outside_function(folder: Path) -> Path:
    node = h.make_node("LeakyRelu", ["x"], ["y"], name="ref1")
    node.attribute.append(
        onnx.AttributeProto(name="alpha", ref_attr_name="a", type=onnx.AttributeProto.FLOAT)
    )
    return save(folder, model([node]))


@case(INVALID, "node m1 (MatMul")
def shapes_do_not_fit(folder: Path) -> Path:
    inputs = [info("x", (4, 5)), info("w", (6, 7))]
    return save(folder, model([h.make_node("MatMul", ["x", "w"], ["y"], name="m1")], inputs=inputs))


@case(INVALID, "node add1 (Add")
def dtypes_do_not_fit(folder: Path) -> Path:
    inputs = [info("x"), info("i", (4,), T.INT64)]
    return save(folder, model([h.make_node("Add", ["x", "i"], ["y"], name="add1")], inputs=inputs))


@case(INVALID, "node a1 (And")
def dtype_not_taken(folder: Path) -> Path:
    return save(folder, model([h.make_node("And", ["x", "x"], ["y"], name="a1")]))


@case(INVALID, "node relu1 (Relu")
def declared_shape_contradicts(folder: Path) -> Path:
    return save(folder, model([relu()], outputs=[info("y", (5,))]))


@case(INVALID, "if1")
def if_with_inputs(folder: Path) -> Path:
    body = h.make_graph([relu("inner", "p", "q")], "t", [info("p")], [info("q", None)])
    branch = h.make_node("If", ["c"], ["y"], name="if1", then_branch=body, else_branch=body)
    return save(folder, model([branch], inputs=[info("c", (), T.BOOL)]))


@case(INVALID, "loop1")
def loop_body_of_wrong_arity(folder: Path) -> Path:
    body = h.make_graph([relu("inner", "x", "q")], "b", [], [info("q", None)])
    loop = h.make_node("Loop", ["", "", "x"], ["y"], name="loop1", body=body)
    return save(folder, model([loop]))


@case(INVALID, "if1")
def if_without_branch(folder: Path) -> Path:
    branch = h.make_node("If", ["c"], ["y"], name="if1")
    return save(folder, model([branch], inputs=[info("c", (), T.BOOL)]))


@case(INVALID, "input x")
def input_without_type(folder: Path) -> Path:
    return save(folder, model([relu()], inputs=[onnx.ValueInfoProto(name="x")]))


@case(INVALID, "dtype")
def dtype_that_does_not_exist(folder: Path) -> Path:
    return save(folder, model([relu()], inputs=[info("x", (4,), 77)]))


# --- tensors -------------------------------------------------------------------------------------------------


def with_weight(folder: Path, weight: onnx.TensorProto) -> Path:
    weight.name = "w"
    return save(folder, model([h.make_node("Add", ["x", "w"], ["y"], name="add1")], initializers=[weight]))


@case(INVALID, "initializer w")
def raw_data_too_short(folder: Path) -> Path:
    return with_weight(folder, T(data_type=T.FLOAT, dims=[4], raw_data=bytes(15)))


@case(INVALID, "initializer w")
def raw_data_too_long(folder: Path) -> Path:
    return with_weight(folder, T(data_type=T.FLOAT, dims=[4], raw_data=bytes(8192)))


@case(INVALID, "initializer w")
def typed_data_too_short(folder: Path) -> Path:
    return with_weight(folder, T(data_type=T.FLOAT, dims=[4], float_data=[1.0, 2.0]))


@case(INVALID, "initializer w")
def data_in_wrong_field(folder: Path) -> Path:
    return with_weight(folder, T(data_type=T.FLOAT, dims=[2], int64_data=[1, 2]))


@case(INVALID, "initializer w")
def negative_dimension(folder: Path) -> Path:
    return with_weight(folder, T(data_type=T.FLOAT, dims=[-4], raw_data=bytes(16)))


@case(INVALID, "initializer w")
def dimensions_overflow(folder: Path) -> Path:
    return with_weight(folder, T(data_type=T.FLOAT, dims=[2**32, 2**32], raw_data=b""))


@case(INVALID, "node c1 (Constant")
def constant_without_data(folder: Path) -> Path:
    value = h.make_attribute("value", T(data_type=T.FLOAT, dims=[1 << 40]))
    node = h.make_node("Constant", [], ["k"], name="c1")
    node.attribute.append(value)
    return save(folder, model([node, relu()]))


@case(INVALID, "out of range")
def sparse_index_out_of_range(folder: Path) -> Path:
    return sparse(folder, [4], [1.0], [7])


@case(INVALID, "repeats")
def sparse_index_repeats(folder: Path) -> Path:
    return sparse(folder, [4], [1.0, 2.0], [1, 1])


@case(LIMIT, "sparse")
def sparse_bomb(folder: Path) -> Path:
    return sparse(folder, [1 << 36], [1.0], [0])


def sparse(folder: Path, dims: Sequence[int], values: Sequence[float], indices: Sequence[int]) -> Path:
    weight = h.make_sparse_tensor(
        h.make_tensor("w", T.FLOAT, [len(values)], values), int64s("i", indices), list(dims)
    )
    proto = model([h.make_node("Add", ["x", "w"], ["y"], name="add1")], inputs=[info("x", ("N",))])
    proto.graph.sparse_initializer.append(weight)
    return save(folder, proto)


# --- external data -------------------------------------------------------------------------------------------


@case(INVALID, "..")
def external_parent(folder: Path) -> Path:
    inner = folder / "inner"
    inner.mkdir()
    write(folder, bytes(16), "secret.bin")
    return external(inner, "../secret.bin")


@case(INVALID, "..")
def external_parent_inside_path(folder: Path) -> Path:
    (folder / "sub").mkdir()
    write(folder, bytes(16), "w.bin")
    return external(folder, "sub/../w.bin")


@case(INVALID, "..")
def external_parent_backslash(folder: Path) -> Path:
    return external(folder, "sub\\..\\..\\w.bin")


@case(INVALID, "absolute")
def external_absolute(folder: Path) -> Path:
    return external(folder, "/etc/passwd")


@case(INVALID, "absolute")
def external_drive(folder: Path) -> Path:
    return external(folder, "C:\\secret.bin")


@case(INVALID, "symlink")
def external_symlink(folder: Path) -> Path:
    (folder / "w.bin").symlink_to("/etc/passwd")
    return external(folder, "w.bin")


@case(INVALID, "symlink")
def external_through_linked_folder(folder: Path) -> Path:
    (folder / "sub").symlink_to("/etc")
    return external(folder, "sub/passwd")


@case(INVALID, "hard link")
def external_hard_link(folder: Path) -> Path:
    write(folder, bytes(16), "original.bin")
    os.link(folder / "original.bin", folder / "w.bin")
    return external(folder, "w.bin")


@case(INVALID, "regular file")
def external_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "w.bin")
    return external(folder, "w.bin")


@case(INVALID, "symlink")
def external_device(folder: Path) -> Path:
    (folder / "w.bin").symlink_to("/dev/zero")
    return external(folder, "w.bin")


@case(INVALID, "regular file")
def external_folder(folder: Path) -> Path:
    (folder / "w.bin").mkdir()
    return external(folder, "w.bin")


@case(INVALID, "location")
def external_without_location(folder: Path) -> Path:
    return external(folder, "")


@case(INVALID, "location")
def external_with_nul(folder: Path) -> Path:
    return external(folder, "w\0.bin")


@case(INVALID, "cannot be read")
def external_missing(folder: Path) -> Path:
    return external(folder, "absent.bin")


@case(INVALID, "beyond the end")
def external_short(folder: Path) -> Path:
    write(folder, bytes(12), "w.bin")
    return external(folder, "w.bin")


@case(INVALID, "wrong length")
def external_long(folder: Path) -> Path:
    write(folder, bytes(64), "w.bin")
    return external(folder, "w.bin", offset=0, length=64)


@case(INVALID, "offset")
def external_negative_offset(folder: Path) -> Path:
    write(folder, bytes(64), "w.bin")
    return external(folder, "w.bin", offset=-8, length=16)


@case(INVALID, "length")
def external_negative_length(folder: Path) -> Path:
    write(folder, bytes(64), "w.bin")
    return external(folder, "w.bin", offset=0, length=-16)


@case(INVALID, "beyond the end")
def external_overflowing_offset(folder: Path) -> Path:
    write(folder, bytes(64), "w.bin")
    return external(folder, "w.bin", offset=2**63 - 4, length=16)


@case(INVALID, "offset")
def external_absurd_offset(folder: Path) -> Path:
    write(folder, bytes(64), "w.bin")
    return external(folder, "w.bin", offset="9" * 5000, length=16)


@case(INVALID, "initializer w")
def external_negative_dims(folder: Path) -> Path:
    write(folder, bytes(64), "w.bin")
    return external(folder, "w.bin", dims=(-2, -2))


@case(INVALID, "initializer w")
def external_overflowing_dims(folder: Path) -> Path:
    write(folder, bytes(64), "w.bin")
    return external(folder, "w.bin", dims=(2**62, 4, 2**62))


@case(INVALID, "string")
def external_strings(folder: Path) -> Path:
    write(folder, bytes(64), "w.bin")
    return external(folder, "w.bin", dtype=T.STRING)


# --- nesting and expansion -----------------------------------------------------------------------------------


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


# --- attributes that trip naive arithmetic -------------------------------------------------------------------


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


# --- valid models that a careless folder would blow up on: they compile, unfolded ----------------------------


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


def run_case(path: Path) -> tuple[int, str]:
    """Import one model in this process: (exit code, message)."""
    from accelc.errors import AccelcError
    from accelc.frontend import load_model

    try:
        load_model(path)
    except AccelcError as error:
        return error.exit_code, str(error)
    return OK, ""


def main(arguments: Sequence[str]) -> int:
    """Script mode; the exit code is the number of cases with another outcome than expected."""
    only_write = "--write" in arguments
    folders = [argument for argument in arguments if argument != "--write"]
    with tempfile.TemporaryDirectory() as scratch:
        base, bad = Path(folders[0] if folders else scratch), 0
        for entry in CASES:
            folder = base / entry.name
            folder.mkdir(parents=True)
            path = entry.build(folder)
            row: dict[str, object] = {"name": entry.name, "path": str(path), "expected": entry.code}
            if not only_write:
                start = time.perf_counter()
                row["code"], row["message"] = run_case(path)
                row["seconds"] = round(time.perf_counter() - start, 3)
                row["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
                bad += row["code"] != entry.code or entry.says not in str(row["message"])
            print(json.dumps(row), flush=True)
    return bad


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
