"""Import, verify and print grow linearly with nodes."""

from __future__ import annotations

import time

import onnx
from onnx import TensorProto as T
from onnx import helper as h

from accelc.frontend import load_model
from accelc.ir.text import to_text
from accelc.ir.verify import verify


def chain(count: int) -> bytes:
    nodes = [h.make_node("Relu", [f"v{i}"], [f"v{i + 1}"], name=f"n{i}") for i in range(count)]
    graph = h.make_graph(
        nodes,
        "chain",
        [h.make_tensor_value_info("v0", T.FLOAT, ["N", 4])],
        [h.make_tensor_value_info(f"v{count}", T.FLOAT, ["N", 4])],
    )
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 13)])
    model.ir_version = 8
    data: bytes = model.SerializeToString()
    return data


def seconds(data: bytes) -> float:
    start = time.process_time()
    model = load_model(data).model
    verify(model)
    to_text(model)
    return time.process_time() - start


def test_ten_times_the_nodes_take_at_most_twenty_times_as_long() -> None:
    seconds(chain(100))  # fill the caches of schemas
    small, large = seconds(chain(1000)), seconds(chain(10_000))
    assert large < 20 * small


def test_a_reversed_chain_is_sorted_in_linear_time() -> None:
    model = onnx.ModelProto.FromString(chain(5000))
    nodes = list(reversed([onnx.NodeProto.FromString(n.SerializeToString()) for n in model.graph.node]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    imported = load_model(model)
    verify(imported.model)
    assert imported.notes == ("sorted the nodes of the main graph",)
    assert imported.model.graph[0].name == "n0"
