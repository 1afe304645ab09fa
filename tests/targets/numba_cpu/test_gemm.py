"""Matrix products against NumPy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_harness import run_family

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.expr import Expr, ExprBuilder
from accelc.targets.numba_cpu.kernels.gemm import Gemm
from accelc.targets.numba_cpu.kernels.packing import pack_panels
from accelc.targets.numba_cpu.kernels.schedule import group_segments, plan, split_segments
from accelc.targets.numba_cpu.kernels.tiles import Tile, choose_tile

GEMM = Gemm()


def expr_bias_relu_add(dtype: str = "float32") -> Expr:
    """relu(x + bias) + residual."""
    b = ExprBuilder()
    relu = b.add(
        dtype, "max", b.add(dtype, "add", b.operand(0, dtype), b.operand(1, dtype)), b.const(0.0, dtype)
    )
    return b.build(b.add(dtype, "add", relu, b.operand(2, dtype)))


def expr_gelu(dtype: str = "float32") -> Expr:
    """gelu(x + bias): long enough to run in a loop over the tile."""
    b = ExprBuilder()
    return b.build(b.add(dtype, "gelu", b.add(dtype, "add", b.operand(0, dtype), b.operand(1, dtype))))


def params(
    isa: Isa | None = None, dtype: str = "float32", columns: int | None = None, **more: Any
) -> dict[str, Any]:
    tile = choose_tile(isa or Isa.host(), dtype, columns)
    return {"dtype": dtype, "mr": tile.mr, "nv": tile.nv, "axis": -1, "a": "strided", "b": "packed", **more}


def small(**more: Any) -> dict[str, Any]:
    """Parameters with a tile that compiles fast; the others are about the full tile."""
    return {**params(**more), "mr": 2, "nv": 1}


def width(p: dict[str, Any], isa: Isa | None = None) -> int:
    return int(p["nv"] * (isa or Isa.host()).lanes(p["dtype"]))


def random(*shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def close(found: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-5) -> None:
    assert found.shape == wanted.shape
    scale = max(1.0, float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("m", "k", "n"),
    [(1, 1, 1), (1, 5, 3), (2, 7, 17), (3, 300, 16), (5, 64, 33), (6, 0, 4), (7, 9, 40), (8, 1, 8), (13, 700, 17),
     (0, 3, 4), (3, 4, 0), (49, 33, 40), (130, 520, 48), (300, 20, 9)],
)  # fmt: skip
def test_packed(m: int, k: int, n: int, threads: int) -> None:
    a, b, c = random(m, k), random(k, n, seed=1), np.full((m, n), np.nan, np.float32)
    p = params()
    run_family(GEMM, p, [a, pack_panels(b, width(p))], [c], threads_simulated=threads)
    close(c, a.astype(np.float64) @ b)


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_vector_widths(bits: int) -> None:
    isa = Isa.host(bits)
    a, b, c = random(23, 70), random(70, 61, seed=1), np.full((23, 61), np.nan, np.float32)
    p = params(isa) if bits == 512 else {**params(isa), "mr": 2}
    run_family(GEMM, p, [a, pack_panels(b, width(p, isa))], [c], isa)
    close(c, a.astype(np.float64) @ b)


def test_wide_tile() -> None:
    """The tile of a machine with 32 registers."""
    a, b, c = random(28, 40), random(40, 50, seed=1), np.full((28, 50), np.nan, np.float32)
    p = {**params(), "mr": 8, "nv": 3}
    run_family(GEMM, p, [a, pack_panels(b, width(p))], [c])
    close(c, a.astype(np.float64) @ b)


def test_float64_in_a_narrow_tile() -> None:
    a, b, c = random(19, 33, dtype="float64"), random(33, 3, dtype="float64"), np.full((19, 3), np.nan)
    p = params(dtype="float64", columns=3)
    assert p["nv"] == 1
    run_family(GEMM, p, [a, pack_panels(b, width(p))], [c])
    close(c, a @ b, 1e-13)


@pytest.mark.parametrize(("m", "k", "n"), [(1, 30, 20), (7, 9, 16), (20, 600, 33), (6, 0, 5)])
def test_epilogue(m: int, k: int, n: int) -> None:
    a, b, c = random(m, k), random(k, n, seed=1), np.full((m, n), np.nan, np.float32)
    bias, residual = random(n, seed=2), random(m, n, seed=3)
    p = params(epilogue=expr_bias_relu_add().to_json(), kinds=["vector", "vector"])
    wanted = np.maximum(a.astype(np.float64) @ b + bias, 0) + residual
    run_family(GEMM, p, [a, pack_panels(b, width(p)), bias, residual], [c])
    close(c, wanted)
    # The result may take the residual's memory, between reduction blocks too.
    run_family(GEMM, p, [a, pack_panels(b, width(p)), bias, residual], [residual], threads_simulated=2)
    close(residual, wanted)


def test_scalar_operands_by_row() -> None:
    a, b, c = random(20, 30), random(30, 33, seed=1), np.full((20, 33), np.nan, np.float32)
    rows, one = random(20, 1, seed=2), random(1, 1, seed=3)
    p = small(epilogue=expr_bias_relu_add().to_json(), kinds=["scalar", "scalar"])
    run_family(GEMM, p, [a, pack_panels(b, width(p)), rows, one], [c])
    close(c, np.maximum(a.astype(np.float64) @ b + rows, 0) + one)


def test_long_epilogue() -> None:
    a, b, c = random(20, 600) / 10, random(600, 33, seed=1), np.full((20, 33), np.nan, np.float32)
    bias = random(33, seed=2)
    p = small(epilogue=expr_gelu().to_json(), kinds=["vector"])
    run_family(GEMM, p, [a, pack_panels(b, width(p)), bias], [c])
    from math import erf

    x = a.astype(np.float64) @ b + bias
    close(c, 0.5 * x * (1 + np.vectorize(erf)(x / np.sqrt(2))))


def test_nan_and_infinity_stay_in_their_rows_and_columns() -> None:
    a, b, c = random(9, 20), random(20, 17, seed=1), np.zeros((9, 17), np.float32)
    a[3, 4], a[5, 6] = np.nan, np.inf
    b[:, 16] = np.where(np.arange(20) == 6, 0.0, 1.0)
    p = params()
    with np.errstate(invalid="ignore"):
        wanted = a.astype(np.float64) @ b
    run_family(GEMM, p, [a, pack_panels(b, width(p))], [c])
    np.testing.assert_array_equal(np.isnan(c), np.isnan(wanted))
    np.testing.assert_array_equal(np.isinf(c), np.isinf(wanted))


def test_batch_dims_run_on_where_memory_does() -> None:
    """A dense batch is rows; a strided one is a batch. Both with packed B."""
    base, b = random(4, 5, 6, 8), random(8, 9, seed=1)
    p = params()
    for a in (base, base[:, ::2], base.transpose(1, 0, 2, 3)):
        c = np.full((*a.shape[:-1], 9), np.nan, np.float32)
        run_family(GEMM, p, [a, pack_panels(b, width(p))], [c], threads_simulated=2)
        close(c, a.astype(np.float64) @ b)


@pytest.mark.parametrize("kind", ["rows", "any"])
def test_two_activations(kind: str) -> None:
    """B is packed by the tasks, with batch dims that broadcast both ways."""
    p = small(b=kind)
    for shape_a, shape_b in [
        ((2, 1, 7, 300), (3, 300, 18)),
        ((1, 5), (4, 5, 40)),
        ((3, 20, 4), (3, 4, 1)),
        ((2, 0, 4), (4, 3)),
    ]:
        a, b = random(*shape_a), random(*shape_b, seed=1)
        if kind == "any":
            b = np.ascontiguousarray(b.swapaxes(-1, -2)).swapaxes(-1, -2)
        wanted = a.astype(np.float64) @ b
        c = np.full(wanted.shape, np.nan, np.float32)
        run_family(GEMM, p, [a, b], [c], threads_simulated=2)
        close(c, wanted)


def test_attention_heads_need_no_copies() -> None:
    """Heads are permuted views; the result goes back into a permuted one."""
    q, k = random(2, 9, 3, 8), random(2, 11, 3, 8, seed=1)
    p = small(b="any")
    c = np.full((2, 3, 9, 11), np.nan, np.float32)
    run_family(GEMM, p, [q.transpose(0, 2, 1, 3), k.transpose(0, 2, 3, 1)], [c], threads_simulated=2)
    close(c, np.einsum("bshd,bthd->bhst", q.astype(np.float64), k))
    p = small(b="rows")
    out = np.full((2, 9, 3, 8), np.nan, np.float32)
    run_family(GEMM, p, [c, k.transpose(0, 2, 1, 3)], [out.transpose(0, 2, 1, 3)], threads_simulated=2)
    close(out, np.einsum("bhst,bthd->bshd", c.astype(np.float64), k))


@pytest.mark.parametrize("m", [1, 4, 9, 23])
def test_transposed_a(m: int) -> None:
    """Rows are adjacent: exactly the rows there are may be read."""
    a, b, c = random(m, 50), random(50, 20, seed=1), np.full((m, 20), np.nan, np.float32)
    p = {**small(a="columns"), "mr": 3}
    run_family(GEMM, p, [np.asfortranarray(a), pack_panels(b, width(p))], [c])
    close(c, a.astype(np.float64) @ b)


def test_vectors() -> None:
    a, b, v = random(7, 20), random(20, 9, seed=1), random(20, seed=2)
    p = small(a_vector=True)
    c = np.zeros(9, np.float32)
    run_family(GEMM, p, [v, pack_panels(b, width(p))], [c])
    close(c, v.astype(np.float64) @ b)
    p = small(b="any", b_vector=True)
    c = np.zeros(7, np.float32)
    run_family(GEMM, p, [a, v.reshape(20, 1)], [c])
    close(c, a.astype(np.float64) @ v)
    p = small(b="any", a_vector=True, b_vector=True)
    c = np.zeros((), np.float32)
    run_family(GEMM, p, [v, v.reshape(20, 1)], [c])
    close(c, np.asarray(v.astype(np.float64) @ v))


def test_pointwise_convolution() -> None:
    x, w, bias = random(2, 5, 4, 6), random(5, 9, seed=1), random(1, 9, 1, 1, seed=2)
    residual = random(2, 5, 6, 9, seed=3).transpose(0, 3, 1, 2)[:, :, :4]
    c = np.full((2, 4, 6, 9), np.nan, np.float32).transpose(0, 3, 1, 2)
    p = params(axis=1, epilogue=expr_bias_relu_add().to_json(), kinds=["vector", "vector"])
    channels_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    run_family(GEMM, p, [channels_last, pack_panels(w, width(p)), bias, residual], [c])
    close(c, np.maximum(np.einsum("nchw,co->nohw", x.astype(np.float64), w) + bias, 0) + residual)


def test_extents_that_do_not_fit() -> None:
    p = params()
    c = np.zeros((2, 4), np.float32)
    with pytest.raises(CallError, match="inner extents differ"):
        run_family(GEMM, p, [random(2, 3), pack_panels(random(5, 4), width(p))], [c])
    with pytest.raises(CallError, match="inner extents differ"):
        run_family(GEMM, {**p, "b": "rows"}, [random(2, 3), random(5, 4)], [c])
    with pytest.raises(CallError, match="does not broadcast"):
        run_family(GEMM, p, [random(7, 5), pack_panels(random(5, 4), width(p))], [c])


@pytest.mark.parametrize(
    "change",
    [{"dtype": "int8"}, {"mr": 0}, {"mr": 99}, {"nv": "2"}, {"mr": True}, {"a": "x"}, {"b": "x"}, {"axis": 0},
     {"kinds": ["vector"]}, {"epilogue": {"steps": []}, "kinds": []}, {"kinds": "os"}, {"a_vector": 1},
     {"epilogue": {"steps": [["in", 0], ["system", 0]], "dtypes": ["float32", "float32"], "result": 1}, "kinds": []},
     {"epilogue": {"steps": [["in", 3]], "dtypes": ["float32"], "result": 0}, "kinds": []},
     {"epilogue": {"steps": [["in", 0]], "dtypes": ["float64"], "result": 0}, "kinds": []}],
)  # fmt: skip
def test_parameters_from_a_file_are_checked(change: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError):
        GEMM.check({**params(), **change})


def test_schedule() -> None:
    tile = Tile(6, 2, 8)
    assert split_segments([(0, 10), (50, 3)], 4, 2) == [(0, 4), (8, 4), (16, 2), (50, 3)]
    assert group_segments([(0, 4), (8, 4), (16, 2), (50, 3)], 8) == ((0, 2, 0, 8), (2, 4, 8, 13))
    assert group_segments([], 8) == ((0, 0, 0, 0),)
    for m, n, k in [(1, 1, 1), (128, 3072, 768), (3136, 256, 64), (1, 2048, 2048), (5, 100, 5000)]:
        schedule, segments = plan(tile, 4, m=m, n=n, segments=[(0, k)], unit=1)
        assert schedule.mc % tile.mr == 0
        assert schedule.mc * schedule.row_blocks >= m
        assert schedule.mc * (schedule.row_blocks - 1) < m
        assert schedule.group * schedule.groups >= schedule.panels > schedule.group * (schedule.groups - 1)
        assert sum(length for _, length in segments) == k
        assert schedule.blocks[0][2] == 0
        assert schedule.blocks[-1][3] == k
    # Large products have tasks for 16 threads.
    assert plan(tile, 4, m=128, n=768, segments=[(0, 768)], unit=1)[0].tasks >= 32
