"""Inputs to try a model on: the user's, the test data beside it, or random ones that its ops accept.

Integer inputs get ranges from their use: indices into a table of V rows are drawn from [0, V), masks are
zeros and ones, sizes are small and positive.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from accelc.errors import AccelcError, InvalidModelError, UsageError
from accelc.ir.shapes import dims_of, evaluate, symbols_in, unify

Feeds = dict[str, np.ndarray]

# Sizes tried for free dims, until the oracle accepts a draw. The first attempt of every setting gives
# different symbols different sizes, so that mixing them up shows.
_SIZES = ((2, 1, 4, 8, 16, 32, 64, 128, 224), (3, 5, 7, 12, 24, 48, 96, 160, 256))
ATTEMPTS = len(_SIZES[0])
_MOST_SAMPLES = 16
_MOST_CLASSES = 1 << 20
"""Longest list of classes that is looked at."""

_KEEPS_NUMBERS = ("Cast", "Reshape", "Unsqueeze", "Squeeze", "Identity", "Flatten", "Transpose", "Slice")
_SAME_NUMBERS = frozenset((*_KEEPS_NUMBERS, "Concat", "Expand", "Tile", "Split", "Gather", "Clip"))
_INDEX_OPERAND: Mapping[str, int] = {"Gather": 1, "GatherElements": 1, "ScatterElements": 1, "GatherND": 1}
_SHAPE_OPERANDS: Mapping[str, tuple[int, ...]] = {
    "Reshape": (1,),
    "Expand": (1,),
    "Tile": (1,),
    "Range": (0, 1, 2),
    "ConstantOfShape": (0,),
    "Slice": (1, 2, 3, 4),
    "Pad": (1,),
    "Resize": (3,),
    "TopK": (1,),
    "Loop": (0,),
}
_TRUTH_OPS = frozenset(("Where", "And", "Or", "Not", "Xor", "If"))


def model_inputs(model: ir.Model) -> list[ir.Value]:
    """Inputs that a caller must feed: those without an initializer."""
    return [value for value in model.graph.inputs if value.name not in model.graph.initializers]


def random_feeds(
    model: ir.Model,
    *,
    seed: int = 0,
    setting: int = 0,
    attempt: int = 0,
    sizes: Mapping[str, int] | None = None,
) -> Feeds:
    """Draw one value for every input of ``model``.

    Args:
        model: With inferred shapes.
        seed: Seed of the draw.
        setting: 0 or 1: which sizes free dims get.
        attempt: Number of draws that were rejected before; sizes grow with it.
        sizes: Sizes of symbolic dims that are wanted, by name.

    Raises:
        InvalidModelError: An input is not a tensor of known dtype.
    """
    rng = np.random.default_rng((seed, setting, attempt))
    sizes = {**symbol_sizes(model, setting, attempt), **(sizes or {})}
    feeds: Feeds = {}
    for value in model_inputs(model):
        feeds[str(value.name)] = _draw(value, _concrete(value, sizes, setting, attempt), rng, attempt)
    return feeds


def symbol_sizes(model: ir.Model, setting: int = 0, attempt: int = 0) -> dict[str, int]:
    """A size for each symbolic dim of the inputs; symbols that only count samples stay small.

    Height and width of images are multiples of 32 at first: after some halvings the sizes of 3 or 5 pixels meet others
    that differ by one, where the model makes sense for nobody.
    """
    symbols: dict[str, bool] = {}
    spatial: set[str] = set()
    for value in model_inputs(model):
        dims = dims_of(value) or ()
        for axis, dim in enumerate(dims):
            for symbol in symbols_in(dim) if isinstance(dim, str) else ():
                symbols[symbol] = symbols.get(symbol, False) or axis > 0
                if axis > 1 and len(dims) == 4 and value.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
                    spatial.add(symbol)
    base = _SIZES[setting % 2][attempt % ATTEMPTS]
    sizes = {}
    for index, (symbol, inner) in enumerate(symbols.items()):
        is_batch = not inner or re.search("batch", symbol, re.IGNORECASE) is not None
        spread = index if attempt in (0, 2) else 0
        # Half of the attempts grow every dim, half only those that are not counts of samples.
        limit = 1 + setting % 2 if attempt % 2 else _MOST_SAMPLES
        sizes[symbol] = min(base + spread, limit) if is_batch else base + spread
        if attempt == 0 and symbol in spatial and not is_batch:
            sizes[symbol] = 32 * (1 + setting % 2 + index)
    return sizes


def _concrete(value: ir.Value, sizes: Mapping[str, int], setting: int, attempt: int) -> tuple[int, ...]:
    dims = dims_of(value)
    if dims is None:  # unknown rank: a scalar is the only shape that fits everything
        return ()
    unknown = _SIZES[setting % 2][attempt % ATTEMPTS]
    return tuple(unknown if dim is None else max(0, evaluate(dim, sizes)) for dim in dims)


def _draw(value: ir.Value, shape: tuple[int, ...], rng: np.random.Generator, attempt: int) -> np.ndarray:
    if value.dtype is None or not isinstance(value.type, ir.TensorType):
        raise InvalidModelError(f"input {value.name!r} is not a tensor of known dtype")
    if value.dtype == ir.DataType.STRING:
        words = np.array(["a", "bc", "", "d e"], dtype=object)
        return np.asarray(words[rng.integers(0, len(words), shape)])
    dtype = value.dtype.numpy()
    if dtype.kind == "b":
        return np.asarray(rng.integers(0, 2, shape).astype(bool))
    if dtype.kind == "c":
        return np.asarray((rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype))
    if dtype.kind in "iu":
        return _draw_integers(value, shape, rng, attempt).astype(dtype)
    return np.asarray(rng.standard_normal(shape).astype(dtype))


def _draw_integers(
    value: ir.Value, shape: tuple[int, ...], rng: np.random.Generator, attempt: int
) -> np.ndarray:
    kind, bound = integer_use(value)
    if kind == "mask":
        return _prefix_mask(shape, rng)
    if kind == "index":
        return rng.integers(0, max(1, bound), shape)
    if kind == "size":
        return rng.integers(1, 5, shape)
    if value.dtype in (ir.DataType.UINT8, ir.DataType.INT8):  # images and quantised data
        low = 0 if value.dtype == ir.DataType.UINT8 else -128
        return rng.integers(low, low + 256, shape)
    return rng.integers(0, 2 if attempt % 2 else 10, shape)


def _prefix_mask(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Ones with zeros at the end, as padding masks are; no row is all zeros."""
    if not shape or shape[-1] == 0:
        return np.ones(shape, np.int64)
    lengths = rng.integers((shape[-1] + 1) // 2, shape[-1] + 1, (*shape[:-1], 1))
    return (np.arange(shape[-1]) < lengths).astype(np.int64)


def integer_use(value: ir.Value) -> tuple[str, int]:
    """What an integer input is for: ``("index", V)``, ``("mask", 2)``, ``("size", 0)`` or ``("", 0)``.

    Follows the value through ops that keep its numbers. The smallest table wins.
    """
    bound = 0
    found = ""
    seen = {id(value)}
    pending = [value]
    while pending:
        current = pending.pop()
        for node, operand in current.uses():
            use, size = _one_use(node, operand, current)
            if use == "index" and size > 0:
                bound = min(bound, size) if bound else size
            elif use:
                found = found or use
            elif node.op_type in _SAME_NUMBERS:
                fresh = [out for out in node.outputs if id(out) not in seen]
                seen.update(id(out) for out in fresh)
                pending.extend(fresh)
    if bound:
        return "index", bound
    if not found and "mask" in str(value.name).lower():
        found = "mask"
    return found, 2 if found == "mask" else 0


def _one_use(node: ir.Node, operand: int, value: ir.Value) -> tuple[str, int]:
    op = node.op_type
    if _INDEX_OPERAND.get(op) == operand:
        axis = node.attributes.get_int("axis", 0)
        dims = dims_of(node.inputs[0]) if node.inputs[0] is not None else None
        size = dims[axis] if dims and -len(dims) <= axis < len(dims) else None
        return "index", size if isinstance(size, int) else 2
    if op == "OneHot" and operand == 0:
        depth = node.inputs[1].const_value if node.inputs[1] is not None else None
        return "index", int(depth.numpy().reshape(-1)[0]) if depth is not None else 2
    if operand in _SHAPE_OPERANDS.get(op, ()):
        return "size", 0
    if op == "Cast":
        target = ir.DataType(node.attributes.get_int("to", 0))
        return ("mask", 2) if target == ir.DataType.BOOL or target.is_floating_point() else ("", 0)
    if op == "Equal" and operand < 2 and (classes := _classes(node.inputs[1 - operand])):
        return "index", classes
    if op in _TRUTH_OPS or (op == "Equal" and operand < 2):
        return "mask", 2
    return "", 0


def _classes(value: ir.Value | None) -> int:
    """How many numbers from 0 a constant lists, as a one-hot encoding by comparison does; 0 if it does not."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    if tensor is None or not tensor.dtype.is_integer() or not 2 < tensor.size <= _MOST_CLASSES:
        return 0
    numbers = np.unique(tensor.numpy().astype(np.int64))
    return len(numbers) if numbers[0] == 0 and numbers[-1] == len(numbers) - 1 else 0


def data_beside(path: Path, model: ir.Model) -> Iterator[Feeds]:
    """Input sets in ``test_data_set_*/input_*.pb`` beside a model file, as the ONNX model zoo ships them.

    Where several models share a folder, the sets of ``NAME.onnx`` are in ``NAME_test_data_set_*``.
    Sets that do not fit the model's inputs are left out.
    """
    import onnx
    from onnx import numpy_helper

    names = [str(value.name) for value in model_inputs(model)]
    own = path.parent.glob(f"{glob.escape(path.stem)}_test_data_set_*")
    for folder in sorted((*path.parent.glob("test_data_set_*"), *own)):
        files = sorted(folder.glob("input_*.pb"), key=lambda file: int(re.sub(r"\D", "", file.stem) or 0))
        if len(files) != len(names):
            continue
        feeds: Feeds = {}
        for position, file in enumerate(files):
            tensor = onnx.TensorProto()
            try:
                tensor.ParseFromString(file.read_bytes())
                feeds[tensor.name if tensor.name in names else names[position]] = numpy_helper.to_array(
                    tensor
                )
            except Exception:  # protobuf raises its own; a stray file only means fewer sets
                break
        if fits(model, feeds):
            yield feeds


def fits(model: ir.Model, feeds: Mapping[str, Any]) -> bool:
    """Whether ``feeds`` has every input with its dtype and a shape it takes."""
    return not problems(model, feeds)


def problems(model: ir.Model, feeds: Mapping[str, Any]) -> list[str]:
    """What keeps ``feeds`` from being inputs of ``model``, one line each."""
    found = []
    sizes: dict[str, int] = {}
    specs = {str(value.name): value for value in model_inputs(model)}
    found += [f"no input is called {name!r}" for name in feeds if name not in specs]
    for name, value in specs.items():
        if name not in feeds:
            found.append(f"input {name!r} is missing")
            continue
        array = np.asarray(feeds[name])
        if (
            value.dtype is not None
            and value.dtype != ir.DataType.STRING
            and array.dtype != value.dtype.numpy()
        ):
            found.append(f"input {name!r} has dtype {array.dtype}, expected {value.dtype.numpy()}")
        dims = dims_of(value)
        if dims is None:
            continue
        try:
            unify(dims, array.shape, sizes)
        except AccelcError as error:
            found.append(error.why or error.what)
    return found


def checked_data(model: ir.Model, data: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> list[Feeds]:
    """The user's inputs as a list of feeds.

    Raises:
        UsageError: They do not fit the model.
    """
    sets = [data] if isinstance(data, Mapping) else list(data)
    for index, feeds in enumerate(sets):
        wrong = problems(model, feeds)
        if wrong:
            raise UsageError(f"input set {index} of data does not fit the model", why="; ".join(wrong))
    return [{name: np.asarray(array) for name, array in feeds.items()} for feeds in sets]
