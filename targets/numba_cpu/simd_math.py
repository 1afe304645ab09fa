"""Vocabulary of kernel text: exponentials, activations and other functions of vectors.

float32 forms are vectorised polynomials; NaN, infinities, overflow and signed zero behave as in NumPy.
Largest errors against float64, over all magnitudes (tests/targets/numba_cpu/test_simd_math.py holds them):
vexp 2 ulp (6 ulp in the last 0.4 before it overflows; results below 2**-126 may be flushed to 0), vlog 1 ulp,
vlog1p 2 ulp, vtanh 5 ulp, verf 5 ulp, vsigmoid 4 ulp, vsoftplus 3 ulp; vgelu 4e-7 of max(1, |x|).
float64 forms, and the functions that models rarely use, call libm lane by lane.

Sources: S. Moshier, Cephes (expf, logf: ranges and coefficients); Eigen (tanh as a 13/6 rational function);
OpenXLA (erf as a 9/12 rational function).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from accelc.targets.numba_cpu.simd_arith import elementwise, nan_max
from accelc.targets.numba_cpu.simd_types import F32, I32, Vec, call, constant, overload_name


class Lanes:
    """A vector value under construction, with Python's operators; plain numbers are broadcast constants."""

    def __init__(self, builder: ir.IRBuilder, vec: Vec, value: ir.Value) -> None:
        self.builder = builder
        self.vec = vec
        self.value = value

    def make(self, value: ir.Value) -> Lanes:
        """Wrap an LLVM value of the same vector type."""
        return Lanes(self.builder, self.vec, value)

    def const(self, number: float) -> Lanes:
        """A constant in all lanes."""
        return self.make(constant(self.vec.llvm, number))

    def _of(self, other: Lanes | float) -> ir.Value:
        return other.value if isinstance(other, Lanes) else constant(self.vec.llvm, other)

    def __add__(self, other: Lanes | float) -> Lanes:
        return self.make(self.builder.fadd(self.value, self._of(other)))

    __radd__ = __add__

    def __sub__(self, other: Lanes | float) -> Lanes:
        return self.make(self.builder.fsub(self.value, self._of(other)))

    def __rsub__(self, other: float) -> Lanes:
        return self.make(self.builder.fsub(self._of(other), self.value))

    def __mul__(self, other: Lanes | float) -> Lanes:
        return self.make(self.builder.fmul(self.value, self._of(other)))

    __rmul__ = __mul__

    def __truediv__(self, other: Lanes | float) -> Lanes:
        return self.make(self.builder.fdiv(self.value, self._of(other)))

    def __rtruediv__(self, other: float) -> Lanes:
        return self.make(self.builder.fdiv(self._of(other), self.value))

    def __neg__(self) -> Lanes:
        return self.make(self.builder.fneg(self.value))

    def fma(self, factor: Lanes | float, addend: Lanes | float) -> Lanes:
        """``self * factor + addend`` with one rounding."""
        args = [self.value, self._of(factor), self._of(addend)]
        return self.make(call(self.builder, overload_name("llvm.fma", self.vec.llvm), self.vec.llvm, args))

    def unary(self, name: str) -> Lanes:
        """An LLVM intrinsic of one operand."""
        return self.make(call(self.builder, overload_name(name, self.vec.llvm), self.vec.llvm, [self.value]))

    def abs(self) -> Lanes:
        """Absolute value."""
        return self.unary("llvm.fabs")

    def copysign(self, sign: Lanes) -> Lanes:
        """The magnitude of self with the sign of ``sign``."""
        name = overload_name("llvm.copysign", self.vec.llvm)
        return self.make(call(self.builder, name, self.vec.llvm, [self.value, sign.value]))

    def at_most(self, bound: float) -> Lanes:
        """Minimum with a constant; NaN stays NaN (one ``minps``)."""
        limit = self._of(bound)
        return self.make(
            self.builder.select(self.builder.fcmp_ordered("<", limit, self.value), limit, self.value)
        )

    def at_least(self, bound: float) -> Lanes:
        """Maximum with a constant; NaN stays NaN (one ``maxps``)."""
        limit = self._of(bound)
        return self.make(
            self.builder.select(self.builder.fcmp_ordered(">", limit, self.value), limit, self.value)
        )

    def where(self, mask: ir.Value, other: Lanes | float) -> Lanes:
        """Self where the mask is set, ``other`` elsewhere."""
        return self.make(self.builder.select(mask, self.value, self._of(other)))

    def below(self, bound: float) -> ir.Value:
        """Mask of lanes less than a constant."""
        return self.builder.fcmp_ordered("<", self.value, self._of(bound))

    def equals(self, bound: float) -> ir.Value:
        """Mask of lanes equal to a constant."""
        return self.builder.fcmp_ordered("==", self.value, self._of(bound))

    def horner(self, coefficients: Sequence[float]) -> Lanes:
        """The polynomial with these coefficients, highest power first, at self."""
        result = self.const(coefficients[0])
        for coefficient in coefficients[1:]:
            result = result.fma(self, coefficient)
        return result

    def lanewise(self, name: str, *others: Lanes) -> Lanes:
        """A libm function, called for each lane; ``f`` is appended to the name for float32."""
        scalar = self.vec.llvm.element
        name += "f" if scalar == F32 else ""
        result = ir.Constant(self.vec.llvm, ir.Undefined)
        for lane in range(self.vec.lanes):
            args = [self.builder.extract_element(item.value, I32(lane)) for item in (self, *others)]
            result = self.builder.insert_element(result, call(self.builder, name, scalar, args), I32(lane))
        return self.make(result)

    @property
    def is_f32(self) -> bool:
        """Whether lanes are float32."""
        return bool(self.vec.llvm.element == F32)


# exp(r) = 1 + r + r*r*P(r) for |r| <= ln(2)/2 (Cephes).
_EXP = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)
_LOG2E = 1.4426950408889634
# ln(2) in two parts; the first has few bits, so that n * _LN2_HIGH is exact.
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
# Adding this puts round(x) + 127 into the low bits of the mantissa, ready to be shifted into the exponent.
_MAGIC = 12582912.0 + 127.0


def exp(x: Lanes) -> Lanes:
    """e**x: overflow to inf, underflow to 0; results below 2**-126 may be flushed to 0."""
    if not x.is_f32:
        return x.lanewise("exp")
    builder = x.builder
    # Keeps n at -127 or more, whose exponent field is that of zero.
    x = x.at_least(-88.0)
    shifted = x.fma(_LOG2E, _MAGIC).at_most(_MAGIC + 127.0)
    n = shifted - _MAGIC
    # For x up to the overflow bound r grows to 0.7 at n = 127; beyond, the polynomial itself overflows.
    r = n.fma(-_LN2_LOW, n.fma(-_LN2_HIGH, x))
    y = r.horner(_EXP).fma(r * r, r + 1.0)
    integers = ir.VectorType(I32, x.vec.lanes)
    bits = builder.shl(builder.bitcast(shifted.value, integers), constant(integers, 23))
    return y * x.make(builder.bitcast(bits, x.vec.llvm))


# log(1 + r) = r - r*r/2 + r**3*P(r) for sqrt(1/2) <= 1 + r < sqrt(2) (Cephes).
_LOG = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)
_SQRT_HALF_BITS = 0x3F3504F3
_SMALLEST_NORMAL = 1.1754943508222875e-38


def log(x: Lanes) -> Lanes:
    """Natural logarithm: -inf at 0, NaN below, inf at inf; denormal operands are exact."""
    if not x.is_f32:
        return x.lanewise("log")
    builder = x.builder
    integers = ir.VectorType(I32, x.vec.lanes)
    tiny = x.below(_SMALLEST_NORMAL)
    scaled = (x * 8388608.0).where(tiny, x)
    bits = builder.bitcast(scaled.value, integers)
    exponent = builder.ashr(builder.sub(bits, constant(integers, _SQRT_HALF_BITS)), constant(integers, 23))
    mantissa = builder.sub(bits, builder.shl(exponent, constant(integers, 23)))
    r = x.make(builder.bitcast(mantissa, x.vec.llvm)) - 1.0
    e = x.make(builder.sitofp(exponent, x.vec.llvm))
    e = (e - 23.0).where(tiny, e)
    square = r * r
    y = e.fma(_LN2_LOW, r.horner(_LOG) * r * square)
    y = e.fma(_LN2_HIGH, r + square.fma(-0.5, y))
    y = y.const(float("-inf")).where(x.equals(0.0), y)
    y = y.const(float("inf")).where(x.equals(float("inf")), y)
    negative_or_nan = builder.fcmp_unordered("<", x.value, constant(x.vec.llvm, 0.0))
    return y.const(float("nan")).where(negative_or_nan, y)


_TANH_P = (
    -2.76076847742355e-16,
    2.00018790482477e-13,
    -8.60467152213735e-11,
    5.12229709037114e-08,
    1.48572235717979e-05,
    6.37261928875436e-04,
    4.89352455891786e-03,
)
_TANH_Q = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)


def tanh(x: Lanes) -> Lanes:
    """Hyperbolic tangent; signed zeros and tiny values come back unchanged."""
    if not x.is_f32:
        return x.lanewise("tanh")
    # Where tanh rounds to 1; the quotient is 1 there to the last bit.
    c = x.at_most(7.90531110763549805).at_least(-7.90531110763549805)
    z = c * c
    ratio = (c * z.horner(_TANH_P)) / z.horner(_TANH_Q)
    return x.where(x.abs().below(0.0004), ratio)


_ERF_P = (
    2.2905065861350646e-4,
    3.4082910107109506e-3,
    5.0955695062380861e-2,
    1.8520832239976145e-1,
    1.128379143519084,
)
_ERF_Q = (
    -1.1791602954361697e-7,
    2.3547966471313185e-5,
    1.0179625278914885e-3,
    1.4070470171167667e-2,
    1.1098505178285362e-1,
    4.9746925110067538e-1,
    1.0,
)


def erf(x: Lanes) -> Lanes:
    """The error function."""
    if not x.is_f32:
        return x.lanewise("erf")
    # Where erf rounds to 1.
    c = x.at_most(3.832506856900711).at_least(-3.832506856900711)
    z = c * c
    ratio = (c * z.horner(_ERF_P)) / z.horner(_ERF_Q)
    return ratio.at_most(1.0).at_least(-1.0)


def sigmoid(x: Lanes) -> Lanes:
    """1 / (1 + exp(-x))."""
    return 1.0 / (exp(-x) + 1.0)


def swish(x: Lanes) -> Lanes:
    """X * sigmoid(x)."""
    return x / (exp(-x) + 1.0)


def gelu(x: Lanes) -> Lanes:
    """X/2 * (1 + erf(x / sqrt(2)))."""
    return (x * 0.5) * (erf(x * 0.7071067811865476) + 1.0)


def gelu_tanh(x: Lanes) -> Lanes:
    """X/2 * (1 + tanh(u)) with u = sqrt(2/pi) * (x + 0.044715 x**3), as x * sigmoid(2u)."""
    inner = x * (x * x).fma(2.0 * 0.7978845608028654 * 0.044715, 2.0 * 0.7978845608028654)
    return x / (exp(-inner) + 1.0)


def hard_sigmoid(x: Lanes, alpha: Lanes, beta: Lanes) -> Lanes:
    """max(0, min(1, alpha * x + beta))."""
    return x.fma(alpha, beta).at_most(1.0).at_least(0.0)


def hard_swish(x: Lanes) -> Lanes:
    """X * max(0, min(1, x/6 + 1/2))."""
    return x * hard_sigmoid(x, x.const(1.0 / 6.0), x.const(0.5))


def log1p(x: Lanes) -> Lanes:
    """log(1 + x), accurate for small x: the rounding error of 1 + x is put back to first order."""
    if not x.is_f32:
        return x.lanewise("log1p")
    w = x + 1.0
    correction = (x - (w - 1.0)) / w
    # At inf, and at -1 where w is 0, the correction would be NaN.
    finite = x.builder.fcmp_ordered("<", correction.abs().value, constant(x.vec.llvm, 1.0))
    return log(w) + correction.where(finite, 0.0)


def softplus(x: Lanes) -> Lanes:
    """log(1 + exp(x)), without overflow."""
    positive = x.make(nan_max(x.builder, x.vec, x.value, constant(x.vec.llvm, 0.0)))
    return positive + log1p(exp(-x.abs()))


def _libm(name: str) -> Callable[..., Lanes]:
    return lambda x, *others: x.lanewise(name, *others)


def _operation(name: str, arity: int, function: Callable[..., Lanes]) -> object:
    def emit(builder: ir.IRBuilder, vec: Vec, *operands: ir.Value) -> ir.Value:
        return function(*(Lanes(builder, vec, operand) for operand in operands)).value

    return elementwise(name, arity, emit, on="f")


_FUNCTIONS: dict[str, tuple[int, Callable[..., Lanes]]] = {
    "vexp": (1, exp),
    "vlog": (1, log),
    "vlog1p": (1, log1p),
    "vtanh": (1, tanh),
    "verf": (1, erf),
    "vsigmoid": (1, sigmoid),
    "vswish": (1, swish),
    "vgelu": (1, gelu),
    "vgelu_tanh": (1, gelu_tanh),
    "vhardsigmoid": (3, hard_sigmoid),
    "vhardswish": (1, hard_swish),
    "vsoftplus": (1, softplus),
    "vpow": (2, _libm("pow")),
    "vatan2": (2, _libm("atan2")),
    **{
        f"v{name}": (1, _libm(name))
        for name in [
            "expm1",
            "sin",
            "cos",
            "tan",
            "asin",
            "acos",
            "atan",
            "sinh",
            "cosh",
            "asinh",
            "acosh",
            "atanh",
        ]
    },
}


def math_vocabulary() -> dict[str, object]:
    """The names of this part; float32 and float64 at any lane count."""
    return {name: _operation(name, arity, function) for name, (arity, function) in _FUNCTIONS.items()}
