"""Each op as a circuit, on all inputs, against onnxruntime."""

from __future__ import annotations

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.errors import UnsupportedError
from accelc.frontend import load_model
from accelc.targets.quantum_circuit.oracle.search import build_oracle, check_oracle

W = "<float[3,4] w = {1, -2, 3, 0.5, 0, 1, -1, 4, 2, 2, -3, -0.25}, float[4] c = {0, 1, -2, 0.25}>"
SIGNS = {
    "weights": f"g (float[1,3] x) => (float[1,4] y) {W} {{ a = MatMul(x, w)  y = Add(a, c) }}",
    "sign of a tie": f"g (float[1,3] x) => (float[1,4] y) {W} {{ a = MatMul(x, w)  y = Sign(a) }}",
    "gemm": f"g (float[3,1] x) => (float[1,4] y) {W} {{ y = Gemm<alpha = 2.0, beta = 0.5, transA = 1>(x, w, c) }}",
    "gemm transB": "g (float[1,3] x) => (float[1,1] y) <float[1,3] w = {1, 2, 4}> { y = Gemm<transB = 1>(x, w) }",
    "gemm alpha 0": f"g (float[1,3] x) => (float[1,4] y) {W} {{ y = Gemm<alpha = 0.0>(x, w, c) }}",
    "greater": f"g (float[1,3] x) => (bool[1,4] y) {W} {{ a = MatMul(x, w)  y = Greater(a, c) }}",
    "greater or equal": f"g (float[1,3] x) => (bool[1,4] y) {W} {{ a = MatMul(x, w)  y = GreaterOrEqual(a, c) }}",
    "less": f"g (float[1,3] x) => (bool[1,4] y) {W} {{ a = MatMul(x, w)  y = Less(a, c) }}",
    "less or equal": f"g (float[1,3] x) => (bool[1,4] y) {W} {{ a = MatMul(x, w)  y = LessOrEqual(a, c) }}",
    "equal": f"g (float[1,3] x) => (bool[1,4] y) {W} {{ a = MatMul(x, w)  y = Equal(a, c) }}",
    "argmax": f"g (float[1,3] x) => (int64[1,1] y) {W} {{ a = MatMul(x, w)  y = ArgMax<axis = 1>(a) }}",
    "argmax flat": f"g (float[1,3] x) => (int64[1] y) {W} {{ a = MatMul(x, w) y = ArgMax<axis=1, keepdims=0>(a) }}",
    "where of values": f"""g (float[1,3] x) => (float[1,4] y) {W}
        {{ a = MatMul(x, w)  b = Greater(a, c)  d = Neg(a)  y = Where(b, d, c) }}""",
    "cast": f"""g (float[1,3] x) => (int32[1,4] y) {W}
        {{ a = MatMul(x, w)  b = Cast<to = 9>(a)  y = Cast<to = 6>(b) }}""",
    "half of a sum": """g (float[3] x) => (int64[3] y) <float o = {1}, float h = {0.5}>
        { a = Add(x, o)  b = Mul(a, h)  y = Cast<to = 7>(b) }""",
    "moves": """g (float[2,3] x) => (float[4,2] y) <int64[2] s = {3, 2}, int64[1] i = {1}> {
        a = Transpose(x)  b = Reshape(x, s)  c = Gather(b, i)  d = Concat<axis = 0>(a, c)  y = Sign(d) }""",
    "two inputs": "g (float[2] x, float[2] z) => (float[2] y) { a = Sub(x, z)  y = Sign(a) }",
    "sum": """g (float[2,3] x) => (float[2] y) <int64[1] a = {1}>
        { s = ReduceSum<keepdims = 0>(x, a)  y = Sign(s) }""",
    "sum of all": "g (float[2,3] x) => (float[1,1] y) { y = ReduceSum(x) }",
    "lookup of rows": """g (float[1,3] x) => (float[2,1,1] y) <float[2,4] t = {1, 2, 3, 9, 5, 6, 7, 8}, float z = {0}>
        { b = Greater(x, z)  i = Cast<to = 7>(b)  a = ReduceSum(i)  y = Gather<axis = 1>(t, a) }""",
    "lookup from the end": """g (float[2,2] x) => (float[2,2] y) <float z = {0}, int64 m = {-2}>
        { b = Greater(x, z)  i = Cast<to = 7>(b)  p = Add(i, m)  y = GatherElements<axis = 1>(x, p) }""",
    "integers": """g (int8[1,3] x) => (int32[1,2] y) <int8[3,2] w = {1, -3, 2, 5, -7, 0}, int8 z = {1}>
        { y = MatMulInteger(x, w, z, z) }""",
    "only constants": "g (float[2] x) => (float[2] y) <float[2] k = {1, 2}> { y = Sign(k) }",
    "no op": "g (float[3] x) => (float[3] y) { y = Identity(x) }",
    "empty sum": """g (float[1,2] x) => (float[1,2] y) <int64[1] s = {0}, int64[1] a = {1}, float[0,2] w = {}>
        { e = Slice(x, s, s, a)  b = MatMul(e, w)  y = Sub(x, b) }""",
}
LOGIC = {
    "and": "y = And(p, q)",
    "or": "y = Or(p, q)",
    "xor": "y = Xor(p, q)",
    "xor thrice": "a = Xor(p, q)  b = Xor(a, r)  c = Xor(b, q)  y = Not(c)",
    "majority": "a = And(p, q)  b = Or(p, q)  c = And(b, r)  y = Or(a, c)",
    "choice": "y = Where(p, q, r)",
    "choice of itself": "n = Not(p)  y = Where(p, n, q)",
    "choice of a complement": "n = Not(q)  y = Where(p, q, n)",
    "choice by an and": "a = And(p, q)  n = Not(r)  y = Where(a, n, q)",
    "equal": "y = Equal(p, q)",
    "same": "y = Xor(p, p)",
}


def tree() -> onnx.ModelProto:
    """Two levels: x0, then x1 or x2."""
    nodes = {"treeids": [0] * 7, "nodeids": list(range(7)), "featureids": [0, 1, 2, 0, 0, 0, 0]}
    nodes |= {"truenodeids": [1, 3, 5, 0, 0, 0, 0], "falsenodeids": [2, 4, 6, 0, 0, 0, 0]}
    given = {f"nodes_{name}": value for name, value in nodes.items()}
    node = onnx.helper.make_node(
        "TreeEnsembleClassifier",
        ["x"],
        ["label", "scores"],
        domain="ai.onnx.ml",
        nodes_values=[0.0] * 7,
        nodes_modes=["BRANCH_LEQ"] * 3 + ["LEAF"] * 4,
        class_treeids=[0] * 4,
        class_nodeids=[3, 4, 5, 6],
        class_ids=[0, 1, 1, 0],
        class_weights=[1.0] * 4,
        classlabels_int64s=[0, 1],
        post_transform="NONE",
        **given,
    )
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3])
    label = onnx.helper.make_tensor_value_info("label", onnx.TensorProto.INT64, [1])
    sets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
    graph = onnx.helper.make_graph([node], "tree", [x], [label])
    return onnx.helper.make_model(graph, opset_imports=sets, ir_version=8)


def test_small_decision_tree() -> None:
    model = load_model(tree()).model
    built = build_oracle(model)
    values, _ = check_oracle(built, model)
    reached = {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 0}  # class by x0 > 0 and by the next feature > 0
    expected = [reached[i & 1, i >> 1 + (i & 1) & 1] for i in range(8)]
    assert values[:, 0].tolist() == expected


def check(text: str, few_qubits: bool = False) -> None:
    model = load_model(text).model
    built = build_oracle(model, few_qubits=few_qubits)
    assert check_oracle(built, model)[1] == 2**built.oracle.inputs


@pytest.mark.parametrize("name", SIGNS)
def test_numbers(name: str) -> None:
    check(SIGNS[name])


def test_bits_of_0_and_1() -> None:
    model = load_model(SIGNS["greater"]).model
    built = build_oracle(model, signs=False)
    assert not built.inputs[0].signs
    assert check_oracle(built, model)[1] == 8
    assert (
        not build_oracle(load_model("g (uint8[2] x) => (uint8[2] y) { y = Identity(x) }").model)
        .inputs[0]
        .signs
    )


@pytest.mark.parametrize("name", LOGIC)
def test_logic(name: str) -> None:
    check(f"g (bool[2] p, bool[2] q, bool[2] r) => (bool[2] y) {{ {LOGIC[name]} }}")


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(-9, 9), min_size=2, max_size=8),
    st.integers(-20, 20),
    st.sampled_from(["Greater", "LessOrEqual"]),
    st.booleans(),
)
def test_any_threshold(weights: list[int], bound: int, op: str, few_qubits: bool) -> None:
    n = len(weights)
    listed = ", ".join(map(str, weights))
    check(
        f"g (float[{n}] x) => (bool y) <float[{n}] w = {{{listed}}}, float t = {{{bound}}}> "
        f"{{ a = MatMul(x, w)  y = {op}(a, t) }}",
        few_qubits,
    )


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_any_logic(data: st.DataObject) -> None:
    names = ["p", "q", "r"]
    lines = []
    for i in range(data.draw(st.integers(1, 8))):
        op = data.draw(st.sampled_from(["And", "Or", "Xor", "Not", "Where", "Equal"]))
        count = {"Not": 1, "Where": 3}.get(op, 2)
        operands = [data.draw(st.sampled_from(names)) for _ in range(count)]
        lines.append(f"v{i} = {op}({', '.join(operands)})")
        names.append(f"v{i}")
    body = "  ".join(
        [*lines, f"y = Identity({names[-1]})", f"z = Identity({data.draw(st.sampled_from(names))})"]
    )
    text = f"g (bool[1] p, bool[1] q, bool[1] r) => (bool[1] y, bool[1] z) {{ {body} }}"
    check(text, data.draw(st.booleans()))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("g (float[2] x) => (float[2] y) { y = Mul(x, x) }", "both factors"),
        ("g (float[2] x) => (float[2] y) <float[2] w = {inf, 1}> { y = Mul(x, w) }", "inf"),
        ("g (int8[2] x) => (int8[2] y) <int8[1] w = {100}> { a = Add(x, w)  y = Add(a, w) }", "not exact"),
        (
            "g (float[2] x) => (int32[2] y) <float w = {0.5}> { a = Mul(x, w)  y = Cast<to = 6>(a) }",
            "not exact",
        ),
    ],
)
def test_what_is_not_exact_is_refused(text: str, why: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        build_oracle(load_model(text).model)
    assert why in str(caught.value)
