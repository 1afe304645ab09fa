"""Ops that ONNX defines by functions are replaced by their definitions, where no target wants them whole."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from accelc.errors import LimitError
from accelc.frontend import load_model
from accelc.ir.pass_base import Limits


def model_of(
    op: str, inputs: dict[str, list[int]], *, opset: int = 24, names: str = "", outputs: int = 1, **attrs
):  # type: ignore[no-untyped-def]
    """A model of one node; ``names`` are its operands where they are not all the inputs in order."""
    infos = [
        helper.make_tensor_value_info(
            name, TensorProto.INT64 if name == "target" else TensorProto.FLOAT, shape
        )
        for name, shape in inputs.items()
    ]
    made = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names.split(" ") if names else list(inputs), made, **attrs)
    graph = helper.make_graph(
        [node], "g", infos, [helper.make_empty_tensor_value_info(name) for name in made]
    )
    for info in graph.output:
        info.CopyFrom(helper.make_tensor_value_info(info.name, TensorProto.FLOAT, None))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def ops_of(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in load_model(model).model.graph} - {"Constant"}


def test_a_loss_within_a_loss_is_expanded_too() -> None:
    model = model_of("SoftmaxCrossEntropyLoss", {"x": [3, 5], "target": [3]}, opset=13)
    assert "LogSoftmax" in ops_of(model)
    assert not ops_of(model) & {"SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"}


def test_attributes_have_their_defaults() -> None:
    imported = load_model(model_of("MeanVarianceNormalization", {"x": [2, 3, 4, 5]}, opset=13)).model
    axes = next(node for node in imported.graph if node.op_type == "ReduceMean").inputs[1]
    assert axes is not None
    found = axes.const_value if axes.const_value is not None else axes.producer().attributes["value"].value  # type: ignore[union-attr]
    np.testing.assert_array_equal(found.numpy(), [0, 2, 3])


def test_plain_attention_stays_whole() -> None:
    shapes = {"q": [1, 2, 3, 4], "k": [1, 2, 5, 4], "v": [1, 2, 5, 4]}
    assert ops_of(model_of("Attention", shapes)) == {"Attention"}
    assert "Attention" not in ops_of(model_of("Attention", shapes, softcap=2.0))
    cached = shapes | {"pk": [1, 2, 6, 4], "pv": [1, 2, 6, 4]}
    assert "Attention" not in ops_of(model_of("Attention", cached, names="q k v  pk pv", outputs=3))


def test_layer_normalisation_is_expanded_for_its_statistics_only() -> None:
    shapes = {"x": [2, 8], "scale": [8]}
    assert ops_of(model_of("LayerNormalization", shapes)) == {"LayerNormalization"}
    assert "LayerNormalization" not in ops_of(model_of("LayerNormalization", shapes, outputs=2))


def test_expansion_is_bounded() -> None:
    with pytest.raises(LimitError, match="expanding ops into their definitions"):
        load_model(model_of("HannWindow", {"target": []}), limits=Limits(max_function_nodes=3))
