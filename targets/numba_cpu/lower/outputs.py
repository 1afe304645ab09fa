"""The end of a lowering: outputs get storage of their own, and what they do not need is dropped."""

from __future__ import annotations

from collections.abc import Sequence

from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.program import Program, Step, Value


def emit_outputs(ctx: LowerContext, outputs: Sequence[tuple[str, Value]], *, is_body: bool) -> None:
    """Make values the outputs of the program, by name.

    Each gets storage of its own, row-major, that no other output shares. A body may return what it was given:
    its results are read by the program around it and never written.
    """
    program = ctx.program
    taken: set[int] = set()
    for name, found in outputs:
        root = program.values[program.root(found.id)]
        shared = found.dtype == "object" or (is_body and _shareable(ctx, found, root))
        if not shared and (root.kind != "temp" or root.id in taken or not _whole(ctx, found, root)):
            copy = ctx.temp(found.dtype, found.dims, (), name)
            ctx.origin = ()
            ctx.emit("copy", ctx.copy_params(found.dtype), [found], [copy])
            found = root = copy
        if not shared:
            taken.add(root.id)
            program.values[root.id] = Value(root.id, root.name, root.dtype, root.dims, "output", root.order)
        program.outputs.append(found.id)
        program.output_names.append(name)


def _shareable(ctx: LowerContext, value: Value, root: Value) -> bool:
    kinds = ("input", "host", "constant")
    return root.kind in kinds and root.id not in ctx.program.packed and _whole(ctx, value, root)


def _whole(ctx: LowerContext, value: Value, root: Value) -> bool:
    """Whether a value is all of its root's memory, row-major."""
    return ctx.is_dense(value) and ctx.is_dense(root) and not _sliced(ctx.program, value)


def _sliced(program: Program, value: Value) -> bool:
    while value.view is not None:
        if value.view.kind == "slice":
            return True
        value = program.values[value.view.base]
    return False


def pruned(program: Program) -> Program:
    """Without steps and constants that no output needs."""
    needed = {program.root(value) for value in program.outputs}
    kept: list[Step] = []
    for step in reversed(program.steps):
        outputs = (step.output,) if not hasattr(step, "outputs") else step.outputs
        if not any(program.root(value) in needed for value in outputs if value >= 0):
            continue
        kept.append(step)
        needed |= {program.root(value) for value in getattr(step, "inputs", ()) if value >= 0}
    program.steps = kept[::-1]
    program.constants = {i: array for i, array in program.constants.items() if i in needed}
    program.packed &= set(program.constants)
    program.strings = {i: array for i, array in program.strings.items() if i in needed}
    return program
