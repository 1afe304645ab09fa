import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.errors import AccelcError, UsageError
from accelc.plan.arena import Buffer, Gap, MemoryPlan, allocate, lower_bound, validate

buffers = st.lists(
    st.builds(
        lambda size, first, length: Buffer(size, first, first + length),
        st.integers(0, 5000),
        st.integers(0, 30),
        st.integers(0, 10),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(buffers)
def test_plans_are_valid_aligned_and_above_the_bound(items: list[Buffer]) -> None:
    plan = allocate(items)
    validate(items, plan)
    assert all(offset % 64 == 0 for offset in plan.offsets)
    assert plan.peak_bytes >= plan.lower_bound_bytes == lower_bound(items)


def test_reuses_memory_of_dead_buffers() -> None:
    chain = [Buffer(1000, i, i + 1) for i in range(10)]
    assert allocate(chain).peak_bytes == 2 * 1024


def test_no_buffers() -> None:
    assert allocate([]) == MemoryPlan((), 0, 0)


def test_validator_sees_overlap() -> None:
    with pytest.raises(AccelcError, match="overlaps buffers 0 and 1 at step 1"):
        validate([Buffer(100, 0, 1), Buffer(100, 1, 2)], MemoryPlan((0, 64), 200, 200))


def test_validator_sees_buffer_outside_arena() -> None:
    with pytest.raises(AccelcError, match="outside the arena"):
        validate([Buffer(100, 0, 1)], MemoryPlan((64,), 100, 100))


def test_validator_sees_offsets_that_are_missing_fixed_or_unaligned() -> None:
    with pytest.raises(AccelcError, match="0 offsets for 1 buffers"):
        validate([Buffer(1, 0, 0)], MemoryPlan((), 1, 1))
    for wrong in (Buffer(4, 0, 1, offset=8), Buffer(4, 0, 1, alignment=8)):
        with pytest.raises(AccelcError, match="puts buffer 0 at 4, where it must not lie"):
            validate([wrong], MemoryPlan((4,), 8, 8))


def test_validator_knows_gaps_and_their_windows() -> None:
    gaps = (Gap(1, 2), Gap(4, 4, (2, 3)))
    holder = Buffer(4, 0, 5, gaps)
    for step, offset, fits in (
        (1, 0, True),
        (2, 3, True),
        (3, 0, False),
        (4, 0, True),
        (4, 3, True),
        (4, 2, False),
    ):
        items = [holder, Buffer(1, step, step)]
        if fits:
            validate(items, MemoryPlan((0, offset), 4, 4))
        else:
            with pytest.raises(AccelcError, match=f"overlaps buffers 0 and 1 at step {step}"):
                validate(items, MemoryPlan((0, offset), 4, 4))


@pytest.mark.parametrize(
    ("buffer", "reason"),
    [
        (Buffer(-1, 0, 0), "its size is -1 bytes"),
        (Buffer(1, 2, 1), "it ends at step 1, before it starts at 2"),
        (Buffer(1, 0, 1, alignment=0), "its alignment is 0 bytes"),
        (Buffer(1, 0, 1, offset=3), "its offset is fixed at 3, which is no multiple of 64 from 0 up"),
        (
            Buffer(1, 0, 9, (Gap(3, 4), Gap(4, 5))),
            "its gap of steps 4 to 5 is out of order or outside its life",
        ),
        (Buffer(1, 0, 9, (Gap(3, 4, (0, 2)),)), "the window (0, 2) of a gap is not within its 1 bytes"),
    ],
)
def test_buffers_that_make_no_sense(buffer: Buffer, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        allocate([buffer])
    assert str(caught.value) == f"UsageError: buffer 0 cannot be planned\n  why    {reason}"


def test_fixed_offsets_are_kept_or_refused() -> None:
    plan = allocate([Buffer(64, 0, 1), Buffer(64, 1, 2, offset=0), Buffer(64, 2, 3, offset=192)])
    assert plan == MemoryPlan((64, 0, 192), 256, 256)
    with pytest.raises(UsageError, match="fixed offsets"):
        allocate([Buffer(64, 0, 1, offset=0), Buffer(64, 1, 2, offset=0)])
