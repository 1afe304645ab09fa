"""A program as files: ``program.json`` and ``weights.bin``. Reading checks everything it selects."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accelc.errors import ArtifactError
from accelc.ir.dims import is_expression
from accelc.targets.numba_cpu.bind import numpy_dtype
from accelc.targets.numba_cpu.kernels.base import itemsize
from accelc.targets.numba_cpu.kernels.registry import family
from accelc.targets.numba_cpu.program import Call, HostCall, Program, SymbolCall, Value, View

if TYPE_CHECKING:
    from accelc.targets.numba_cpu.executable import CpuExecutable

_ALIGNMENT = 64
_KINDS = {"input", "output", "constant", "temp", "view", "host"}


def write(exe: CpuExecutable, folder: Path) -> dict[str, Any]:
    """Write program, weights and the kernels' text (to read); return the manifest's part."""
    program = exe.program
    places = _write_weights(program, folder / "weights.bin")
    data = program_json(program, places)
    (folder / "program.json").write_text(json.dumps(data, sort_keys=True, separators=(",", ":")) + "\n")
    kernels = folder / "kernels"
    kernels.mkdir()
    for step in program.steps:
        if isinstance(step, Call):
            source = family(step.family).source(step.params, exe.isa)
            (kernels / f"{source.digest}.py").write_text(f"# {source.name}\n{source.text}")
    return {
        "cpu": exe.isa.key,
        "vector_bits": exe.isa.vector_bits,
        "threads": exe.threads,
        "weights": _weight_places(exe, places),
    }


def _write_weights(program: Program, path: Path) -> dict[int, tuple[int, int]]:
    """All constants, aligned, one after the other; equal memory once. Returns (offset, bytes) by value id."""
    places: dict[int, tuple[int, int]] = {}
    seen: dict[int, int] = {}
    position = 0
    with path.open("wb") as file:
        for i, array in sorted(program.constants.items()):
            shared = seen.get(id(array))
            if shared is not None:
                places[i] = places[shared]
                continue
            padding = -position % _ALIGNMENT
            file.write(b"\0" * padding)
            position += padding
            contiguous = np.ascontiguousarray(array)
            file.write(contiguous.reshape(-1).view(np.uint8).data)
            places[i] = (position, contiguous.nbytes)
            seen[id(array)] = i
            position += contiguous.nbytes
    return places


def _weight_places(exe: CpuExecutable, places: Mapping[int, tuple[int, int]]) -> dict[str, Any]:
    """Where the graph's initializers are; None for those kept in a kernel's own layout."""
    if exe.model is None:
        return {}
    result: dict[str, Any] = {
        name: None
        for name, value in exe.model.graph.initializers.items()
        if value.const_value is not None and value.const_value.nbytes > 1024
    }
    for i, (offset, size) in places.items():
        value = exe.program.values[i]
        if i not in exe.program.packed and value.name in exe.model.graph.initializers:
            tensor = exe.model.graph.initializers[value.name].const_value
            if tensor is not None and tensor.nbytes == size:
                result[value.name] = ["weights.bin", offset, size]
    return result


def program_json(program: Program, places: Mapping[int, tuple[int, int]]) -> dict[str, Any]:
    """A program as JSON-able data; constants as (offset, bytes) in the weights file."""
    return {
        "values": [_value_json(value) for value in program.values],
        "steps": [_step_json(step) for step in program.steps],
        "inputs": program.inputs,
        "outputs": program.outputs,
        "output_names": program.output_names,
        "constants": {str(i): list(place) for i, place in sorted(places.items())},
        "packed": sorted(program.packed),
    }


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


def _step_json(step: Call | HostCall | SymbolCall) -> dict[str, Any]:
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
        return data
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
    program = Program()
    for i, item in enumerate(data["values"]):
        program.values.append(_value(i, item))
    count = len(program.values)
    program.steps = [_step(item, count) for item in data["steps"]]
    program.inputs = [_index(i, count) for i in data["inputs"]]
    program.outputs = [_index(i, count) for i in data["outputs"]]
    program.output_names = [str(name) for name in data["output_names"]]
    program.packed = {_index(i, count) for i in data["packed"]}
    size = weights.stat().st_size
    memory = np.memmap(weights, dtype=np.uint8, mode="r") if size else np.empty(0, np.uint8)
    for key, (offset, nbytes) in data["constants"].items():
        value = program.values[_index(int(key), count)]
        shape = tuple(_extent(dim) for dim in value.dims)
        expected = itemsize(value.dtype) * int(np.prod(shape, dtype=object))
        if value.kind != "constant" or nbytes != expected or not 0 <= offset <= size - nbytes:
            raise ValueError(f"constant '{value.name}' lies outside of weights.bin or has another size")
        program.constants[value.id] = (
            memory[offset : offset + nbytes].view(numpy_dtype(value.dtype)).reshape(shape)
        )
    missing = [v.name for v in program.values if v.kind == "constant" and _used(program, v.id)]
    if missing:
        raise ValueError(f"constant '{missing[0]}' has no data")
    if len(program.output_names) != len(program.outputs):
        raise ValueError("outputs and their names differ in number")
    return program


def _used(program: Program, constant: int) -> bool:
    """Whether a constant without data is read by a step."""
    if constant in program.constants:
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


def _step(item: Mapping[str, Any], count: int) -> Call | HostCall | SymbolCall:
    if "elements" in item:
        return SymbolCall(tuple(_dim(dim) for dim in item["elements"]), _index(item["output"], count))
    inputs = tuple(-1 if i == -1 else _index(i, count) for i in item["inputs"])
    outputs = tuple(_index(i, count) for i in item["outputs"])
    origin = tuple(str(name) for name in item["origin"])
    if "node" in item:
        node = base64.b64decode(item["node"], validate=True)
        return HostCall(
            node,
            str(item["op"]),
            inputs,
            outputs,
            origin,
            str(item["reason"]),
            int(item["opset"]),
            tuple(str(name) for name in item["captures"]),
        )
    family(item["family"]).check(item["params"])
    inplace = tuple(_index(i, len(inputs)) for i in item["inplace"])
    return Call(str(item["family"]), item["params"], inputs, outputs, inplace, origin)


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
