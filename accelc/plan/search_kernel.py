"""The search for offsets below a capacity, compiled by Numba; its method is told in accelc/plan/search.py.

Imported only by a function that needs it. All compiled code and the layout of its tables are in this one file,
because Numba renews what it has cached when the file of the function that is called changes, and only then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np

# Columns of State.buffers.
SIZE, ALIGN, LIMIT, RANK, TWIN = (
    0,
    1,
    2,
    3,
    4,
)  # LIMIT: highest offset; TWIN: next buffer that is the same, or -1
RANGES, RANGES_END, NEIGHBOURS, NEIGHBOURS_END = 5, 6, 7, 8  # slices of State.lists
OFFSET, LEAST, SUPPORT = 9, 10, 11  # OFFSET is -1 until placed; SUPPORT: highest top of the placed ones below
BUFFER_COLUMNS = 12
# Columns of State.sections. CUT counts the buffers without offset that join a section to the one before.
MEMBERS, MEMBERS_END, TOTAL, COUNT, FLOOR, CANDIDATES, CUT, WEIGHT, QUEUED, QUEUE = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
)
SECTION_COLUMNS = 10
# Columns of State.choices and State.parts (a linked list: the parts still to solve).
BUFFER, TRAIL_TOP, PART, PARTS_TOP = 0, 1, 2, 3
LOW, HIGH, BASE, NEXT = 0, 1, 2, 3
# Cells of State.cells.
TRAIL, CHOICES, ACTIVE, PARTS, QUEUED_COUNT, CAPACITY, NODES, FOCUS, CONFLICT = 0, 1, 2, 3, 4, 5, 6, 7, 8
CELLS = 9

PAUSED, SOLVED, IMPOSSIBLE, TRAIL_FULL = 0, 1, 2, 3
PLACED = 200  # kind of a trail entry; below 100 it is a column of buffers, from 100 a column of sections
FAR = 1 << 60

Function = TypeVar("Function", bound=Callable[..., Any])


class State(NamedTuple):
    """One search; arrays of int64, C-contiguous, with the columns named above.

    ``lists`` has section ranges (pairs) and neighbours of the buffers, then members of the sections, kept sorted
    by least offset; ``trail`` [size, 3] has (kind, row, old value) of what to undo; ``choices`` [size, 4] has
    buffers that may also lie higher; ``parts`` [size, 4] has ranges of sections; ``cells`` are scalars.
    """

    buffers: np.ndarray
    sections: np.ndarray
    lists: np.ndarray
    trail: np.ndarray
    choices: np.ndarray
    parts: np.ndarray
    cells: np.ndarray


def _compiled(function: Function) -> Function:
    options = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast(Function, numba.njit(**options)(function))


@_compiled
def _note(state: State, kind: int, row: int, old: int) -> None:
    top = state.cells[TRAIL]
    state.trail[top, 0], state.trail[top, 1], state.trail[top, 2] = kind, row, old
    state.cells[TRAIL] = top + 1


@_compiled
def _set(state: State, section: int, column: int, value: int) -> None:
    if state.sections[section, column] != value:
        _note(state, 100 + column, section, state.sections[section, column])
        state.sections[section, column] = value


@_compiled
def _count(state: State, buffer: int, sign: int) -> None:
    """Add (1) or take away (-1) a buffer from the totals of its sections and the cuts within its hull."""
    buffers, sections, lists = state.buffers, state.sections, state.lists
    for r in range(buffers[buffer, RANGES], buffers[buffer, RANGES_END], 2):
        for s in range(lists[r], lists[r + 1]):
            sections[s, TOTAL] += sign * buffers[buffer, SIZE]
            sections[s, COUNT] += sign
    for s in range(lists[buffers[buffer, RANGES]] + 1, lists[buffers[buffer, RANGES_END] - 1]):
        sections[s, CUT] += sign


@_compiled
def _undo(state: State, to: int) -> None:
    trail = state.trail
    for t in range(state.cells[TRAIL] - 1, to - 1, -1):
        kind = trail[t, 0]
        if kind < 100:
            state.buffers[trail[t, 1], kind] = trail[t, 2]
        elif kind < PLACED:
            state.sections[trail[t, 1], kind - 100] = trail[t, 2]
        else:
            state.buffers[trail[t, 1], OFFSET] = -1
            _count(state, trail[t, 1], 1)
    state.cells[TRAIL] = to


@_compiled
def _queue(state: State, buffer: int) -> None:
    """Have the sections of a buffer looked at again."""
    buffers, sections, lists, cells = state.buffers, state.sections, state.lists, state.cells
    for r in range(buffers[buffer, RANGES], buffers[buffer, RANGES_END], 2):
        for s in range(lists[r], lists[r + 1]):
            if sections[s, QUEUED] == 0:
                sections[s, QUEUED] = 1
                sections[cells[QUEUED_COUNT], QUEUE] = s
                cells[QUEUED_COUNT] += 1


@_compiled
def _raise(state: State, buffer: int, least: int) -> bool:
    """Raise a buffer's least offset, and those of its twins, which lie above it; False if it does not fit."""
    buffers = state.buffers
    while True:
        align = buffers[buffer, ALIGN]
        if align > 1:
            least = (least + align - 1) // align * align
        if least <= buffers[buffer, LEAST]:
            return True
        _note(state, LEAST, buffer, buffers[buffer, LEAST])
        buffers[buffer, LEAST] = least
        _queue(state, buffer)
        if least > buffers[buffer, LIMIT]:
            return False
        least += buffers[buffer, SIZE]
        buffer = buffers[buffer, TWIN]
        if buffer < 0 or buffers[buffer, OFFSET] >= 0:
            return True


@_compiled
def _sort_members(state: State, section: int) -> None:
    """Sort by least offset, those with an offset last: insertion, since little changes between two calls."""
    buffers, members = state.buffers, state.lists
    start = state.sections[section, MEMBERS]
    for q in range(start + 1, state.sections[section, MEMBERS_END]):
        buffer = members[q]
        key = buffers[buffer, LEAST] if buffers[buffer, OFFSET] < 0 else FAR
        j = q
        while j > start:
            other = members[j - 1]
            if (buffers[other, LEAST] if buffers[other, OFFSET] < 0 else FAR) <= key:
                break
            members[j] = other
            j -= 1
        members[j] = buffer


@_compiled
def _bound(state: State, section: int) -> bool:
    """Renew a section's floor and count of candidates; False if its buffers cannot fit any more."""
    buffers, sections, members = state.buffers, state.sections, state.lists
    count = sections[section, COUNT]
    if count == 0:
        _set(state, section, FLOOR, FAR)
        return True
    _sort_members(state, section)
    start = sections[section, MEMBERS]
    total = needed = 0
    for q in range(start + count - 1, start - 1, -1):
        total += buffers[members[q], SIZE]
        needed = max(needed, buffers[members[q], LEAST] + total)
    if needed > state.cells[CAPACITY]:
        return False
    # The lowest buffer of the section cannot start above this.
    latest = state.cells[CAPACITY] - total
    candidates = 0
    while candidates < count and buffers[members[start + candidates], LEAST] <= latest:
        candidates += 1
    _set(state, section, FLOOR, buffers[members[start], LEAST])
    _set(state, section, CANDIDATES, candidates)
    return True


@_compiled
def settle(state: State) -> bool:
    """Look at the queued sections; False if one cannot be filled."""
    sections, cells, fits = state.sections, state.cells, True
    for i in range(cells[QUEUED_COUNT]):
        section = sections[i, QUEUE]
        sections[section, QUEUED] = 0
        if fits and not _bound(state, section):
            fits = False
            sections[section, WEIGHT] += 1
            cells[CONFLICT] = section
    cells[QUEUED_COUNT] = 0
    return fits


@_compiled
def _place(state: State, buffer: int) -> bool:
    """Put a buffer at its least offset; its neighbours go above."""
    buffers, neighbours = state.buffers, state.lists
    offset = buffers[buffer, LEAST]
    top = offset + buffers[buffer, SIZE]
    _note(state, PLACED, buffer, 0)
    buffers[buffer, OFFSET] = offset
    _count(state, buffer, -1)
    _queue(state, buffer)
    fits = True
    for q in range(buffers[buffer, NEIGHBOURS], buffers[buffer, NEIGHBOURS_END]):
        other = neighbours[q]
        if buffers[other, OFFSET] >= 0:
            continue
        if buffers[other, SUPPORT] < top:
            align = buffers[other, ALIGN]
            _note(state, SUPPORT, other, buffers[other, SUPPORT])
            buffers[other, SUPPORT] = (top + align - 1) // align * align if align > 1 else top
        if buffers[other, LEAST] < top and not _raise(state, other, top):
            fits = False
    return fits


@_compiled
def _lowest_neighbour(state: State, buffer: int) -> int:
    """The neighbour without offset whose top can be lowest, or -1."""
    buffers, neighbours = state.buffers, state.lists
    found, lowest = -1, FAR
    for q in range(buffers[buffer, NEIGHBOURS], buffers[buffer, NEIGHBOURS_END]):
        other = neighbours[q]
        if buffers[other, OFFSET] < 0 and buffers[other, LEAST] + buffers[other, SIZE] < lowest:
            found, lowest = other, buffers[other, LEAST] + buffers[other, SIZE]
    return found


@_compiled
def _may_lie_higher(state: State, buffer: int) -> bool:
    """Whether a neighbour can take a part of the place where the buffer would lie; else it lies there."""
    buffers, neighbours = state.buffers, state.lists
    if buffers[buffer, LEAST] == buffers[buffer, LIMIT]:
        return False
    top = buffers[buffer, LEAST] + buffers[buffer, SIZE]
    for q in range(buffers[buffer, NEIGHBOURS], buffers[buffer, NEIGHBOURS_END]):
        other = neighbours[q]
        if buffers[other, OFFSET] < 0 and buffers[other, LEAST] < top:
            return True
    return False


@_compiled
def _choose_section(state: State) -> int:
    """The section of the active part to fill next, or -1 if it is solved: the one with the lowest floor."""
    sections, cells = state.sections, state.cells
    low, high = state.parts[cells[ACTIVE], LOW], state.parts[cells[ACTIVE], HIGH]
    failed = int(cells[CONFLICT])
    if cells[FOCUS] > 0 and low <= failed and failed < high and sections[failed, COUNT] > 0:
        return failed
    chosen, lowest, fewest = -1, FAR, 0.0
    for s in range(low, high):
        floor = sections[s, FLOOR]
        if sections[s, COUNT] == 0 or floor > lowest:
            continue
        candidates = sections[s, CANDIDATES] / sections[s, WEIGHT]
        if chosen < 0 or floor < lowest or candidates < fewest:
            chosen, lowest, fewest = s, floor, candidates
    return chosen


@_compiled
def _choose(state: State) -> int:
    """The next buffer to branch on: nothing can be below it; -1: part solved, -2: settle first, -3: failed."""
    buffers, sections, members = state.buffers, state.sections, state.lists
    section = _choose_section(state)
    if section < 0:
        return -1
    start, floor = sections[section, MEMBERS], sections[section, FLOOR]
    buffer = int(members[start])
    for q in range(start, start + sections[section, COUNT]):
        other = members[q]
        if buffers[other, LEAST] > floor:
            break
        supported = buffers[other, SUPPORT] == floor
        if supported and (buffers[buffer, SUPPORT] != floor or buffers[other, RANK] < buffers[buffer, RANK]):
            buffer = other
    # Go down to a buffer that lies on what has an offset and below which nothing fits any more.
    while True:
        below = _lowest_neighbour(state, buffer)
        top = FAR if below < 0 else buffers[below, LEAST] + buffers[below, SIZE]
        if buffers[buffer, SUPPORT] < buffers[buffer, LEAST]:
            if below < 0:
                return -3
            if top > buffers[buffer, LEAST]:
                return -2 if _raise(state, buffer, top) else -3
        elif top > buffers[buffer, LEAST]:
            return buffer
        buffer = below


@_compiled
def _split(state: State, buffer: int) -> None:
    """Replace the active part by the parts that remain where the buffer, now placed, was all that joined them."""
    sections, lists, parts, cells = state.sections, state.lists, state.parts, state.cells
    active = cells[ACTIVE]
    low, high = parts[active, LOW], parts[active, HIGH]
    for s in range(lists[state.buffers[buffer, RANGES]] + 1, lists[state.buffers[buffer, RANGES_END] - 1]):
        if sections[s, CUT] == 0:
            break
    else:
        return
    head = rest = parts[active, NEXT]
    end, busy = high, 0
    for s in range(high - 1, low - 1, -1):
        busy += sections[s, COUNT]
        if s > low and sections[s, CUT] > 0:
            continue
        if busy > 0:
            part = cells[PARTS]
            cells[PARTS] = part + 1
            parts[part, LOW], parts[part, HIGH] = s, end
            parts[part, BASE], parts[part, NEXT] = cells[CHOICES], head
            head = part
        end, busy = s, 0
    if head != rest:
        cells[ACTIVE] = head


@_compiled
def _backtrack(state: State) -> int:
    """Go back to the last buffer that may also lie higher, which then does: 1; 0 if that fails, -1 if none is left."""
    cells, choices = state.cells, state.choices
    choice = cells[CHOICES] - 1
    if choice < 0:
        return -1
    cells[CHOICES] = choice
    _undo(state, choices[choice, TRAIL_TOP])
    cells[ACTIVE] = choices[choice, PART]
    cells[PARTS] = choices[choice, PARTS_TOP]
    # The buffer lies above its least offset: on a neighbour that has no offset yet.
    below = _lowest_neighbour(state, choices[choice, BUFFER])
    if below < 0:
        return 0
    fits = _raise(state, choices[choice, BUFFER], state.buffers[below, LEAST] + state.buffers[below, SIZE])
    return 1 if settle(state) and fits else 0


@_compiled
def _branch(state: State, buffer: int) -> bool:
    """Place a buffer, noting that it may also lie higher, if it may; False if that fails."""
    buffers, lists, cells, choices = state.buffers, state.lists, state.cells, state.choices
    if _may_lie_higher(state, buffer):
        choice = cells[CHOICES]
        choices[choice, BUFFER], choices[choice, TRAIL_TOP] = buffer, cells[TRAIL]
        choices[choice, PART], choices[choice, PARTS_TOP] = cells[ACTIVE], cells[PARTS]
        cells[CHOICES] = choice + 1
    fits = _place(state, buffer)
    if not settle(state) or not fits:
        return False
    for r in range(buffers[buffer, RANGES], buffers[buffer, RANGES_END], 2):
        if lists[r] <= cells[CONFLICT] and cells[CONFLICT] < lists[r + 1]:
            cells[CONFLICT] = -1
    _split(state, buffer)
    return True


def search(state: State, nodes: int) -> int:
    """Search on, for at most ``nodes`` more steps: PAUSED, SOLVED, IMPOSSIBLE or TRAIL_FULL."""
    cells, parts = state.cells, state.parts
    reserve = 4 * (state.buffers.shape[0] + state.sections.shape[0])
    stop = cells[NODES] + nodes
    if not settle(state):
        return IMPOSSIBLE
    while cells[ACTIVE] >= 0:
        if cells[NODES] >= stop:
            return PAUSED
        if cells[TRAIL] + reserve > state.trail.shape[0]:
            return TRAIL_FULL
        buffer = _choose(state)
        if buffer == -1:
            cells[ACTIVE] = parts[cells[ACTIVE], NEXT]
            if cells[ACTIVE] >= 0:
                # What was chosen in solved parts is final: nothing in this one depends on it.
                cells[CHOICES] = min(cells[CHOICES], parts[cells[ACTIVE], BASE])
            continue
        cells[NODES] += 1
        fits = _branch(state, buffer) if buffer >= 0 else settle(state) and buffer == -2
        went_back = 1 if fits else 0
        while went_back == 0:
            went_back = _backtrack(state)
        if went_back < 0:
            return IMPOSSIBLE
    return SOLVED
