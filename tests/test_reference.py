"""The oracles: whole models in onnxruntime, single nodes in onnx.reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from accelc.errors import UnsupportedError
from accelc.reference import (
    Oracle,
    captured_values,
    evaluate_node,
    oracle_spread,
    relative_error,
    run_onnxruntime,
)

HEADER = '<ir_version: 11, opset_import: ["" : 24]>\n'


def model_of(text: str) -> ir.Model:
    return ir.from_onnx_text(HEADER + text)


def node_of(text: str) -> ir.Node:
    return next(iter(model_of(text).graph))


MATMUL = "g (float[M,2] x) => (float[M,2] y) <float[2,2] w = {1, 2, 3, 4}> { y = MatMul(x, w) }"


def test_runs_a_model_its_bytes_and_its_file(tmp_path: Path) -> None:
    model = model_of(MATMUL)
    path = tmp_path / "m.onnx"
    ir.save(model, path)
    feeds = {"x": np.eye(2, dtype=np.float32)}
    for source in (model, path, path.read_bytes()):
        (y,) = run_onnxruntime(source, feeds)
        np.testing.assert_array_equal(y, [[1, 2], [3, 4]])


def test_large_weights_are_lent_and_the_model_is_untouched() -> None:
    model = model_of(
        "g (float[M,64] x) => (float[M,64] y) { y = MatMul(x, w) }".replace("x) =>", "x, float[64,64] w) =>")
    )
    weight = model.graph.inputs.pop(1)
    weight.const_value = ir.tensor(np.arange(4096, dtype=np.float32).reshape(64, 64), name="w")
    model.graph.initializers.add(weight)
    before = weight.const_value
    (y,) = run_onnxruntime(model, {"x": np.eye(64, dtype=np.float32)})
    np.testing.assert_array_equal(y, before.numpy())
    assert model.graph.initializers["w"].const_value is before


def test_a_large_weight_that_nothing_reads_is_no_obstacle() -> None:
    model = model_of(MATMUL)
    unread = ir.tensor(np.zeros((64, 64), np.float32), name="unread")
    model.graph.initializers.add(ir.Value(name="unread", const_value=unread))
    (y,) = run_onnxruntime(model, {"x": np.eye(2, dtype=np.float32)})
    np.testing.assert_array_equal(y, [[1, 2], [3, 4]])
    assert "unread" in model.graph.initializers


def test_spread_is_small_and_outputs_are_the_optimised_ones() -> None:
    feeds = {"x": np.full((1, 2), 0.1, np.float32)}
    outputs, spread = oracle_spread(model_of(MATMUL), feeds)
    np.testing.assert_array_equal(outputs[0], run_onnxruntime(model_of(MATMUL), feeds)[0])
    assert 0 <= spread < 1e-6


def test_names_what_onnxruntime_rejects() -> None:
    oracle = Oracle(model_of(MATMUL))
    assert (oracle.input_names, oracle.output_names) == (("x",), ("y",))
    with pytest.raises(UnsupportedError, match="onnxruntime cannot run the model"):
        oracle.run({"x": np.zeros((1, 3), np.float32)})
    with pytest.raises(UnsupportedError, match="onnxruntime cannot load the model"):
        Oracle(b"not a model")


@pytest.mark.parametrize(
    ("a", "b", "error"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.25),
        ([0.0], [0.5], 0.5),
        ([], [], 0.0),
        ([np.nan, 2.0], [np.nan, 2.0], 0.0),
    ],
)
def test_relative_error(a: list[float], b: list[float], error: float) -> None:
    assert relative_error(np.array(a, np.float32), np.array(b, np.float32)) == error


def test_relative_error_of_other_shapes_is_infinite() -> None:
    assert relative_error(np.zeros(2, np.float32), np.zeros(3, np.float32)) == float("inf")


def test_evaluates_a_node_with_an_absent_operand() -> None:
    node = node_of("g (float[N] x) => (float[N] y) <float hi = {1}> { y = Clip(x, , hi) }")
    (y,) = evaluate_node(node, [np.array([-3, 0.5, 2], np.float32), None, np.float32(1)])
    np.testing.assert_array_equal(y, np.array([-3, 0.5, 1], np.float32))
    assert y.dtype == np.float32


def test_evaluates_several_outputs_and_scalars() -> None:
    node = node_of("g (float[N] x) => (float[K] v, int64[K] i) <int64[1] k = {1}> { v, i = TopK(x, k) }")
    v, i = evaluate_node(node, [np.array([1, 3, 2], np.float32), np.array([1], np.int64)])
    assert (v.tolist(), i.tolist()) == ([3.0], [1])


def test_integer_division_truncates_exactly() -> None:
    node = node_of("g (int64[N] a, int64[N] b) => (int64[N] c) { c = Div(a, b) }")
    a = np.array([7, -7, 7, -7, 2**62 + 1], np.int64)
    (c,) = evaluate_node(node, [a, np.array([2, 2, -2, -2, 1], np.int64)])
    assert c.tolist() == [3, -3, -3, 3, 2**62 + 1]


@pytest.mark.parametrize("op", ["Div", "Mod"])
@pytest.mark.parametrize(
    ("a", "b", "why"),
    [(1, 0, "integer division by zero"), (np.iinfo(np.int32).min, -1, "integer overflow: -2147483648 / -1")],
)
def test_integer_traps_are_errors(op: str, a: int, b: int, why: str) -> None:
    node = node_of(f"g (int32[N] a, int32[N] b) => (int32[N] c) {{ c = {op}(a, b) }}")
    with pytest.raises(UnsupportedError, match=why):
        evaluate_node(node, [np.array([a], np.int32), np.array([b], np.int32)])


def test_float_division_by_zero_is_silent() -> None:
    node = node_of("g (float[N] a, float[N] b) => (float[N] c) { c = Div(a, b) }")
    (c,) = evaluate_node(node, [np.array([1, 0], np.float32), np.zeros(2, np.float32)])
    assert c[0] == np.inf
    assert np.isnan(c[1])


def test_a_subgraph_finds_its_constants_and_takes_captures() -> None:
    node = node_of(
        "g (bool c, float[2] x) => (float[2] y) <float[2] k = {1, 2}> {"
        " y = If(c) <then_branch = t () => (float[2] a) { a = Add(x, k) },"
        " else_branch = e () => (float[2] b) { b = Sub(x, k) }> }"
    )
    assert {value.name for value in captured_values(node)} == {"x", "k"}
    (y,) = evaluate_node(node, [np.array(False)], captures={"x": np.array([5, 5], np.float32)})
    assert y.tolist() == [4, 3]


def test_unknown_ops_are_refused() -> None:
    model = ir.from_onnx_text(
        '<ir_version: 11, opset_import: ["" : 24, "my" : 1]> g (float[N] x) => (float[N] y) { y = my.Op(x) }'
    )
    with pytest.raises(UnsupportedError, match="no reference for my::Op"):
        evaluate_node(next(iter(model.graph)), [np.zeros(1, np.float32)])


def test_gather_elements_where_a_dim_is_one() -> None:
    node = ir.node("GatherElements", [ir.val("d"), ir.val("i")], attributes={"axis": 1})
    data = np.arange(6, dtype=np.float32).reshape(2, 3)
    indices = np.array([[0, -1, 2, 1]], np.int64)
    (result,) = evaluate_node(node, [data, indices])
    np.testing.assert_array_equal(result, [[0, 2, 2, 1]])
    with pytest.raises(UnsupportedError, match="out of the range"):
        evaluate_node(node, [data, np.array([[3]], np.int64)])
