"""If, Loop and Scan driven from the host: what XLA cannot hold because shapes change or iterations end early.

The bodies are compiled programs; between iterations their results stay on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from accelc.errors import CallError
from accelc.ir.shapes import dims_of

if TYPE_CHECKING:
    from accelc.targets.jax_xla.program_run import ProgramRunner


def run_body(
    node: ir.Node, bodies: Sequence[ProgramRunner], given: list[Any], taken: Sequence[list[Any]]
) -> list[Any]:
    """Results of the node, in order.

    Args:
        node: If, Loop or Scan.
        bodies: What runs its bodies.
        given: Its operands.
        taken: For each body, what it takes from outside.

    Raises:
        CallError: A condition is no single bool, lengths differ, or results cannot be stacked.
    """
    if node.op_type == "If":
        branch = 0 if _truth(given[0], "If") else 1
        return bodies[branch].run(taken[branch])
    if node.op_type == "Loop":
        return _run_loop(node, bodies[0], given, taken[0])
    if len(given) > len(bodies[0].program.graph.inputs):  # opset 8 has lengths first
        return _run_batched_scan(node, bodies[0], given, taken[0])
    return _run_scan(node, bodies[0], given, taken[0])


def _truth(value: Any, op: str) -> bool:
    array = np.asarray(value)
    if array.size != 1:
        raise CallError(
            f"the condition of {op} is not a single bool", why=f"its shape is {list(array.shape)}"
        )
    return bool(array.reshape(-1)[0])


def _run_loop(node: ir.Node, body: ProgramRunner, given: list[Any], taken: list[Any]) -> list[Any]:
    """Iterations while the condition holds and the trip count, if there is one, is not reached."""
    given = given + [None] * (2 - len(given))
    trips, condition, *carried = given
    last = None if trips is None else int(np.asarray(trips).reshape(-1)[0])
    go = condition is None or _truth(condition, "Loop")
    count, number, yes = len(carried), 0, np.array(True)
    scans: list[list[Any]] = [[] for _ in range(len(body.program.outputs) - 1 - count)]
    while go and (last is None or number < last):
        flag, *results = body.run([np.array(number), yes, *carried, *taken])
        go = _truth(flag, "Loop")
        carried = results[:count]
        for scan, result in zip(scans, results[count:], strict=True):
            scan.append(result)
        number += 1
    return [
        *carried,
        *(_stack(scan, body.program.outputs[1 + count + i], 0) for i, scan in enumerate(scans)),
    ]


def _run_scan(node: ir.Node, body: ProgramRunner, given: list[Any], taken: list[Any]) -> list[Any]:
    """One iteration per element along the scanned axes; results are stacked along theirs."""
    scanned = node.attributes.get_int("num_scan_inputs", 0)
    states = len(given) - scanned
    sources = []
    for i, value in enumerate(given[states:]):
        array = np.asarray(value)
        axis = _setting(node, "scan_input_axes", i)
        moved = np.moveaxis(array, axis, 0)
        sources.append(moved[::-1] if _setting(node, "scan_input_directions", i) else moved)
    lengths = {len(source) for source in sources}
    if len(lengths) > 1:
        raise CallError("the scanned inputs differ in length", why=f"lengths {sorted(lengths)}")
    carried = given[:states]
    outputs = body.program.outputs
    scans: list[list[Any]] = [[] for _ in range(len(outputs) - states)]
    for number in range(lengths.pop() if lengths else 0):
        results = body.run([*carried, *(np.asarray(source[number]) for source in sources), *taken])
        carried = results[:states]
        for scan, result in zip(scans, results[states:], strict=True):
            scan.append(result)
    stacked = []
    for i, scan in enumerate(scans):
        if _setting(node, "scan_output_directions", i):
            scan.reverse()
        stacked.append(_stack(scan, outputs[states + i], _setting(node, "scan_output_axes", i)))
    return [*carried, *stacked]


def _run_batched_scan(node: ir.Node, body: ProgramRunner, given: list[Any], taken: list[Any]) -> list[Any]:
    """Scan of opset 8: sample by sample, each as long as the first input says; zeros behind the end."""
    lengths = None if given[0] is None else np.asarray(given[0])
    operands = [np.asarray(value) for value in given[1:]]
    states = len(operands) - node.attributes.get_int("num_scan_inputs", 0)
    batch, longest = operands[-1].shape[:2]
    ends = [longest] * batch if lengths is None else [int(n) for n in lengths.reshape(-1)]
    collected: list[list[Any]] = [[] for _ in body.program.outputs]
    for sample, end in zip(range(batch), ends, strict=True):
        parts = [array[sample] if i < states else array[sample, :end] for i, array in enumerate(operands)]
        for i, made in enumerate(_run_scan(node, body, parts, taken)):
            result = np.asarray(made)
            if i >= states and end < longest:
                rest = np.zeros((longest - end, *result.shape[1:]), result.dtype)
                result = np.concatenate([result, rest])
            collected[i].append(result)
    return [np.stack(result) for result in collected]


def _setting(node: ir.Node, name: str, i: int) -> int:
    """Element ``i`` of an optional list of axes or directions; 0 by default."""
    name = "directions" if name == "scan_input_directions" and "directions" in node.attributes else name
    values = list(node.attributes.get_ints(name, ()))
    return int(values[i]) if i < len(values) else 0


def _stack(scan: list[Any], output: ir.Value, axis: int) -> np.ndarray:
    """Results of all iterations along a new axis.

    Of no iteration: an empty array; dims that are not static are 0, as onnxruntime has it.
    """
    if scan:
        try:
            return np.stack([np.asarray(item) for item in scan], axis)
        except ValueError as error:
            raise CallError(
                "iterations give results of different shapes, which cannot be stacked", why=str(error)
            ) from error
    dims = [dim if isinstance(dim, int) else 0 for dim in dims_of(output) or ()]
    dtype = output.dtype.numpy() if output.dtype is not None else np.dtype(np.float32)
    axis = axis % (len(dims) + 1)
    return np.empty([*dims[:axis], 0, *dims[axis:]], dtype)
