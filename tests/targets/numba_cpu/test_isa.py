import numpy as np
import pytest

from accelc.errors import UsageError
from accelc.targets.numba_cpu.isa import Isa

AVX512 = "+avx,+avx2,+fma,+avx512f,+avx512vl"
AVX2 = "+avx,+avx2,+fma,-avx512f"


def test_host_is_a_width_that_exists() -> None:
    isa = Isa.host()
    assert isa.vector_bits in (128, 256, 512)
    assert isa == Isa.host()
    assert isa.key == Isa.host().key


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_width_can_be_chosen(bits: int) -> None:
    assert Isa.host(bits).vector_bits == bits


def test_unknown_width_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        Isa.host(64)
    assert str(caught.value) == (
        "UsageError: no kernels with 64-bit vectors\n"
        "  why    the vector width is one of 128, 256, 512\n"
        "  fix    leave vector_bits out to get this machine's width"
    )


def test_lanes_follow_the_dtype() -> None:
    isa = Isa("x", AVX2, 256)
    lanes = [isa.lanes(name) for name in ("int8", "float16", "float32", "float64", "bool")]
    assert lanes == [32, 16, 8, 4, 32]
    assert isa.lanes(np.dtype(np.int16)) == 16


@pytest.mark.parametrize(
    ("features", "bits", "registers"),
    [
        (AVX512, 512, 32),
        (AVX512, 256, 32),
        (AVX2, 256, 16),
        (AVX2, 128, 16),
        (AVX2, 512, 8),
        ("+neon", 128, 32),
    ],
)
def test_registers(features: str, bits: int, registers: int) -> None:
    assert Isa("x", features, bits).registers == registers


def test_key_tells_apart_what_compiles_differently() -> None:
    keys = {
        Isa("x", AVX2, 256).key,
        Isa("x", AVX2, 128).key,
        Isa("y", AVX2, 256).key,
        Isa("x", AVX512, 256).key,
    }
    assert len(keys) == 4


def test_has_is_exact() -> None:
    assert Isa("x", AVX512, 512).has("avx512f")
    assert not Isa("x", AVX2, 256).has("avx512f")
    assert not Isa("x", "+avx512fp16", 512).has("avx512f")
