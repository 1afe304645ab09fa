import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.errors import AccelcError
from accelc.plan.arena import Buffer, MemoryPlan, allocate, lower_bound, validate

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
