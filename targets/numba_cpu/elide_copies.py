"""Concatenation without copies: a result that is only joined to others is written straight into its place.

A ``copy`` call from the whole of a temporary R into (a slice of) another value's memory disappears: R becomes a view
of that memory, and so do R's own views. What wrote R now writes there, and what read R reads there, with other
strides. Kernel families say themselves what strides they take: each call that the change touches is bound once
for sample shapes, and a copy stays where a family refuses, where R's dims would lie in another order, where the
samples do not tell how R lies for other shapes, where something else writes there while R is alive, or where the
region would need more memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from accelc.errors import CallError
from accelc.ir.dims import Dim
from accelc.targets.numba_cpu.bind import BoundRegion
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import Tensor
from accelc.targets.numba_cpu.kernels.registry import family
from accelc.targets.numba_cpu.memory_map import plan_regions
from accelc.targets.numba_cpu.program import Call, Program, SymbolCall, Value, View
from accelc.targets.numba_cpu.region_memory import nbytes
from accelc.targets.numba_cpu.tensors import TensorTable

_STRIDED = frozenset(
    ("gemm", "conv", "winograd", "depthwise", "pool", "pad_copy", "elementwise", "copy", "attention", "reduce",
     "softmax", "normalize")
)  # fmt: skip
"""Families that take operands by their strides, or refuse them; the others need them as they were."""
_MOST_NESTED = 64
"""Joins inside joins that become one buffer; each costs a little whenever shapes are bound."""
_MOST_ROUNDS = 12
"""How often elided copies are checked before the rest is given up; models need one or two."""


def elide_copies(
    program: Program,
    isa: Isa,
    samples: Sequence[Mapping[str, int]],
    threads: int = 1,
    *,
    always: bool = False,
) -> int:
    """Remove copies from a program, in place; the values must be renumbered afterwards.

    Args:
        program: The program.
        isa: What kernels are made for.
        samples: Sizes of the symbols for which calls are tried and memory is compared.
        threads: Threads of a call.
        always: Also where a region needs more memory then.

    Returns:
        The number of copies removed.
    """
    elision = _Elision(program, isa, samples)
    before = [_peak(program, isa, symbols, threads) for symbols in samples]
    if not elision.begin() or not elision.settle():
        elision.undo(list(elision.elided))
        return 0
    elision.drop_copies()
    for attempt in range(0 if always else _MOST_RESTORED + 1):
        after = [_peak(program, isa, symbols, threads) for symbols in samples]
        worse = [i for i, (old, new) in enumerate(zip(before, after, strict=True)) if new > old]
        if not worse:
            break
        found = elision.at_peak(samples[worse[0]], threads) if attempt < _MOST_RESTORED else []
        elision.restore(found or list(elision.elided))
    return len(elision.elided)


_MOST_RESTORED = 16
"""How many copies are put back, one after the other, where a joined buffer lives too long; then all are."""


def _peak(program: Program, isa: Isa, symbols: Mapping[str, int], threads: int) -> int:
    return sum(region.plan.lower_bound_bytes for region in plan_regions(program, isa, symbols, threads))


class _Elision:
    """Copies taken out of a program, and how to put them back. ``elided`` maps R to the copy's place."""

    def __init__(self, program: Program, isa: Isa, samples: Sequence[Mapping[str, int]]) -> None:
        self.program = program
        self.isa = isa
        self.samples = samples
        self.elided: dict[int, int] = {}
        self._kept: dict[int, Value] = {}
        self._steps = list(program.steps)
        self._lives = lives(program)

    def begin(self) -> bool:
        """Turn every R that qualifies into a view; the last joins first, so that nesting is known."""
        depth: dict[int, int] = {}
        for number in range(len(self._steps) - 1, -1, -1):
            step = self._steps[number]
            if not isinstance(step, Call) or step.family != "copy" or len(step.inputs) != 1:
                continue
            found = self._source(step)
            if found is None:
                continue
            root, view = found
            if self._overwritten(root, view, number):
                continue
            base = self._nearest(view.base)
            depth[root] = depth.get(base, 0) + 1 if base >= 0 else 1
            if depth[root] > _MOST_NESTED:
                continue
            value = self.program.values[root]
            self._kept[root] = value
            self.elided[root] = number
            self.program.values[root] = replace(value, kind="view", order=(), view=view)
        return bool(self.elided)

    def _source(self, step: Call) -> tuple[int, View] | None:
        """R and R as a view of the copy's target, if the copy is of a whole temporary into one of our buffers."""
        values = self.program.values
        source, target = values[step.inputs[0]], values[step.outputs[0]]
        if source.dims != target.dims or source.dtype != target.dtype:
            return None
        perm = tuple(range(len(source.dims)))
        while source.view is not None:
            if source.view.kind != "permute" or source.id in self.elided:
                return None  # an elided value stays where its own copy goes: this one stays a copy
            perm = tuple(source.view.perm[i] for i in perm)
            source = values[source.view.base]
        root = values[self.program.root(target.id)]
        if source.kind != "temp" or root.id == source.id or root.kind not in ("temp", "output"):
            return None
        inverse = tuple(sorted(range(len(perm)), key=perm.__getitem__))
        return source.id, View(target.id, "permute", perm=inverse)

    def _overwritten(self, root: int, view: View, copy: int) -> bool:
        """Whether another call writes to R's new place between R's first write and its last use."""
        values = self.program.values
        memory = self.program.root(view.base)
        mine = slices(values, view.base)
        first, last = self._lives[root]
        for number in range(first, max(last, copy) + 1):
            step = self._steps[number]
            if number == copy or isinstance(step, SymbolCall):
                continue
            for output in step.outputs:
                if output < 0 or self.program.root(output) != memory or self._leads_to(output, root):
                    continue
                if not apart(mine, slices(values, output)):
                    return True
        return False

    def _leads_to(self, value: int, root: int) -> bool:
        """Whether ``value`` is ``root`` or a view of it."""
        while value != root:
            view = self.program.values[value].view
            if view is None:
                return False
            value = view.base
        return True

    def _nearest(self, value: int) -> int:
        """The first value on the way to the root that was elided; -1 if there is none."""
        while value not in self.elided:
            view = self.program.values[value].view
            if view is None:
                return -1
            value = view.base
        return value

    def settle(self) -> bool:
        """Undo what kernels do not take, until all take what is left."""
        for _ in range(_MOST_ROUNDS):
            wrong = {r for symbols in self.samples for r in self._refused(symbols)}
            if not wrong:
                return bool(self.elided)
            self.undo(sorted(wrong))
        return False

    def undo(self, roots: Sequence[int]) -> None:
        """Give each R its own memory again."""
        for root in roots:
            if root in self.elided:
                self.program.values[root] = self._kept[root]
                del self.elided[root]

    def restore(self, roots: Sequence[int]) -> None:
        """As ``undo``, with the steps as they are to be then."""
        self.undo(roots)
        self.drop_copies()

    def drop_copies(self) -> None:
        """Leave out the copies that nothing needs any more."""
        gone = set(self.elided.values())
        self.program.steps = [step for number, step in enumerate(self._steps) if number not in gone]

    def _refused(self, symbols: Mapping[str, int]) -> set[int]:
        """Elided values that some call cannot take as they lie now."""
        table = TensorTable(self.program, symbols)
        old = TensorTable(replace(self.program, values=self._before()), symbols)
        gone = set(self.elided.values())
        refused = {near for value in self.program.outputs if (near := self._nearest(value)) >= 0}
        refused |= {root for root in self.elided if not telling(self.program.values, root, table)}
        for number, step in enumerate(self._steps):
            operands = () if isinstance(step, SymbolCall) else step.inputs + step.outputs
            moved = {value: near for value in operands if value >= 0 and (near := self._nearest(value)) >= 0}
            if not moved or number in gone:
                continue
            try:
                tensors = {value: table.tensor(value) for value in operands if value >= 0}
                if any(not _same_order(old.tensor(near), table.tensor(near)) for near in moved.values()):
                    raise CallError("other order")
                if isinstance(step, Call):
                    if step.family not in _STRIDED or step.params.get("span", 1) > 1:
                        raise CallError("the family reads and writes dense operands")
                    inputs = [tensors[value] if value >= 0 else None for value in step.inputs]
                    outputs = [tensors[value] for value in step.outputs]
                    family(step.family).bind(step.params, inputs, outputs, self.isa)
            except CallError:
                refused |= set(moved.values())
        return refused

    def _before(self) -> list[Value]:
        values = list(self.program.values)
        for root in self.elided:
            values[root] = self._kept[root]
        return values

    def at_peak(self, symbols: Mapping[str, int], threads: int) -> list[int]:
        """The largest value joined to a buffer that is alive where most bytes are."""
        table = TensorTable(self.program, symbols)
        alive = {
            root
            for region in plan_regions(self.program, self.isa, symbols, threads)
            for root in _most(region)
        }
        joined = [
            r
            for r in self.elided
            if self.program.root(r) in alive and self._nearest(self._base(r)) < 0 and table.tensor(r).size
        ]
        return [max(joined, key=lambda r: (nbytes(table.tensor(r)), r))] if joined else []

    def _base(self, value: int) -> int:
        view = self.program.values[value].view
        return value if view is None else view.base


Slice = tuple[int, Dim]
"""Axis and start of a slice."""


def lives(program: Program) -> dict[int, tuple[int, int]]:
    """The first and the last step that touches each root value's memory, as the program is."""
    found: dict[int, tuple[int, int]] = {}
    for number, step in enumerate(program.steps):
        operands = (step.output,) if isinstance(step, SymbolCall) else (*step.inputs, *step.outputs)
        for root in {program.root(value) for value in operands if value >= 0}:
            found[root] = (found.get(root, (number, number))[0], number)
    return found


def slices(values: Sequence[Value], value: int) -> list[Slice]:
    """The slices by which a value is cut out of its root's memory, outermost first, as far as axes can be followed."""
    chain: list[View] = []
    while (view := values[value].view) is not None:
        chain.append(view)
        value = view.base
    found: list[Slice] = []
    for view in reversed(chain):
        if view.kind != "slice":
            if view.kind == "permute" and view.perm == tuple(range(len(view.perm))):
                continue
            break
        found.append((view.axis, view.start))
    return found


def apart(left: Sequence[Slice], right: Sequence[Slice]) -> bool:
    """Whether two values of one root are parts of one join: slices along the same axis from different starts."""
    for one, other in zip(left, right, strict=False):
        if one[0] != other[0]:
            return False
        if one[1] != other[1]:
            return True
    return False


def telling(values: Sequence[Value], root: int, table: TensorTable) -> bool:
    """Whether sample sizes show how a joined value lies: no free dim is 1, no slice along one covers all of it."""
    shape = table.tensor(root).shape
    if any(
        extent <= 1 and not isinstance(dim, int) for extent, dim in zip(shape, values[root].dims, strict=True)
    ):
        return False
    value = root
    while (view := values[value].view) is not None:
        if view.kind == "slice":
            inner, outer = values[value].dims[view.axis], values[view.base].dims[view.axis]
            static = isinstance(inner, int) and isinstance(outer, int)
            if (
                not static
                and table.tensor(value).shape[view.axis] == table.tensor(view.base).shape[view.axis]
            ):
                return False
        value = view.base
    return True


def _most(region: BoundRegion) -> list[int]:
    """Root values in the buffers that are alive at the step with most bytes."""
    changes: dict[int, int] = {}
    for buffer in region.buffers:
        changes[buffer.first] = changes.get(buffer.first, 0) + buffer.size
        changes[buffer.last + 1] = changes.get(buffer.last + 1, 0) - buffer.size
    best = top = alive = 0
    for step in sorted(changes):
        alive += changes[step]
        if alive > best:
            best, top = alive, step
    return [root for b in region.buffers if b.first <= top <= b.last for root in b.values]


def _same_order(before: Tensor, after: Tensor) -> bool:
    """Whether the dims lie in memory in the same order, the innermost one as dense as before."""
    if before.shape != after.shape:
        return False
    dims = [dim for dim, extent in enumerate(before.shape) if extent > 1]
    first, second = (sorted(dims, key=lambda dim: -tensor.strides[dim]) for tensor in (before, after))
    return first == second and (not dims or before.strides[first[-1]] == after.strides[first[-1]])
