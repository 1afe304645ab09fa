"""Shape arithmetic against NumPy, and with symbolic dims."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="target xla needs accelc[jax]")

from accelc.errors import LoweringError  # noqa: E402
from accelc.targets.jax_xla.shape_arithmetic import evaluate, shape_of, size_of  # noqa: E402


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "expected"),
    [
        ("Div", (ints(-7, 7, 6), ints(2, -2, 3)), {}, [-3, -3, 2]),
        ("Mod", (ints(-7, 7), ints(3, 3)), {}, [2, 1]),
        ("Mod", (ints(-7, 7), ints(3, 3)), {"fmod": 1}, [-1, 1]),
        ("Slice", (ints(1, 2, 3, 4), ints(3), ints(-5), ints(0), ints(-2)), {}, [4, 2]),
        ("Slice", (ints(1, 2, 3, 4), ints(1), ints(2**62)), {}, [2, 3, 4]),
        ("Gather", (ints(5, 6, 7), ints(-1, 0)), {}, [7, 5]),
        ("Concat", (ints(1), ints(), ints(2)), {"axis": 0}, [1, 2]),
        ("Where", (np.array([True, False]), ints(1, 2), ints(3, 4)), {}, [1, 4]),
        ("Range", (np.int64(1), np.int64(8), np.int64(3)), {}, [1, 4, 7]),
        ("ConstantOfShape", (ints(2),), {"value": ints(-1)}, [-1, -1]),
        ("ReduceProd", (ints(2, 3, 4),), {"keepdims": 0}, 24),
        ("Cast", (np.array([1.9, -1.9], np.float32),), {"to": 7}, [1, -1]),
        ("Reshape", (ints(1, 2), ints(0)), {}, [1, 2]),
        ("Max", (ints(1, 5), ints(3, 3)), {}, [3, 5]),
    ],
)
def test_numbers(op: str, operands: tuple, attributes: dict, expected: object) -> None:
    result = evaluate(op, operands, attributes)
    assert result is not None
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == (operands[0].dtype if op not in ("Cast", "Where", "ConstantOfShape") else np.int64)


def test_unknown_ops_and_division_by_zero_are_left_to_the_lowering() -> None:
    assert evaluate("Erf", (ints(1),), {}) is None
    assert evaluate("Div", (ints(1), ints(0)), {}) is None


def test_shape_and_size() -> None:
    assert shape_of((2, 3, 4), {"start": -2}).tolist() == [3, 4]
    assert shape_of((2, 3, 4), {"start": 2, "end": 1}).tolist() == []
    assert shape_of((), {}).dtype == np.int64
    assert size_of((2, 3)) == 6


def test_symbols() -> None:
    n, m = jax.export.symbolic_shape("n, m")
    shape = shape_of((n, 4, m), {})
    assert shape.dtype == object
    assert evaluate("Gather", (shape, np.array(1)), {}) == 4
    product = evaluate("Mul", (evaluate("Gather", (shape, ints(0)), {}), ints(2)), {})
    assert product is not None
    assert product[0] == 2 * n
    joined = evaluate("Concat", (product, ints(-1)), {"axis": 0})
    assert joined is not None
    assert joined.tolist() == [2 * n, -1]
    halves = evaluate("Div", (product, ints(2)), {})
    assert halves is not None
    assert halves.tolist() == [n]
    known = evaluate("Sub", (product, product), {})
    assert known is not None
    assert known.dtype == np.int64
    equal = evaluate("Equal", (joined, ints(-1)), {})  # no dim is negative
    assert equal is not None
    assert equal.tolist() == [False, True]
    with pytest.raises(LoweringError, match="Equal of a symbolic shape has no single value"):
        evaluate("Equal", (product, ints(8)), {})
