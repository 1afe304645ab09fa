"""Shapes of broadcasting ops over dims with different symbols."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from accelc.ir.shapes import dims_of, infer


def _dims(text: str) -> tuple[object, ...] | None:
    model = ir.from_onnx_text(f'<ir_version: 10, opset_import: ["":21]> {text}')
    model.graph.outputs[0].shape = None
    infer(model)
    return dims_of(model.graph.outputs[0])


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("N,4", "N,4", ("N", 4)),
        ("N,4", "M,4", ("Max(M, N)", 4)),
        ("N,4", "1,4", ("N", 4)),
        ("N,4", "3,4", (3, 4)),
        ("4,N", "4,1", (4, "N")),
        ("N,S", "M,T", ("Max(M, N)", "Max(S, T)")),
        ("S", "N,1", ("N", "S")),
    ],
)
def test_different_symbols_give_the_larger(left: str, right: str, expected: tuple[object, ...]) -> None:
    rank = max(left.count(","), right.count(",")) + 1
    out = ",".join(f"o{i}" for i in range(rank))
    assert _dims(f"g (float[{left}] x, float[{right}] y) => (float[{out}] z) {{ z = Add(x, y) }}") == expected


def test_a_third_operand_of_a_known_symbol_adds_nothing() -> None:
    text = "g (float[N] x, float[M] y) => (float[K] z) { a = Add(x, y)  b = Mul(a, x)  z = Where(c, b, y) }"
    assert _dims(text.replace("float[M] y)", "float[M] y, bool[N] c)")) == ("Max(M, N)",)


def test_a_product_of_batches() -> None:
    text = "g (float[N,3,4] x, float[M,4,5] y) => (float[K,3,5] z) { a = Relu(x)  b = MatMul(a, y)  z = Relu(b) }"
    found = _dims(text)
    assert found is not None
    assert found[1:] == (3, 5)


def test_both_sides_of_a_skip_connection_are_taken_as_equal() -> None:
    """Halved, doubled again and added: the sum only makes sense where the size is even."""
    text = """g (float[1,2,H] x) => (float[1,2,K] z) {
        h = MaxPool<kernel_shape=[2], strides=[2]>(x)
        two = Constant<value_floats=[1.0, 1.0, 2.0]>()
        e = Resize<mode="nearest">(h, , two)
        z = Add(x, e)
    }"""
    assert _dims(text) == (1, 2, "H")
