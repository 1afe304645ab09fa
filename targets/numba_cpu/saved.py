"""A program as files: ``program.json`` and ``weights.bin``. Reading checks everything it selects."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accelc.errors import ArtifactError
from accelc.ir.dims import is_expression
from accelc.targets.host_ops import HOST_OPS
from accelc.targets.numba_cpu.body_run import OPS
from accelc.targets.numba_cpu.kernels.base import itemsize
from accelc.targets.numba_cpu.kernels.registry import family
from accelc.targets.numba_cpu.program import (
    BodyCall,
    Call,
    HostCall,
    Program,
    Step,
    SymbolCall,
    Value,
    View,
)
from accelc.targets.numba_cpu.tensors import numpy_dtype

if TYPE_CHECKING:
    from accelc.targets.numba_cpu.executable import CpuExecutable

_ALIGNMENT = 64
_MOST_NESTED = 64
"""Deepest nesting of bodies that is read."""
Places = dict[int, tuple[int, int]]
"""Offset and bytes in the weights file, by the id of the array."""
_KINDS = {"input", "output", "constant", "temp", "view", "host"}


def write(exe: CpuExecutable, folder: Path) -> dict[str, Any]:
    """Write program, weights and the kernels' text (to read); return the manifest's part."""
    program = exe.program
    places = _write_weights(program, folder / "weights.bin")
    data = program_json(program, places)
    (folder / "program.json").write_text(json.dumps(data, sort_keys=True, separators=(",", ":")) + "\n")
    kernels = folder / "kernels"
    kernels.mkdir()
    for step in exe.calls:
        source = family(step.family).source(step.params, exe.isa)
        (kernels / f"{source.digest}.py").write_text(f"# {source.name}\n{source.text}")
    return {
        "cpu": exe.isa.key,
        "vector_bits": exe.isa.vector_bits,
        "threads": exe.threads,
        "weights": _weight_places(exe, places),
        "memory_limit": asdict(exe.memory_cost) if exe.memory_cost is not None else None,
    }


def _write_weights(program: Program, path: Path) -> Places:
    """All constants, aligned, one after the other; equal memory once, whichever body uses it."""
    places: Places = {}
    position = 0
    with path.open("wb") as file:
        for each in program.programs():
            for _, array in sorted(each.constants.items()):
                if id(array) in places:
                    continue
                padding = -position % _ALIGNMENT
                file.write(b"\0" * padding)
                position += padding
                contiguous = np.ascontiguousarray(array)
                file.write(contiguous.reshape(-1).view(np.uint8).data)
                places[id(array)] = (position, contiguous.nbytes)
                position += contiguous.nbytes
    return places


def _weight_places(exe: CpuExecutable, places: Places) -> dict[str, Any]:
    """Where the graph's initializers are; None for those kept in a kernel's own layout."""
    if exe.model is None:
        return {}
    result: dict[str, Any] = {
        name: None
        for name, value in exe.model.graph.initializers.items()
        if value.const_value is not None and value.const_value.nbytes > 1024
    }
    for i, array in sorted(exe.program.constants.items()):
        offset, size = places[id(array)]
        value = exe.program.values[i]
        if i not in exe.program.packed and value.name in exe.model.graph.initializers:
            tensor = exe.model.graph.initializers[value.name].const_value
            if tensor is not None and tensor.nbytes == size:
                result[value.name] = ["weights.bin", offset, size]
    return result


def program_json(program: Program, places: Places) -> dict[str, Any]:
    """A program as JSON-able data; constants as (offset, bytes) in the weights file.

    Bodies are written in turn: the import bounds how deep control flow nests.
    """
    data: dict[str, Any] = {
        "values": [_value_json(value) for value in program.values],
        "steps": [_step_json(step) for step in program.steps],
        "inputs": program.inputs,
        "outputs": program.outputs,
        "output_names": program.output_names,
        "constants": {str(i): list(places[id(array)]) for i, array in sorted(program.constants.items())},
        "packed": sorted(program.packed),
    }
    if program.strings:
        data["strings"] = {
            str(i): [list(array.shape), array.reshape(-1).tolist()]
            for i, array in sorted(program.strings.items())
        }
    if program.steering:
        data["steering"] = {str(i): list(dims) for i, dims in sorted(program.steering.items())}
    if program.optional:
        data["optional"] = sorted(program.optional)
    if program.arenas:
        data["arenas"] = {key: list(offsets) for key, offsets in sorted(program.arenas.items())}
    if program.bodies:
        data["bodies"] = [program_json(body, places) for body in program.bodies]
    return data


def _value_json(value: Value) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": value.name,
        "dtype": value.dtype,
        "dims": list(value.dims),
        "kind": value.kind,
    }
    if value.order:
        data["order"] = list(value.order)
    if value.view is not None:
        view = value.view
        data["view"] = [view.base, view.kind, list(view.perm), view.axis, view.start, view.step]
    return data


def _step_json(step: Step) -> dict[str, Any]:
    if isinstance(step, SymbolCall):
        return {"elements": list(step.elements), "output": step.output}
    data: dict[str, Any] = {
        "inputs": list(step.inputs),
        "outputs": list(step.outputs),
        "origin": list(step.origin),
    }
    if isinstance(step, HostCall):
        node = base64.b64encode(step.node).decode()
        data |= {"node": node, "op": step.op, "reason": step.reason, "opset": step.opset}
        data["captures"] = list(step.captures)
        data["kind"] = step.kind
        return data
    if isinstance(step, BodyCall):
        data |= {"op": step.op, "bodies": list(step.bodies), "given": step.given}
        return data | {"captures": list(step.captures), "params": dict(step.params)}
    return data | {"family": step.family, "params": dict(step.params), "inplace": list(step.inplace)}


def read(folder: Path) -> Program:
    """Read a program back, its weights mapped.

    Raises:
        ArtifactError: Something is missing, out of range, or not of the form that ``write`` makes.
    """
    try:
        data = json.loads((folder / "program.json").read_text())
        return _program(data, folder / "weights.bin")
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OSError) as error:
        raise ArtifactError(
            "the artifact's program cannot be read",
            where=str(folder / "program.json"),
            why=f"{type(error).__name__}: {error}",
            fix="compile the model again",
        ) from error


def _program(data: Mapping[str, Any], weights: Path) -> Program:
    size = weights.stat().st_size
    memory = np.memmap(weights, dtype=np.uint8, mode="r") if size else np.empty(0, np.uint8)
    arrays: dict[tuple[Any, ...], np.ndarray] = {}
    return _one_program(data, memory, arrays, 0)


def _one_program(
    data: Mapping[str, Any], memory: np.ndarray, arrays: dict[tuple[Any, ...], np.ndarray], depth: int
) -> Program:
    """A program and its bodies; constants at the same place become the same array."""
    if depth > _MOST_NESTED:
        raise ValueError(f"bodies nest deeper than {_MOST_NESTED}")
    program = Program()
    for i, item in enumerate(data["values"]):
        program.values.append(_value(i, item))
    count = len(program.values)
    program.bodies = [_one_program(body, memory, arrays, depth + 1) for body in data.get("bodies", [])]
    program.inputs = [_index(i, count) for i in data["inputs"]]
    program.outputs = [_index(i, count) for i in data["outputs"]]
    program.output_names = [str(name) for name in data["output_names"]]
    program.packed = {_index(i, count) for i in data["packed"]}
    program.steps = [_step(item, program) for item in data["steps"]]
    for key, (offset, nbytes) in data["constants"].items():
        value = program.values[_index(int(key), count)]
        shape = tuple(_extent(dim) for dim in value.dims)
        expected = itemsize(value.dtype) * int(np.prod(shape, dtype=object))
        if value.kind != "constant" or nbytes != expected or not 0 <= offset <= len(memory) - nbytes:
            raise ValueError(f"constant '{value.name}' lies outside of weights.bin or has another size")
        place = (offset, nbytes, value.dtype, shape)
        if place not in arrays:
            part = memory[offset : offset + nbytes]
            arrays[place] = part.view(numpy_dtype(value.dtype)).reshape(shape)
        program.constants[value.id] = arrays[place]
    _read_extras(program, data)
    missing = [v.name for v in program.values if v.kind == "constant" and _used(program, v.id)]
    if missing:
        raise ValueError(f"constant '{missing[0]}' has no data")
    if len(program.output_names) != len(program.outputs):
        raise ValueError("outputs and their names differ in number")
    return program


def _read_extras(program: Program, data: Mapping[str, Any]) -> None:
    """Strings, inputs that steer shapes, inputs that may be left out."""
    count = len(program.values)
    program.optional = {_index(i, count) for i in data.get("optional", [])}
    program.arenas = {str(key): tuple(map(_extent, found)) for key, found in data.get("arenas", {}).items()}
    for key, (dims, words) in data.get("strings", {}).items():
        value = program.values[_index(int(key), count)]
        if value.kind != "constant" or value.dtype != "object" or not all(isinstance(w, str) for w in words):
            raise ValueError(f"'{value.name}' is no constant of strings")
        shape = [_extent(dim) for dim in dims]
        program.strings[value.id] = np.array(words, dtype=object).reshape(shape)
    for key, elements in data.get("steering", {}).items():
        value = program.values[_index(int(key), count)]
        if value.id not in program.inputs or numpy_dtype(value.dtype).kind not in "iu":
            raise ValueError(f"'{value.name}' cannot steer shapes")
        if prod(_extent(dim) for dim in value.dims) != len(elements):
            raise ValueError(f"'{value.name}' has another number of elements")
        program.steering[value.id] = tuple(_dim(element) for element in elements)


def _used(program: Program, constant: int) -> bool:
    """Whether a constant without data is read by a step."""
    if constant in program.constants or constant in program.strings:
        return False
    return any(
        constant in {program.root(value) for value in step.inputs if value >= 0}
        for step in program.steps
        if not isinstance(step, SymbolCall)
    )


def _value(i: int, item: Mapping[str, Any]) -> Value:
    dims = tuple(_dim(dim) for dim in item["dims"])
    dtype = str(item["dtype"])
    numpy_dtype(dtype)
    if item["kind"] not in _KINDS:
        raise ValueError(f"unknown kind {item['kind']!r}")
    order = tuple(item.get("order", ()))
    if order and sorted(order) != list(range(len(dims))):
        raise ValueError(f"order {order} is no permutation")
    view = None
    if item["kind"] == "view":
        base, kind, perm, axis, start, step = item["view"]
        if kind not in ("reshape", "permute", "slice") or not isinstance(step, int) or step == 0:
            raise ValueError(f"unknown view {kind!r}")
        if kind == "permute" and sorted(perm) != list(range(len(dims))):
            raise ValueError(f"perm {perm} is no permutation")
        if kind == "slice":
            _index(axis, len(dims))
        view = View(_index(base, i), kind, tuple(perm), int(axis), _dim(start), step)
    return Value(i, str(item["name"]), dtype, dims, str(item["kind"]), order, view)


def _step(item: Mapping[str, Any], program: Program) -> Step:
    count = len(program.values)
    if "elements" in item:
        return SymbolCall(tuple(_dim(dim) for dim in item["elements"]), _index(item["output"], count))
    inputs = tuple(-1 if i == -1 else _index(i, count) for i in item["inputs"])
    origin = tuple(str(name) for name in item["origin"])
    if "family" in item:
        family(item["family"]).check(item["params"])
        inplace = tuple(_index(i, len(inputs)) for i in item["inplace"])
        outputs = tuple(_index(i, count) for i in item["outputs"])
        return Call(str(item["family"]), item["params"], inputs, outputs, inplace, origin)
    outputs = tuple(-1 if i == -1 else _index(i, count) for i in item["outputs"])
    if any(i >= 0 and program.values[i].kind != "host" for i in outputs):
        raise ValueError("a host call writes a value that is not its own")
    if "node" in item:
        return _host_step(item, inputs, outputs, origin)
    return _body_step(item, inputs, outputs, origin, program)


def _host_step(
    item: Mapping[str, Any], inputs: tuple[int, ...], outputs: tuple[int, ...], origin: tuple[str, ...]
) -> HostCall:
    node = base64.b64decode(item["node"], validate=True)
    kind, op = str(item["kind"]), str(item["op"])
    if kind not in ("numpy", "reference") or (kind == "numpy" and op not in {op for _, op in HOST_OPS}):
        raise ValueError(f"unknown host call {kind} {op}")
    captures = tuple(str(name) for name in item["captures"])
    return HostCall(
        node, op, inputs, outputs, origin, str(item["reason"]), int(item["opset"]), captures, kind
    )


def _body_step(
    item: Mapping[str, Any],
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    origin: tuple[str, ...],
    program: Program,
) -> BodyCall:
    """A body call whose numbers of inputs and outputs fit its bodies."""
    op, given = str(item["op"]), _index(item["given"], len(inputs) + 1)
    bodies = tuple(_index(i, len(program.bodies)) for i in item["bodies"])
    captures = tuple(_index(i, len(inputs) + 1) for i in item["captures"])
    params = dict(item["params"])
    for name, numbers in params.items():  # axes and directions; out of range is found at run time
        for number in numbers if isinstance(numbers, list) else [numbers]:
            if not isinstance(number, int) or isinstance(number, bool):
                raise ValueError(f"{name} of {op} is no number")
    if op not in OPS or len(bodies) != (2 if op == "If" else 1) or len(captures) != len(bodies):
        raise ValueError(f"unknown body call {op}")
    batched = 1 if op == "Scan" and params.get("batched") else 0
    scanned = _index(params["num_scan_inputs"], given + 1) if op == "Scan" else 0
    minimum = {"If": 1, "Loop": 2, "Scan": scanned + batched, "SequenceMap": 1}[op]
    extra = 1 if op == "Loop" else 0
    states = {"Loop": given - 2, "Scan": given - scanned - batched}.get(op, 0)
    for body, captured in zip((program.bodies[i] for i in bodies), captures, strict=True):
        formals = 0 if op == "If" else given - batched
        if (len(body.inputs), len(body.outputs)) != (formals + captured, len(outputs) + extra):
            raise ValueError(f"a body of {op} has other inputs or outputs than the call")
    if given < minimum or given + sum(captures) != len(inputs) or states > len(outputs):
        raise ValueError(f"a call of {op} has the wrong number of operands")
    return BodyCall(op, bodies, inputs, given, captures, outputs, params, origin)


def _index(i: Any, count: int) -> int:
    if not isinstance(i, int) or isinstance(i, bool) or not 0 <= i < count:
        raise ValueError(f"index {i!r} is not in 0..{count - 1}")
    return i


def _dim(dim: Any) -> int | str:
    if isinstance(dim, int) and not isinstance(dim, bool):
        return dim
    if isinstance(dim, str) and is_expression(dim):
        return dim
    raise ValueError(f"{dim!r} is not a dimension")


def _extent(dim: int | str) -> int:
    if not isinstance(dim, int) or dim < 0:
        raise ValueError(f"a constant has dimension {dim!r}")
    return dim
