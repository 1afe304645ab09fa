from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from accelc.errors import PassError
from accelc.ir.verify import signature, verify

TEXT = """<ir_version: 10, opset_import: ["": 21, "accelc.fused": 1]>
g (float[N,4] x, bool c) => (float[N,4] y) <float[4] w = {1, 2, 3, 4}> {
  [add1] a = Add(x, w)
  [if1] b = If(c) <then_branch = t () => (float[N,4] p) { p = Relu(a) },
                   else_branch = e () => (float[N,4] q) { q = Neg(x) }>
  [call1] d = accelc.fused.twice(b)
  [relu1] y = Relu(d)
}
<domain: "accelc.fused", opset_import: ["": 21]>
twice (v) => (r) { r = Add(v, v) }
"""


def make() -> ir.Model:
    return ir.from_onnx_text(TEXT)


def node(model: ir.Model, name: str) -> ir.Node:
    return model.graph.node(name)


def test_valid_model_passes() -> None:
    model = make()
    verify(model, after="some-pass", expect=signature(model))
    assert signature(model) == ((("x", "float32"), ("c", "bool")), (("y", "float32"),))


def unsorted(model: ir.Model) -> None:
    add = node(model, "add1")
    model.graph.remove(add)
    model.graph.append(add)


def dangling(model: ir.Model) -> None:
    lost = ir.Node("", "Relu", [model.graph.inputs[0]], name="lost")
    node(model, "relu1").replace_input_with(0, lost.outputs[0])


def repeated_name(model: ir.Model) -> None:
    node(model, "add1").outputs[0].name = "y"


def repeats_outer_name(model: ir.Model) -> None:
    node(model, "if1").attributes["then_branch"].as_graph()[0].outputs[0].name = "a"


def unknown_attribute(model: ir.Model) -> None:
    node(model, "relu1").attributes["slope"] = ir.AttrFloat32("slope", 1.0)


def wrong_attribute_type(model: ir.Model) -> None:
    model.graph.insert_before(
        node(model, "relu1"),
        ir.Node("", "LeakyRelu", [model.graph.inputs[0]], [ir.AttrInt64("alpha", 1)], name="lk"),
    )


def missing_attribute(model: ir.Model) -> None:
    x = model.graph.inputs[0]
    model.graph.insert_before(node(model, "relu1"), ir.Node("", "Concat", [x, x], name="cc"))


def too_many_inputs(model: ir.Model) -> None:
    relu = node(model, "relu1")
    relu.resize_inputs(2)
    relu.replace_input_with(1, model.graph.inputs[0])


def missing_function(model: ir.Model) -> None:
    model.functions.clear()


def unknown_op(model: ir.Model) -> None:
    node(model, "relu1").op_type = "Reluu"


def domain_not_imported(model: ir.Model) -> None:
    node(model, "relu1").domain = "com.acme"


def bad_initializer(model: ir.Model) -> None:
    model.graph.initializers["w"].const_value = ir.tensor(np.zeros(5, np.float32))


def undefined_output(model: ir.Model) -> None:
    model.graph.outputs[0] = ir.Value(name="z", type=ir.TensorType(ir.DataType.FLOAT))


def recursive_function(model: ir.Model) -> None:
    function = next(iter(model.functions.values()))
    function.opset_imports["accelc.fused"] = 1
    function.append(ir.Node("accelc.fused", "twice", [function.inputs[0]], name="again"))
    function.graph[-1].outputs[0].name = "again_out"


def capturing_function(model: ir.Model) -> None:
    function = next(iter(model.functions.values()))
    function.graph[0].replace_input_with(1, model.graph.inputs[0])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (unsorted, "a is used before it is defined"),
        (dangling, "was removed from the graph|no node, input"),
        (repeated_name, "value y is defined twice"),
        (repeats_outer_name, "value a is defined twice"),
        (unknown_attribute, "Relu has no attribute slope"),
        (wrong_attribute_type, "attribute alpha of LeakyRelu has the wrong type"),
        (missing_attribute, "Concat lacks attributes"),
        (too_many_inputs, "expected 1 inputs, got 2"),
        (missing_function, "a call has no function"),
        (unknown_op, "there is no op Reluu"),
        (domain_not_imported, "domain 'com.acme' is not imported"),
        (bad_initializer, "initializer w has data of another shape"),
        (undefined_output, "output z is not defined|signature"),
        (recursive_function, "a function calls itself"),
        (capturing_function, "used before it is defined"),
    ],
)
def test_each_invariant(damage: Callable[[ir.Model], None], says: str) -> None:
    model = make()
    damage(model)
    with pytest.raises(PassError, match=says) as caught:
        verify(model, after="my-pass")
    assert "pass my-pass left an invalid graph" in str(caught.value)


def test_signature_may_not_change() -> None:
    model = make()
    before = signature(model)
    model.graph.inputs[0].dtype = ir.DataType.DOUBLE
    with pytest.raises(PassError, match="its signature changed"):
        verify(model, expect=before)
