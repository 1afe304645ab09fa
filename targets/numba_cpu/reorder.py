"""Steps of a region in an order that needs less memory; accelc.plan.order finds it, here are its facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from accelc.plan.order import Work, alive_bytes, memory_order
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.registry import family
from accelc.targets.numba_cpu.program import Call, Program, SymbolCall
from accelc.targets.numba_cpu.region_memory import aligned, nbytes, takeovers
from accelc.targets.numba_cpu.regions import external_values, split
from accelc.targets.numba_cpu.tensors import TensorTable

Box = tuple[tuple[int, int], ...]
"""First element and end along each dim of a root value: what a view can touch."""
_MOST_ACCESSES = 64
"""Accesses of one root value that are compared pair by pair; more are kept in their order."""


@dataclass(frozen=True)
class RegionWork:
    """A region's kernel calls for the scheduler: their numbers in the region, and facts for each sample.

    Buffer ``i`` of the works is the storage of root value ``roots[i]``.
    """

    numbers: tuple[int, ...]
    roots: tuple[int, ...]
    works: tuple[tuple[Work, ...], ...]
    sizes: tuple[tuple[int, ...], ...]


def reorder(program: Program, isa: Isa, samples: Sequence[Mapping[str, int]], threads: int = 1) -> int:
    """Reorder the steps of each region, in place, so that fewer bytes are alive at once.

    An order is taken only if no sample needs more memory with it and one needs less.

    Args:
        program: The program.
        isa: What kernels are made for.
        samples: Sizes of the symbols for which memory is counted; the first is the one to be lowered.
        threads: Threads of a call, each with a workspace.

    Returns:
        The number of regions with a new order.

    Raises:
        CallError: A sample does not fit.
    """
    regions = split(program)
    external = external_values(program, [steps for _, steps in regions])
    changed = 0
    for first, steps in regions:
        if not isinstance(steps, list) or len(steps) < 3:
            continue
        work = region_work(program, isa, samples, threads, steps, external)
        order = memory_order(work.works[0], work.sizes[0])
        if not _better(work, order):
            continue
        calls = [steps[work.numbers[i]] for i in order]
        # Shape tensors take no memory and nothing to compute
        fills = [step for step in steps if isinstance(step, SymbolCall)]
        program.steps[first : first + len(steps)] = [*fills, *calls]
        changed += 1
    return changed


def _better(work: RegionWork, order: Sequence[int]) -> bool:
    given = range(len(order))
    pairs = [
        (max(alive_bytes(works, sizes, given)), max(alive_bytes(works, sizes, order)))
        for works, sizes in zip(work.works, work.sizes, strict=True)
    ]
    return all(new <= old for old, new in pairs) and any(new < old for old, new in pairs)


def region_work(
    program: Program,
    isa: Isa,
    samples: Sequence[Mapping[str, int]],
    threads: int,
    steps: Sequence[Call | SymbolCall],
    external: frozenset[int],
) -> RegionWork:
    """What the scheduler needs to know of a region."""
    numbers = tuple(number for number, step in enumerate(steps) if isinstance(step, Call))
    calls = [step for step in steps if isinstance(step, Call)]
    filled = {step.output for step in steps if isinstance(step, SymbolCall)}
    tables = [TensorTable(program, symbols) for symbols in samples]
    after = _dependences(program, calls, tables)

    def in_arena(root: int) -> bool:
        return program.values[root].kind == "temp" and root not in external and root not in filled

    ids: dict[int, int] = {}
    works, sizes = [], []
    for table in tables:
        made = []
        for call, before in zip(calls, after, strict=True):
            work = call_work(call, table, isa, threads, in_arena)
            touches = tuple(ids.setdefault(root, len(ids)) for root in work.touches)
            pairs = tuple((ids[result], ids[operand]) for result, operand in work.takes_over)
            made.append(replace(work, touches=touches, after=before, takes_over=pairs))
        works.append(tuple(made))
        sizes.append(tuple(aligned(nbytes(table.tensor(root))) for root in ids))
    return RegionWork(numbers, tuple(ids), tuple(works), tuple(sizes))


def call_work(
    call: Call, table: TensorTable, isa: Isa, threads: int, in_arena: Callable[[int], bool]
) -> Work:
    """One call for the scheduler; buffers are called by their root values.

    Raises:
        CallError: The kernel does not take its operands as they lie.
    """
    inputs = [table.tensor(value) if value >= 0 else None for value in call.inputs]
    outputs = [table.tensor(value) for value in call.outputs]
    binding = family(call.family).bind(call.params, inputs, outputs, isa)
    roots = dict.fromkeys(tensor.value for tensor in (*inputs, *outputs) if tensor is not None)
    touches = tuple(root for root in roots if in_arena(root))
    result = outputs[0].value
    sources = [root for root in takeovers(call, inputs, outputs) if root in touches and root != result]
    size = nbytes(table.tensor(result))
    pairs = [(result, root) for root in sources if nbytes(table.tensor(root)) == size]
    return Work(
        touches, (), aligned(binding.workspace_bytes) * threads, tuple(pairs) if result in touches else ()
    )


def _dependences(
    program: Program, calls: Sequence[Call], tables: Sequence[TensorTable]
) -> list[tuple[int, ...]]:
    """The calls that each call must follow: those that write what it touches, or read what it writes."""
    boxes: dict[int, tuple[Box, ...]] = {}

    def box(value: int) -> tuple[Box, ...]:
        if value not in boxes:
            boxes[value] = tuple(box_of(program, value, table) for table in tables)
        return boxes[value]

    accesses: dict[int, list[tuple[int, int, bool]]] = {}  # by root: call, value, whether it writes
    after: list[tuple[int, ...]] = []
    for number, call in enumerate(calls):
        needed: dict[int, None] = {}
        touched = [(v, False) for v in call.inputs if v >= 0] + [(v, True) for v in call.outputs]
        for value, writes in touched:
            earlier = accesses.setdefault(program.root(value), [])
            if len(earlier) > _MOST_ACCESSES:
                needed.update((e[0], None) for e in earlier[-1:] if writes or e[2])
                continue
            for other, place, wrote in earlier:
                if (writes or wrote) and _overlap(box(value), box(place)):
                    needed[other] = None
        for value, writes in touched:
            accesses[program.root(value)].append((number, value, writes))
        after.append(tuple(needed))
    return after


def _overlap(left: Sequence[Box], right: Sequence[Box]) -> bool:
    """Whether two parts of a root value meet for some sample."""
    return any(
        all(a < d and c < b for (a, b), (c, d) in zip(one, other, strict=True))
        for one, other in zip(left, right, strict=True)
    )


def box_of(program: Program, value: int, table: TensorTable) -> Box:
    """The part of its root value that a value may touch, for the symbols of ``table``."""
    chain = []
    while (view := program.values[value].view) is not None:
        chain.append((value, view))
        value = view.base
    whole = table.tensor(value).shape
    ends = [[0, extent] for extent in whole]
    axes = list(range(len(whole)))  # dim of the root that each dim of the view runs along
    for made, view in reversed(chain):
        if view.kind == "reshape":
            break  # dims are no longer the root's; what is known so far holds
        if view.kind == "permute":
            axes = [axes[dim] for dim in view.perm]
        elif view.step == 1:
            end = ends[axes[view.axis]]
            start = end[0] + table.start(view)
            end[:] = [start, start + table.tensor(made).shape[view.axis]]
    return tuple((first, last) for first, last in ends)
