from __future__ import annotations

import math

import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.errors import AccelcError, CallError, InvalidModelError, UnsupportedError
from accelc.ir.shapes import dims_of, evaluate, infer, same, symbolic_value, symbols_in, unify


@pytest.mark.parametrize(
    ("text", "symbols", "expected"),
    [
        ("Min(512, S)", {"S": 700}, 512),
        ("Max(1, S)", {"S": 0}, 1),
        ("768*S", {"S": 3}, 2304),
        ("floor((H-1)/2)+1", {"H": 7}, 4),
        ("floor(H/2 - 1/2) + 1", {"H": 8}, 4),
        ("ceiling(S/3)", {"S": 7}, 3),
        ("N*S//2", {"N": 3, "S": 3}, 4),
        ("Mod(S, 4)", {"S": 7}, 3),
        ("S % 4", {"S": 7}, 3),
        ("S**2 - 1", {"S": 5}, 24),
        ("floor(N/S)", {"N": 7, "S": 2}, 3),
        ("decoder.45_dim_1 + in", {"decoder.45_dim_1": 2, "in": 3}, 5),
        ("2*(-S + 10)", {"S": 4}, 12),
        ("42", {}, 42),
    ],
)
def test_evaluate(text: str, symbols: dict[str, int], expected: int) -> None:
    assert evaluate(text, symbols) == expected
    assert symbols_in(text) == symbols.keys()


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "S if S else 1",
        "[S]",
        "2S",
        "x y",
        "lambda: 1",
        "f(S)",
        "(" * 900,
        "-" * 4000 + "S",
        "S" * 5000,
        "",
    ],
)
def test_evaluate_reads_only_the_grammar(text: str) -> None:
    with pytest.raises(InvalidModelError, match="cannot read the dimension"):
        evaluate(text, {"S": 1, "x": 1, "y": 1})


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("S + T", UnsupportedError, "nothing binds 'T'"),
        ("S/2", CallError, "not an integer"),
        ("S/0", CallError, "division by zero"),
        ("S // 0", CallError, "S=3"),
        ("2**64*S", CallError, "64"),
        ("((((S**64)**64)**64)**64)", CallError, "64 bits"),
    ],
)
def test_evaluate_says_why_not(text: str, kind: type[AccelcError], says: str) -> None:
    with pytest.raises(kind, match=says.replace("(", "\\(")):
        evaluate(text, {"S": 3})


SIZES = st.integers(0, 40)


@st.composite
def expressions(draw: st.DrawFn) -> tuple[str, object]:
    """A random expression as text and as a Python function of (A, B)."""
    made: list[tuple[str, object]] = [("A", lambda a, b: a), ("B", lambda a, b: b)]
    for _ in range(draw(st.integers(1, 6))):
        (left, f), (right, g) = draw(st.sampled_from(made)), draw(st.sampled_from(made))
        k = draw(st.integers(1, 5))
        made.append(
            draw(
                st.sampled_from(
                    [
                        (f"({left} + {right})", lambda a, b, f=f, g=g: f(a, b) + g(a, b)),
                        (f"({left} - {k})", lambda a, b, f=f, k=k: f(a, b) - k),
                        (f"{k}*({left})", lambda a, b, f=f, k=k: f(a, b) * k),
                        (f"floor({left}/{k})", lambda a, b, f=f, k=k: f(a, b) // k),
                        (f"ceiling({left}/{k})", lambda a, b, f=f, k=k: math.ceil(f(a, b) / k)),
                        (f"Min({left}, {right})", lambda a, b, f=f, g=g: min(f(a, b), g(a, b))),
                    ]
                )
            )
        )
    return made[-1]


@settings(max_examples=40, deadline=None)
@given(expressions(), SIZES, SIZES)
def test_evaluate_agrees_with_python(expression: tuple[str, object], a: int, b: int) -> None:
    text, function = expression
    assert evaluate(text, {"A": a, "B": b}) == function(a, b)  # type: ignore[operator]


def test_unify_binds_checks_and_solves() -> None:
    symbols: dict[str, int] = {}
    unify(("N", "2*S", 3, None), (5, 8, 3, 99), symbols, name="x")
    assert symbols == {"N": 5, "S": 4}
    unify(("N*S",), (20,), symbols, name="z")


@pytest.mark.parametrize(
    ("declared", "actual", "why"),
    [
        (("N", 3), (4,), "expected rank 2, got 1"),
        (("N", 3), (4, 5), "axis 1: expected 3, got 5"),
        (("N", "N"), (4, 5), "axis 1: N is 4 elsewhere, here 5"),
        (("N", "N + 1"), (4, 4), "axis 1: expected N + 1 = 5, got 4"),
    ],
)
def test_unify_names_input_axis_and_sizes(
    declared: tuple[int | str, ...], actual: tuple[int, ...], why: str
) -> None:
    with pytest.raises(CallError) as caught:
        unify(declared, actual, {}, name="image")
    assert "image has the wrong shape" in str(caught.value)
    assert why in str(caught.value)


def test_same_is_never_wrong() -> None:
    assert same("2*S", "S*2")
    assert same("floor(H/2 - 1/2) + 1", "floor((H-1)/2)+1")
    assert same(3, 3)
    assert not same("N", "M")
    assert not same("S", "Min(512, S)")
    assert not same(2, "S")


def text_model(text: str) -> ir.Model:
    return ir.from_onnx_text(f'<ir_version: 10, opset_import: ["": 21, "com.acme": 1]> {text}')


def test_infer_keeps_symbols_and_elements() -> None:
    model = text_model(
        "g (float[N,S,768] x) => (y) <int64[1] minus = {-1}, int64[1] one = {1}> {"
        " shape = Shape(x) first = Gather<axis=0>(shape, one) t = Concat<axis=0>(minus, first) r = Reshape(x, t)"
        " y = Relu(r) }"
    )
    assert infer(model) == ()
    values = {out.name: out for node in model.graph for out in node.outputs}
    assert symbolic_value(values["shape"]) == ("N", "S", 768)
    dims = dims_of(values["y"])
    assert dims is not None
    assert [evaluate(dim, {"N": 2, "S": 3}) for dim in dims if dim is not None] == [1536, 3]


def test_infer_through_expand_of_torch() -> None:
    model = text_model(
        "g (float[1,N] x, int64[N,4] like) => (y) <int64[1] m = {-1}, int64[1] two = {2}> {"
        " s = Shape(like) n = Shape(s) ones = ConstantOfShape<value = int64[1] {1}>(n)"
        " wild = Mul(ones, m) is = Equal(s, wild) t = Where(is, ones, s) y = Expand(x, t) }"
    )
    infer(model)
    assert symbolic_value(model.graph.node(5).outputs[0]) == ("N", 4)


def test_infer_does_not_guess_run_time_splits() -> None:
    model = text_model("g (float[6] x, int64[2] sizes) => (a, b) { a, b = Split<axis=0>(x, sizes) }")
    infer(model)
    a, b = (dims_of(value) for value in model.graph.outputs)
    assert a is not None
    assert isinstance(a[0], str)
    assert a != b


def test_infer_passes_over_unknown_ops() -> None:
    model = text_model("g (float[N,4] x) => (y) { u = com.acme.Foo(x) v = Relu(x) y = Add(v, v) }")
    assert infer(model) == ()
    assert dims_of(model.graph.outputs[0]) == ("N", 4)
    assert dims_of(model.graph.node(0).outputs[0]) is None


def test_infer_names_what_it_cannot_do() -> None:
    model = text_model("g (float[4,5] x, float[6,7] w) => (y) { [m1] t = MatMul(x, w) y = Relu(x) }")
    notes = infer(model)
    assert len(notes) == 1
    assert "node m1 (MatMul, opset 21)" in notes[0]
    assert dims_of(model.graph.outputs[0]) == (4, 5)
