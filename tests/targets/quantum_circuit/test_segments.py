"""How graphs are cut: what becomes a circuit, what is multiplied out, what stays on the host and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from hybrid_harness import hosted, imported, node, program, proto, segments
from onnx.reference import ReferenceEvaluator

from accelc.targets.quantum_circuit.compose import APART, LOCAL, WHOLE, Choices
from accelc.targets.quantum_circuit.executable import QuantumExecutable
from accelc.targets.quantum_circuit.segments import cut

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    x: Sequence[int | str],
    y: Sequence[int | str],
    **weights: Any,
) -> onnx.ModelProto:
    return proto(nodes, {"x": x}, {name: np.asarray(w) for name, w in weights.items()}, {"y": y})


def same(made: onnx.ModelProto, *shapes: tuple[int, ...]) -> QuantumExecutable:
    """The program gives what the reference gives, for operands of these shapes."""
    exe = program(made)
    for shape in shapes:
        x = normal(*shape)
        with np.errstate(all="ignore"):
            (expected,) = ReferenceEvaluator(made).run(None, {"x": x})
        y = exe(x=x)
        assert y.dtype == expected.dtype
        np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)
    return exe


def test_a_perceptron_is_circuits_with_functions_between() -> None:
    nodes = [node("Gemm", "x a b", "h"), node("Relu", "h", "r"), node("MatMul", "r c", "y")]
    made = model(nodes, ["N", 5], ["N", 2], a=normal(5, 7), b=normal(7), c=normal(7, 2))
    exe = same(made, (3, 5), (1, 5), (0, 5))
    assert segments(exe) == [["Gemm"], ["MatMul"]]
    assert hosted(exe) == {"Relu": "function"}
    assert not exe.fallbacks


def test_matrices_in_a_row_are_one() -> None:
    nodes = [node("MatMul", "x a", "h"), node("Gemm", "h b c", "i"), node("MatMul", "i d", "y")]
    made = model(nodes, ["N", 6], ["N", 5], a=normal(6, 2), b=normal(2, 9), c=normal(9), d=normal(9, 5))
    exe = same(made, (2, 6))
    assert segments(exe) == [["MatMul", "Gemm", "MatMul"]]


def test_convolutions_in_a_row_are_two() -> None:
    nodes = [node("Conv", "x v", "h"), node("Conv", "h w", "y")]
    made = model(nodes, ["N", 1, 8, 8], ["N", 1, 4, 4], v=normal(2, 1, 3, 3), w=normal(1, 2, 3, 3))
    assert segments(same(made, (2, 1, 8, 8))) == [["Conv"], ["Conv"]]


def test_constants_join_the_map_beside_them() -> None:
    nodes = [
        node("Mul", "x s", "a"),
        node("Sub", "a m", "b"),
        node("Conv", "b w", "c"),
        node("BatchNormalization", "c g h u v", "d"),
        node("Neg", "d", "e"),
        node("Add", "e t", "y"),
    ]
    made = model(
        nodes,
        ["N", 2, 6, 6],
        ["N", 3, 4, 4],
        s=np.array(0.5),
        m=np.array([[[0.25]]]),
        w=normal(3, 2, 3, 3),
        g=normal(3),
        h=normal(3),
        u=normal(3),
        v=normal(3) ** 2,
        t=normal(3, 1, 1),
    )
    exe = same(made, (2, 2, 6, 6), (0, 2, 6, 6))
    assert [len(ops) for ops in segments(exe)] == [6]
    assert not hosted(exe)


def test_a_shift_does_not_go_through_pads() -> None:
    nodes = [node("Add", "x s", "a"), node("Conv", "a w", "y", pads=[1, 1, 1, 1])]
    made = model(nodes, ["N", 1, 4, 4], ["N", 2, 4, 4], s=np.array(2.0), w=normal(2, 1, 3, 3))
    exe = same(made, (2, 1, 4, 4))
    assert "Conv" in segments(exe)[0]


def test_a_convolution_before_a_small_result_is_multiplied_out_with_it() -> None:
    nodes = [
        node("Conv", "x w b", "c"),
        node("Transpose", "c", "t", perm=[0, 2, 3, 1]),
        node("Flatten", "t", "f"),
        node("Gemm", "f a d", "y"),
    ]
    made = model(
        nodes, ["N", 1, 4, 4], ["N", 2], w=normal(8, 1, 3, 3), b=normal(8), a=normal(32, 2), d=normal(2)
    )
    exe = same(made, (3, 1, 4, 4), (1, 1, 4, 4))
    assert segments(exe) == [["Conv", "Transpose", "Flatten", "Gemm"]]
    assert exe.program.cut.segments[0].map.matrices[0].shape == (2, 16)


def test_moves_between_stay_moves() -> None:
    nodes = [
        node("Conv", "x w", "c", group=2),
        node("Relu", "c", "r"),
        node("Reshape", "r shape", "f"),
        node("Gemm", "f a", "y"),
    ]
    made = model(
        nodes, ["N", 2, 3, 3], ["N", 2], w=normal(4, 1, 2, 2), shape=np.array([-1, 16]), a=normal(16, 2)
    )
    exe = same(made, (2, 2, 3, 3), (0, 2, 3, 3))
    assert segments(exe) == [["Conv"], ["Gemm"]]
    assert len(exe.circuits()) == 3
    assert hosted(exe) == {"Relu": "function", "Reshape": "move"}


def test_what_is_used_twice_is_not_multiplied_out() -> None:
    nodes = [node("MatMul", "x a", "h"), node("MatMul", "h b", "i"), node("Add", "h i", "y")]
    exe = same(model(nodes, ["N", 4], ["N", 4], a=normal(4, 4), b=normal(4, 4)), (2, 4))
    assert segments(exe) == [["MatMul"], ["MatMul"]]


@pytest.mark.parametrize(
    ("operator", "weights", "reason"),
    [
        (node("Mul", "x w", "y"), np.array(2.0), "the same factor for all numbers"),
        (node("Add", "x w", "y"), np.ones(4), "the same factor for all numbers"),
        (node("MatMul", "x w", "y"), np.zeros((4, 4)), "all weights are zero"),
        (node("MatMul", "x w", "y"), np.full((4, 4), np.inf), "NaN or infinity"),
    ],
)
def test_maps_without_a_circuit(operator: onnx.NodeProto, weights: np.ndarray, reason: str) -> None:
    exe = same(model([operator], ["N", 4], ["N", 4], w=weights), (3, 4))
    (step,) = exe.program.cut.steps
    assert reason in step.reason
    assert not exe.fallbacks


def test_products_of_two_operands_are_listed() -> None:
    nodes = [node("Transpose", "x", "t"), node("MatMul", "x t", "y")]
    exe = same(model(nodes, ["N", 4], ["N", "N"]), (3, 4))
    assert exe.fallbacks == (
        "node n_y (MatMul): both operands of MatMul depend on the model's inputs: their product is not linear",
    )


def test_no_elements() -> None:
    exe = same(model([node("MatMul", "x w", "y")], ["N", 0], ["N", 3], w=np.zeros((0, 3))), (2, 0))
    assert not exe.circuits()


def test_decisions_can_be_repeated_and_are_checked() -> None:
    nodes = [node("MatMul", "x a", "h"), node("MatMul", "h b", "y")]
    made = model(nodes, ["N", 4], ["N", 4], a=normal(4, 4), b=normal(4, 4))
    graph = imported(made).graph
    assert cut(graph, Choices()).decisions == (LOCAL,)
    for decisions, count in (([APART], 2), ([LOCAL], 1), ([WHOLE], 1)):
        assert len(cut(graph, Choices.repeating(decisions)).segments) == count
    for wrong in ([], ["both"]):
        with pytest.raises(ValueError, match="cannot be multiplied out"):
            cut(graph, Choices.repeating(wrong))


def test_many_nodes_are_cut_in_one_walk() -> None:
    nodes, name = [], "x"
    for index in range(3000):
        nodes.append(
            node(
                ("Add", "Relu", "Mul")[index % 3], f"{name} c"[: None if index % 3 != 1 else -2], f"v{index}"
            )
        )
        name = f"v{index}"
    made = model(nodes, ["N", 4], ["N", 4], c=np.array(1.5))
    made.graph.output[0].name = name
    found = cut(imported(made).graph, Choices())
    assert len(found.steps) == 3000
