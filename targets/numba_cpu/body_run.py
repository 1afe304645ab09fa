"""Running a body call: If, Loop, Scan and SequenceMap drive the programs of their bodies.

Per iteration this is a few microseconds of Python around the body's own native call: results are passed on as
they are, and nothing is planned again while shapes repeat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from accelc.errors import CallError
from accelc.targets.numba_cpu.program import BodyCall, Program
from accelc.targets.numba_cpu.tensors import numpy_dtype

OPS = ("If", "Loop", "Scan", "SequenceMap")


class Body(Protocol):
    """What runs the program of a body."""

    program: Program

    def run(self, arrays: list[Any]) -> list[Any]:
        """Results for inputs in order."""


def run_body(step: BodyCall, bodies: Sequence[Body], inputs: Sequence[Any]) -> list[Any]:
    """Results of the node, in order.

    Raises:
        CallError: Lengths of scanned inputs differ, or shapes do not fit.
    """
    own = list(inputs[: step.given])
    chosen = [bodies[i] for i in step.bodies]
    if step.op == "If":
        return _run_if(step, chosen, own, inputs)
    outer = [_row_major(value) for value in inputs[step.given :]]
    run = {"Loop": _run_loop, "Scan": _run_scan, "SequenceMap": _run_sequence_map}[step.op]
    return run(step, chosen[0], own, outer)


def _row_major(value: Any) -> Any:
    if isinstance(value, np.ndarray) and not value.flags.c_contiguous:
        return np.ascontiguousarray(value).reshape(value.shape)
    return value


def _truth(value: Any, op: str) -> bool:
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise CallError(f"the condition of {op} is not a single bool", why=f"it is {value!r}")
    return bool(value.reshape(-1)[0])


def _run_if(step: BodyCall, bodies: Sequence[Body], own: list[Any], inputs: Sequence[Any]) -> list[Any]:
    """The then branch or the else branch, on what it takes from outside."""
    branch = 0 if _truth(own[0], "If") else 1
    first = step.given + (step.captures[0] if branch else 0)
    captured = inputs[first : first + step.captures[branch]]
    return bodies[branch].run([_row_major(value) for value in captured])


def _run_loop(step: BodyCall, body: Body, own: list[Any], outer: list[Any]) -> list[Any]:
    """Iterations while the condition holds and the trip count, if there is one, is not reached."""
    trips, condition, *carried = own
    last = None if trips is None else int(np.asarray(trips).reshape(-1)[0])
    go = condition is None or _truth(condition, "Loop")
    carried = [_row_major(value) for value in carried]
    count = len(carried)
    scans: list[list[Any]] = [[] for _ in range(len(step.outputs) - count)]
    yes, number = np.array(True), 0
    run = body.run
    while go and (last is None or number < last):
        flag, *results = run([np.array(number), yes, *carried, *outer])
        go = bool(flag)
        carried = results[:count]
        for scan, result in zip(scans, results[count:], strict=True):
            scan.append(result)
        number += 1
    return carried + [_stack(scan, body, 1 + count + i, 0) for i, scan in enumerate(scans)]


def _run_scan(step: BodyCall, body: Body, own: list[Any], outer: list[Any]) -> list[Any]:
    """One iteration per element along the scanned axes; results are stacked along theirs."""
    params = step.params
    if params.get("batched"):
        return _run_batched_scan(step, body, own, outer)
    scanned = int(params["num_scan_inputs"])
    states = len(own) - scanned
    sources = []
    for i, array in enumerate(own[states:]):
        moved = np.moveaxis(array, _axis(params, "scan_input_axes", i, array.ndim), 0)
        sources.append(moved[::-1] if _axis(params, "scan_input_directions", i, 2) else moved)
    lengths = {len(source) for source in sources}
    if len(lengths) > 1:
        raise CallError("the scanned inputs differ in length", why=f"lengths {sorted(lengths)}")
    carried = [_row_major(value) for value in own[:states]]
    scans: list[list[Any]] = [[] for _ in range(len(step.outputs) - states)]
    for number in range(lengths.pop() if lengths else 0):
        items = [_row_major(np.asarray(source[number])) for source in sources]
        results = body.run([*carried, *items, *outer])
        carried = results[:states]
        for scan, result in zip(scans, results[states:], strict=True):
            scan.append(result)
    stacked = []
    for i, scan in enumerate(scans):
        if _axis(params, "scan_output_directions", i, 2):
            scan.reverse()
        rank = len(body.program.values[body.program.outputs[states + i]].dims) + 1
        axis = _axis(params, "scan_output_axes", i, rank)
        stacked.append(_stack(scan, body, states + i, axis))
    return carried + stacked


def _run_batched_scan(step: BodyCall, body: Body, own: list[Any], outer: list[Any]) -> list[Any]:
    """Scan of opset 8: sample by sample, each as long as the first input says; zeros behind the end."""
    lengths, *operands = own
    states = len(operands) - int(step.params["num_scan_inputs"])
    batch, longest = operands[-1].shape[:2]
    ends = [longest] * batch if lengths is None else [int(n) for n in np.asarray(lengths).reshape(-1)]
    directions = step.params.get("directions") or []
    plain = replace(
        step, params={"num_scan_inputs": len(operands) - states, "scan_input_directions": directions}
    )
    results: list[list[Any]] = [[] for _ in step.outputs]
    for sample, end in zip(range(batch), ends, strict=True):
        parts = [array[sample] if i < states else array[sample, :end] for i, array in enumerate(operands)]
        for i, made in enumerate(_run_scan(plain, body, parts, outer)):
            if i >= states and end < longest:
                made = np.concatenate([made, np.zeros((longest - end, *made.shape[1:]), made.dtype)])
            results[i].append(made)
    return [np.stack(result) for result in results]


def _axis(params: Mapping[str, Any], name: str, i: int, rank: int) -> int:
    """Element ``i`` of an optional list, counted from the end if negative; 0 by default."""
    values = params.get(name) or ()
    value = int(values[i]) if i < len(values) else 0
    if not -rank <= value < rank:
        raise CallError(f"{name} of a Scan is out of range", why=f"{value} for rank {rank}")
    return value % rank


def _run_sequence_map(step: BodyCall, body: Body, own: list[Any], outer: list[Any]) -> list[Any]:
    """The body on each element of the first sequence; other sequences go along, tensors are repeated."""
    results: list[list[Any]] = [[] for _ in step.outputs]
    for number in range(len(own[0])):
        items = [value[number] if isinstance(value, list) else value for value in own]
        for result, made in zip(results, body.run([_row_major(v) for v in items] + outer), strict=True):
            result.append(made)
    return list(results)


def _stack(scan: list[Any], body: Body, output: int, axis: int) -> np.ndarray:
    """Results of all iterations along a new axis.

    Of no iteration: an empty array; dims that are not static are 0, as onnxruntime has it.
    """
    if scan:
        try:
            return np.stack(scan, axis)
        except ValueError as error:
            raise CallError(
                "iterations give results of different shapes, which cannot be stacked", why=str(error)
            ) from error
    made = body.program.values[body.program.outputs[output]]
    shape = [dim if isinstance(dim, int) else 0 for dim in made.dims]
    return np.empty([*shape[:axis], 0, *shape[axis:]], numpy_dtype(made.dtype))
