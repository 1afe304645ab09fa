"""Each operation of the vocabulary against NumPy, at every vector width."""

import ctypes
import mmap
import sys

import numpy as np
import pytest
from kernel_text_harness import run_text

from accelc.targets.numba_cpu.compile_kernel import KernelCompileError, compile_kernel, disassemble
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import KernelSource
from accelc.targets.numba_cpu.simd import vocabulary

BITS = (128, 256, 512)
NUMPY = {
    "f32": np.float32, "f64": np.float64, "i8": np.int8, "u8": np.uint8, "i16": np.int16, "u16": np.uint16,
    "i32": np.int32, "u32": np.uint32, "i64": np.int64, "u64": np.uint64,
}  # fmt: skip
FLOATS = ("f32", "f64")


def specials(dtype: str, count: int = 512) -> np.ndarray:
    """Random values with the awkward ones of the dtype among them; a multiple of every lane count."""
    rng = np.random.default_rng(1)
    kind = NUMPY[dtype]
    if dtype in FLOATS:
        values = rng.normal(size=count).astype(kind) * 10
        values[::7] = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, -0.5, 2.5], size=len(values[::7]))
        return values
    info = np.iinfo(kind)
    values = rng.integers(info.min, info.max, size=count, dtype=kind, endpoint=True)
    values[::3] = rng.choice(np.array([0, 1, info.min, info.max, info.max], kind), size=len(values[::3]))
    if info.min < 0:
        values[::5] = -1
    return values


def apply(expressions: list[str], dtype: str, *operands: np.ndarray, bits: int = 256) -> list[np.ndarray]:
    """Expressions of the vectors a, b, c over whole arrays, all in one kernel."""
    names = "abc"[: len(operands)]
    results = [np.empty_like(operands[0]) for _ in expressions]
    pointers = "".join(f"    p{name} = ptr_{dtype}(get(d, {k}))\n" for k, name in enumerate(names))
    pointers += "".join(f"    y{k} = ptr_{dtype}(get(d, {k + len(names)}))\n" for k in range(len(results)))
    loads = "".join(f"        {name} = vload(p{name}, i)\n" for name in names)
    stores = "".join(f"        vstore(y{k}, i, {text})\n" for k, text in enumerate(expressions))
    step = bits // (8 * operands[0].itemsize)
    loop = f"    for i in range(0, get(d, {len(names) + len(results)}), {step}):\n"
    run_text(
        f"def kernel(d, lo, hi, tid):\n{pointers}{loop}{loads}{stores}",
        *operands,
        *results,
        len(results[0]),
        bits=bits,
    )
    return results


def check(cases: dict[str, np.ndarray], dtype: str, *operands: np.ndarray, bits: int = 256) -> None:
    """Compare expressions with what NumPy says."""
    for (text, expected), result in zip(
        cases.items(), apply(list(cases), dtype, *operands, bits=bits), strict=True
    ):
        np.testing.assert_array_equal(result, expected, err_msg=text)


def same(actual: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(actual, expected)


def trunc_div(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """C division with x/0 = 0, in Python integers."""
    made = [
        0 if y == 0 else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
        for x, y in zip(a.tolist(), b.tolist(), strict=True)
    ]
    return np.array(made, object)


def wrap(values: np.ndarray, kind: type) -> np.ndarray:
    mask = (1 << (8 * np.dtype(kind).itemsize)) - 1
    return np.array([int(v) & mask for v in values], np.uint64).astype(kind)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_float_arithmetic(dtype: str, bits: int) -> None:
    a, b = specials(dtype), np.roll(specials(dtype), 1)
    with np.errstate(all="ignore"):
        cases = {
            "vadd(a, b)": a + b,
            "vdiv(vmul(a, b), vsub(a, b))": (a * b) / (a - b),
            "vmax(a, b)": np.maximum(a, b),
            "vmin(a, b)": np.minimum(a, b),
            "vneg(vabs(vsqrt(a)))": -np.abs(np.sqrt(a)),
        }
    check(cases, dtype, a, b, bits=bits)


@pytest.mark.parametrize("dtype", FLOATS)
def test_float_operations(dtype: str) -> None:
    a, b = specials(dtype), np.roll(specials(dtype), 1)
    kind = NUMPY[dtype]
    with np.errstate(all="ignore"):
        cases = {
            "vround(a)": np.rint(a),
            "vfloor(a)": np.floor(a),
            "vceil(a)": np.ceil(a),
            "vtrunc(a)": np.trunc(a),
            "vcopysign(a, b)": np.copysign(a, b),
            "vrem(a, b)": np.fmod(a, b),
            # Scalars take the vector's type and are broadcast, on either side.
            "vsub(1, vmul(a, 0.5))": 1 - a * kind(0.5),
            "vmax(a, 0.0)": np.maximum(a, 0),
            "vmin(6.0, a)": np.minimum(a, 6),
            # The quick forms pass on a NaN of their second operand.
            "vmaxq(vlike(a, 0.0), a)": np.maximum(a, 0),
            "vminq(vlike(a, 6.0), a)": np.minimum(a, 6),
        }
    check(cases, dtype, a, b)


def test_fma_rounds_once() -> None:
    a = np.full(64, 1 + 2.0**-12, np.float32)
    c = -(a * a)
    check({"vfma(a, b, c)": np.full(64, 2.0**-24, np.float32)}, "f32", a, a, c)


@pytest.mark.parametrize("dtype", ["i8", "u8", "i32", "u32", "i64", "u64"])
def test_integer_arithmetic(dtype: str) -> None:
    kind = NUMPY[dtype]
    a, b = specials(dtype), np.roll(specials(dtype), 1)
    quotient = trunc_div(a, b)
    remainder = [0 if y == 0 else x - y * q for x, y, q in zip(a.tolist(), b.tolist(), quotient, strict=True)]
    with np.errstate(all="ignore"):
        cases = {
            "vadd(vmul(a, b), vsub(a, b))": a * b + (a - b),
            "vfma(a, b, vneg(a))": a * b - a,
            "vxor(vmax(a, b), vnot(vmin(a, b)))": np.maximum(a, b) ^ ~np.minimum(a, b),
            "vand(vshr(a, 3), vor(b, vshl(a, 1)))": (a >> kind(3)) & (b | (a << kind(1))),
            "vabs(a)": np.abs(a),
            "vdiv(a, b)": wrap(quotient, kind),
            "vrem(a, b)": wrap(np.array(remainder, object), kind),
        }
    check(cases, dtype, a, b)


@pytest.mark.parametrize("dtype", ["f32", "f64", "i8", "u16", "i32", "u64"])
def test_comparisons_and_selection(dtype: str) -> None:
    a, b = specials(dtype), np.roll(specials(dtype), 2)
    b[::4] = a[::4]
    one, two = NUMPY[dtype](1), NUMPY[dtype](2)
    cases = {
        "vselect(vor(vlt(a, b), vand(vge(a, b), vne(a, b))), a, vselect(veq(a, b), vlike(a, 1), 2))": np.where(
            (a < b) | ((a >= b) & (a != b)), a, np.where(a == b, one, two)
        ),
        "vselect(vxor(vle(a, b), vnot(vgt(a, b))), a, b)": np.where((a <= b) ^ ~(a > b), a, b),
    }
    if dtype in FLOATS:
        cases["vselect(visnan(a), 0, a)"] = np.where(np.isnan(a), 0, a)
    check(cases, dtype, a, b)


@pytest.mark.parametrize("source", list(NUMPY))
def test_conversions(source: str) -> None:
    a = specials(source, 64)
    if source in FLOATS:
        a = np.nan_to_num(np.clip(a, -100, 100), nan=3.0)
    targets = list(NUMPY)
    outs = [np.zeros(64, NUMPY[name]) for name in targets]
    masks = np.zeros(64, np.uint8)
    stores = "\n".join(
        f"        vstore(ptr_{name}(get(d, {k + 1})), i, vcast_{name}(v))" for k, name in enumerate(targets)
    )
    text = f"""
def kernel(d, lo, hi, tid):
    for i in range(0, 64, 8):
        v = vloadn(ptr_{source}(get(d, 0)), i, 8)
{stores}
        vstore(ptr_u8(get(d, {len(targets) + 1})), i, vcast_u8(vcast_mask(v)))
"""
    run_text(text, a, *outs, masks)
    for name, out in zip(targets, outs, strict=True):
        with np.errstate(all="ignore"):
            through = a.astype(np.int64) if source in FLOATS and name not in FLOATS else a
            same(out, through.astype(NUMPY[name]))
    same(masks, (a != 0).astype(np.uint8))


@pytest.mark.parametrize("bits", BITS)
def test_masked_forms_touch_only_what_they_should(bits: int) -> None:
    if sys.platform != "linux":
        pytest.skip("needs mprotect")
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    assert libc.mprotect(base + page, page, 0) == 0
    for dtype in ("f32", "f64", "i8", "u16"):
        kind = np.dtype(NUMPY[dtype])
        lanes = bits // (8 * kind.itemsize)
        text = f"""
def kernel(d, lo, hi, tid):
    x = ptr_{dtype}(get(d, 0))
    y = ptr_{dtype}(get(d, 1))
    v = vloadm(x, 0, get(d, 2))
    vstore(y, 0, v)
    vstorem(x, 0, vadd(v, 1), get(d, 2))
"""
        for count in (0, 1, lanes - 1, lanes, -3, 1 << 32):
            valid = min(max(count, 0), lanes)
            x = np.ndarray(valid, kind, memory, page - valid * kind.itemsize)
            x[:] = np.arange(1, valid + 1)
            out = np.full(lanes, 77, kind)
            run_text(text, x, out, count, bits=bits)
            same(out, np.concatenate([np.arange(1, valid + 1), np.zeros(lanes - valid)]).astype(kind))
            same(x, np.arange(2, valid + 2).astype(kind))


@pytest.mark.parametrize("bits", BITS)
def test_memory_and_lane_operations(bits: int) -> None:
    lanes = bits // 32
    x = np.arange(200, dtype=np.float32)
    y = np.zeros((12, lanes), np.float32)
    text = f"""
@inline
def row(y, i):
    return at(y, i * {lanes})
def kernel(d, lo, hi, tid):
    x = ptr_f32(get(d, 0))
    y = ptr_f32(get(d, 1))
    pf(x, 64)
    vstore(row(y, 0), 0, vloads(x, 3, 5))
    vstore(row(y, 1), 0, vget(x, 7))
    vstore(row(y, 2), 0, vset(f32(2.5)))
    vstore(row(y, 3), 0, vzero(x))
    v = vload(x, 1)
    vstore(row(y, 4), 0, vlike(v, 3))
    put(y, 5 * {lanes}, vlane(v, 2))
    put(y, 5 * {lanes} + 1, f32(addr(at(x, 3)) - addr(x)))
    vstore(row(y, 6), 0, vsetlane(v, get(d, 2), 99))
    vstores(row(y, 7), 0, 2, vloadn(x, 4, {lanes // 2}))
    vstore(row(y, 8), 0, vshuffle(v, vload(x, 100), ({", ".join(str(2 * lanes - 1 - i) for i in range(lanes))})))
    vstore(row(y, 9), 0, vselect(vmask(v, 3), v, -1.0))
    vstore(row(y, 10), 0, vbits_f32(vadd(vbits_i32(v), 1)))
    vstorem(row(y, 11), 0, vloadmn(x, 10, 2, {lanes}), 3)
"""
    run_text(text, x, y, 1, bits=bits)
    same(y[0], x[3 : 3 + 5 * lanes : 5])
    same(y[1], np.full(lanes, 7, np.float32))
    same(y[2], np.full(lanes, 2.5, np.float32))
    same(y[3], np.zeros(lanes, np.float32))
    same(y[4], np.full(lanes, 3, np.float32))
    same(y[5, :2], np.array([3, 12], np.float32))
    changed = x[1 : lanes + 1].copy()
    changed[1] = 99
    same(y[6], changed)
    same(y[7, ::2], x[4 : 4 + lanes // 2])
    same(y[8], x[100 : 100 + lanes][::-1])
    same(y[9], np.where(np.arange(lanes) < 3, x[1 : lanes + 1], -1))
    same(y[10], (x[1 : lanes + 1].view(np.int32) + 1).view(np.float32))
    same(y[11], np.array([10, 11, 0, 0] + [0] * (lanes - 4), np.float32))


@pytest.mark.parametrize("lanes", [1, 2, 3, 5, 8, 16])
def test_reductions(lanes: int) -> None:
    text = f"""
def kernel(d, lo, hi, tid):
    y = ptr_f64(get(d, 1))
    v = vloadn(ptr_f64(get(d, 0)), 0, {lanes})
    put(y, 0, vsum(v))
    put(y, 1, vhmax(v))
    put(y, 2, vhmin(v))
    put(y, 3, vprod(v))
    put(y, 4, f64(vany(vgt(v, 3))))
    put(y, 5, f64(vall(vgt(v, 3))))
"""
    rng = np.random.default_rng(lanes)
    for nan_at in (None, 0, lanes - 1):
        x = rng.integers(-5, 6, size=16).astype(np.float64)
        if nan_at is not None:
            x[nan_at] = np.nan
        x[lanes:] = np.nan  # must not matter
        y = np.zeros(6)
        run_text(text, x, y)
        v = x[:lanes]
        same(y, np.array([v.sum(), v.max(), v.min(), v.prod(), (v > 3).any(), (v > 3).all()], np.float64))


def test_scalar_arithmetic_neither_traps_nor_raises() -> None:
    y = np.zeros(4, np.int64)
    text = """
def kernel(d, lo, hi, tid):
    y = ptr_i64(get(d, 0))
    put(y, 0, get(d, 1) // get(d, 2))
    put(y, 1, get(d, 1) % get(d, 2))
    put(y, 2, get(d, 1) // 4)
    put(y, 3, i64(math.floor(f64(get(d, 1)) / 4.0)))
"""
    run_text(text, y, -7, 0)
    assert y[2:].tolist() == [-2, -2]


def test_vectors_as_wide_as_the_isa_says() -> None:
    text = """
def kernel(d, lo, hi, tid):
    x = ptr_f32(get(d, 0))
    for i in range(lo, hi):
        vstore(x, i * 16, vfma(vload(x, i * 16), vload(x, i * 16), vload(x, i * 16)))
"""
    if Isa.host().has("neon"):
        pytest.skip("an x86 check")
    features = "+avx,+avx2,+fma,+avx512f,+avx512vl,+avx512bw,+avx512dq"
    assert "zmm" in disassemble(KernelSource("wide", text), Isa("skylake-avx512", features, 512))
    assert "zmm" not in disassemble(KernelSource("wide", text), Isa("skylake-avx512", features, 256))


def test_vocabulary_names_everything_kernels_use() -> None:
    names = vocabulary(Isa.host())
    promised = (
        "ptr_f32 ptr_u8 at get put addr vload vstore vloadm vstorem vloads vset vget vzero vlike vadd vsub vmul vdiv "
        "vneg vabs vfma vmax vmin vmaxq vminq vsqrt vround vfloor vceil vtrunc vcopysign vlt vle vgt vge veq vne "
        "vand vor vnot vxor vselect visnan vsum vhmax vhmin vcast_f32 vbits_i32 pf vexp vlog vtanh verf vsigmoid "
        "vgelu vgelu_tanh vswish vhardswish vhardsigmoid vsoftplus vpow vsin vcos inline f32 i64"
    )
    assert set(promised.split()) <= set(names)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("vload(get(d, 0), 0)", "vload"),
        ("no_such_name(1)", "no_such_name"),
        ("vadd(vload(ptr_f32(get(d, 0)), 0), vload(ptr_i32(get(d, 0)), 0))", "vadd"),
        ("x = = 1", "invalid syntax"),
        ("print(lo)", "print"),
    ],
)
def test_bad_text_is_an_error_of_ours(body: str, complaint: str) -> None:
    text = f"def kernel(d, lo, hi, tid):\n    {body}\n"
    with pytest.raises(KernelCompileError) as caught:
        compile_kernel(KernelSource("bad", text), Isa.host())
    assert "kernel bad does not compile" in str(caught.value)
    assert complaint in caught.value.why


def test_operations_cannot_be_called_from_python() -> None:
    with pytest.raises(TypeError, match="vadd is an operation of compiled kernels"):
        vocabulary(Isa.host())["vadd"](1, 2)  # type: ignore[operator]
