import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from kernel_harness import load_kernel

from accelc.errors import ArtifactError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels import expr_emit
from accelc.targets.numba_cpu.kernels.expr import Expr, ExprBuilder
from accelc.targets.numba_cpu.kernels.expr_ops import OPS
from accelc.targets.numba_cpu.kernels.text import POINTERS, helpers, scalar_load, scalar_store


def _erf(x: np.ndarray) -> np.ndarray:
    return np.array([math.erf(value) if value == value else math.nan for value in x.ravel()]).reshape(x.shape)


def _clip(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(x, low), high)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(x, 0)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


FLOAT: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "fmod": np.fmod, "mod": np.mod,
    "max": np.maximum, "min": np.minimum, "neg": np.negative, "abs": np.abs, "sqrt": np.sqrt,
    "recip": lambda x: 1 / x, "sign": np.sign, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc,
    "round": np.rint, "pow": np.power, "exp": np.exp, "log": np.log, "tanh": np.tanh, "erf": _erf,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "sinh": np.sinh, "cosh": np.cosh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "relu": lambda x: np.maximum(x, 0), "leaky": lambda x, a: np.where(x < 0, x * a, x), "sigmoid": _sigmoid,
    "softplus": _softplus, "softsign": lambda x: x / (1 + np.abs(x)),
    "hardswish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1), "swish": lambda x: x * _sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / np.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "clip": _clip,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "isnan": np.isnan, "isinf": np.isinf,
}  # fmt: skip

X = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 3.5, 7.25, -7.25, 30.0, -30.0, 0.3, -0.9, 88.0,
     math.nan, math.inf, -math.inf, 1e-6, -1e-6, 5.0, 0.999, -100.0]
)  # fmt: skip
Y = np.array([1.0, 2.0, -3.0, 0.5, 0.0, 2.0, math.nan, 1.5] * 3)
Z = np.array([2.0, 3.0, 4.0, 0.25, -1.0, 9.0, 1.0, math.inf] * 3)


def float_expr(op: str, dtype: str) -> Expr:
    """``op`` on operands 0, 1, ...; the result is made a float if it is a bool."""
    builder = ExprBuilder()
    args = [builder.operand(k, dtype) for k in range(OPS[op].arity)]
    is_bool = OPS[op].kind in ("compare", "test")
    result = builder.add("bool" if is_bool else dtype, op, *args)
    return builder.build(builder.add(dtype, "cast", result) if is_bool else result)


@cache
def all_ops_text(dtype: str, ops: tuple[str, ...], lanes: int) -> str:
    """A kernel that applies every op to n elements of three operands, on vectors or (lanes 0) on scalars."""
    lines = ["def kernel(d, lo, hi, tid):", "    n = get(d, 0)"]
    lines += [f"    p{k} = {POINTERS[dtype]}(get(d, {k + 1}))" for k in range(4)]
    for number, op in enumerate(ops):
        expr = float_expr(op, dtype)
        assert expr_emit.can_vectorize(expr) or not lanes, op
        if lanes:
            lines.append(f"    for i in range(0, n, {lanes}):")
            lines += [f"        x{k} = vloadn(p{k}, i, {lanes})" for k in range(3)]
            body, result = expr_emit.vector_lines(expr, ["x0", "x1", "x2"], f"a{number}_", "        ")
            lines += [*body, f"        vstore(p3, {number} * n + i, {result})"]
        else:
            lines.append("    for i in range(n):")
            lines += [f"        x{k} = {scalar_load(dtype, f'p{k}', 'i')}" for k in range(3)]
            body, result = expr_emit.scalar_lines(expr, ["x0", "x1", "x2"], f"a{number}_", "        ")
            lines += [*body, "        " + scalar_store(dtype, "p3", f"{number} * n + i", result)]
    text = "\n".join(lines) + "\n"
    return helpers(text) + "\n" + text


@pytest.mark.parametrize(
    ("dtype", "vector", "tolerance"),
    [("float32", True, 3e-6), ("float32", False, 1e-6), ("float64", True, 1e-12), ("float16", False, 2e-3)],
)
def test_float_ops(dtype: str, vector: bool, tolerance: float) -> None:
    ops = tuple(op for op in FLOAT if not (vector and OPS[op].vector is None))
    lanes = Isa.host().lanes(dtype) if vector else 0
    n = len(X)
    assert n % max(lanes, 1) == 0
    operands = [array.astype(dtype) for array in (X, Y, Z)]
    out = np.zeros((len(ops), n), dtype)
    words = np.array([n, *(array.ctypes.data for array in (*operands, out))], np.int64)
    load_kernel(all_ops_text(dtype, ops, lanes), Isa.host())(words.ctypes.data, 0, 1, 0)
    wide = [array.astype(np.float64) for array in operands]
    for number, op in enumerate(ops):
        with np.errstate(all="ignore"):
            expected = FLOAT[op](*wide[: OPS[op].arity]).astype(np.float64).astype(dtype)
        np.testing.assert_allclose(
            out[number].astype(np.float64), expected.astype(np.float64), tolerance, tolerance, err_msg=op
        )


def test_vectors_cover_what_fusion_makes() -> None:
    scalar_only = {op for op in FLOAT if OPS[op].vector is None}
    assert scalar_only == {"mod"}


INT_OPS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "max": np.maximum, "min": np.minimum,
    "neg": np.negative, "abs": np.abs, "sign": np.sign, "bitand": np.bitwise_and, "bitor": np.bitwise_or,
    "bitxor": np.bitwise_xor, "bitnot": np.invert, "relu": lambda x: np.maximum(x, 0),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "uint64"])
def test_integer_ops(dtype: str) -> None:
    info = np.iinfo(dtype)
    x = np.array([0, 1, 2, 7, info.max, info.min, info.max - 1, 100, 9, info.min], dtype)
    y = np.array([0, 0, 3, 2, 2, info.max, 1, 5, info.max, info.max if info.min == 0 else -1], dtype)
    names = [*INT_OPS, "div", "mod", "fmod", "pow", "shl", "shr"]
    lines = ["def kernel(d, lo, hi, tid):", "    n = get(d, 0)"]
    lines += [f"    p{k} = {POINTERS[dtype]}(get(d, {k + 1}))" for k in range(3)]
    lines.append("    for i in range(n):")
    lines += [f"        x{k} = get(p{k}, i)" for k in range(2)]
    for number, op in enumerate(names):
        builder = ExprBuilder()
        args = [builder.operand(k, dtype) for k in range(OPS[op].arity)]
        expr = builder.build(builder.add(dtype, op, *args))
        expr_emit.check(expr)
        body, result = expr_emit.scalar_lines(expr, ["x0", "x1"], f"a{number}_", "        ")
        lines += [*body, f"        put(p2, {number} * n + i, {result})"]
    text = "\n".join(lines) + "\n"
    out = np.zeros((len(names), len(x)), dtype)
    words = np.array([len(x), x.ctypes.data, y.ctypes.data, out.ctypes.data], np.int64)
    load_kernel(helpers(text) + "\n" + text, Isa.host())(words.ctypes.data, 0, 1, 0)
    with np.errstate(all="ignore"):
        for op, function in INT_OPS.items():
            expected = function(*(x, y)[: OPS[op].arity])
            np.testing.assert_array_equal(out[names.index(op)], expected, err_msg=op)
    bits = info.bits
    for i, (a, b) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        quotient = 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        expected = {
            "div": quotient,
            "mod": 0 if b == 0 else a % b,
            "fmod": 0 if b == 0 else a - quotient * b,
            "shl": a << b if 0 <= b < 64 else None,
            "shr": a >> b if 0 <= b < 64 else None,
            "pow": pow(a, b, 1 << 64) if 0 <= b < 1 << 63 else None,
        }
        for op, value in expected.items():
            if value is not None:
                value &= (1 << bits) - 1
                value -= 1 << bits if info.min and value > info.max else 0
                assert int(out[names.index(op), i]) == value, (op, a, b)


def test_half_conversions_are_exact() -> None:
    builder = ExprBuilder()
    expr = builder.build(builder.add("float16", "cast", builder.operand(0, "float32")))
    body, result = expr_emit.scalar_lines(expr, ["x"], "a", "        ")
    text = "\n".join(
        [
            "def kernel(d, lo, hi, tid):",
            "    p, q, r = ptr_f32(get(d, 1)), ptr_u16(get(d, 2)), ptr_f32(get(d, 3))",
            "    for i in range(get(d, 0)):",
            "        x = get(p, i)",
            *body,
            "        " + scalar_store("float16", "q", "i", result),
            f"        put(r, i, {scalar_load('float16', 'q', 'i')})",
        ]
    )
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    exact = halves.astype(np.float32)
    with np.errstate(all="ignore"):
        up = np.nextafter(exact, np.float32(np.inf))
        middle = exact + (np.spacing(np.abs(halves)).astype(np.float32) / 2)
    x = np.concatenate([exact, up, middle, np.float32([65519.9, 65520.0, 1e9, 1e-9, -1e-8])])
    q, r = np.zeros(len(x), np.uint16), np.zeros(len(x), np.float32)
    words = np.array([len(x), x.ctypes.data, q.ctypes.data, r.ctypes.data], np.int64)
    load_kernel(helpers(text) + "\n" + text + "\n", Isa.host())(words.ctypes.data, 0, 1, 0)
    with np.errstate(all="ignore"):
        expected = x.astype(np.float16)
    number = expected == expected
    np.testing.assert_array_equal(q[number], expected.view(np.uint16)[number])
    assert np.isnan(q.view(np.float16)[~number]).all()
    np.testing.assert_array_equal(r, expected.astype(np.float32))


def _expr(*steps: tuple[object, ...], dtypes: tuple[str, ...], result: int | None = None) -> Expr:
    return Expr(steps, dtypes, len(steps) - 1 if result is None else result)


@pytest.mark.parametrize(
    ("expr", "why"),
    [
        (_expr(("in", 0), ("__import__", 0), dtypes=("float32", "float32")), "unknown op '__import__'"),
        (_expr(("in", 0), ("neg", 1), dtypes=("float32", "float32")), "neg takes 1 earlier steps"),
        (_expr(("in", 0), ("add", 0), dtypes=("float32", "float32")), "add takes 2 earlier steps"),
        (_expr(("in", 0), ("neg", True), dtypes=("float32", "float32")), "neg takes 1 earlier steps"),
        (_expr(("const", "1); evil("), dtypes=("float32",)), "a literal is no float32"),
        (_expr(("const", 300), dtypes=("uint8",)), "a literal is no uint8"),
        (_expr(("const", 10**400), dtypes=("float64",)), "a literal is no float64"),
        (_expr(("in", 99), dtypes=("float32",)), "an operand number is out of range"),
        (_expr(("in", 0), ("exp", 0), dtypes=("int32", "int32")), "exp does not take int32"),
        (_expr(("in", 0), ("exp", 0), dtypes=("float64", "float32")), "exp does not take float64"),
        (_expr(("in", 0), ("eq", 0, 0), dtypes=("float64", "float64")), "eq gives bool"),
        (_expr(("in", 0), ("in", 0), dtypes=("float64", "float32")), "an operand has two dtypes"),
    ],
)
def test_check_refuses(expr: Expr, why: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        expr_emit.check(expr)
    assert caught.value.why == why


def test_check_refuses_dtype_and_result() -> None:
    with pytest.raises(ArtifactError, match="unknown kernel dtype 'object'"):
        expr_emit.check(_expr(("in", 0), dtypes=("object",)))
    with pytest.raises(ArtifactError, match="malformed kernel expression"):
        expr_emit.check(_expr(("in", 0), dtypes=("float32",), result=3))


def test_json_round_trip_and_flops() -> None:
    builder = ExprBuilder()
    x = builder.operand(0, "float32")
    unused = builder.add("float32", "exp", x)
    expr = builder.build(builder.add("float32", "mul", x, builder.const(math.inf, "float32")))
    again = Expr.from_json(expr.to_json())
    assert again == expr
    expr_emit.check(again)
    assert unused not in expr_emit.used_steps(expr)
    assert expr_emit.flops(expr) == 1
