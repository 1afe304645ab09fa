"""Hostile files, versions, names and order, and nodes."""

from __future__ import annotations

from pathlib import Path

import onnx
from hostile_kit import (
    INVALID,
    UNSUPPORTED,
    case,
    info,
    int64s,
    model,
    relu,
    save,
    write,
)
from onnx import TensorProto as T
from onnx import helper as h


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
