"""The last steps of an import, on the ir.Model: names, dimensions, declared shapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import onnx
import onnx_ir as ir

from accelc.errors import UnsupportedError, UsageError
from accelc.ir.shapes import describe, dims_of, evaluate, is_expression, is_symbol, symbols_in
from accelc.ir.walk import all_graphs, all_nodes, all_values


def refuse_maps(graph: onnx.GraphProto) -> None:
    """Say what to do about a model that takes or gives dictionaries.

    Raises:
        UnsupportedError: An input or output is a map, or a sequence of maps, as classifiers of scikit-learn give them.
    """
    for what, values in (("input", graph.input), ("output", graph.output)):
        for value in values:
            kind = value.type
            while kind.HasField("sequence_type"):
                kind = kind.sequence_type.elem_type
            if kind.HasField("map_type"):
                raise UnsupportedError(
                    f"{what} {value.name} is a map",
                    why="only tensors, sequences and optionals are supported",
                    fix="export without ZipMap: to_onnx(model, X, options={'zipmap': False})",
                )


def keep_input_types(graph: onnx.GraphProto) -> None:
    """An output that is an input has its type: a vaguer declaration of the output would replace that."""
    inputs = {value.name: value for value in graph.input}
    for output in graph.output:
        if output.name in inputs:
            output.type.CopyFrom(inputs[output.name].type)


def unique_names(model: ir.Model) -> None:
    """Name every node, make node names unique, and rename subgraph values that repeat an outer name."""
    taken: set[str] = set()
    for count, node in enumerate(all_nodes(model.graph)):
        name = node.name or f"{node.op_type}_{count}"
        if name in taken:
            base, number = name, 1
            while name in taken:
                name, number = f"{base}_{count}_{number}", number + 1
        taken.add(name)
        node.name = name
    if next(islice(all_graphs(model.graph), 1, None), None) is None:
        return
    used: set[str] = {str(value.name) for owner, value in all_values(model.graph) if owner is model.graph}
    for owner, value in all_values(model.graph):
        if owner is model.graph or not value.name:
            continue
        if value.name in used and not value.is_graph_output():
            base, number = value.name, 1
            while f"{base}_{number}" in used:
                number += 1
            value.name = f"{base}_{number}"
        used.add(str(value.name))


def bind_dims(model: ir.Model, dims: Mapping[str, int]) -> None:
    """Replace symbolic dimensions by numbers everywhere.

    Raises:
        UsageError: No input has a dimension of that name, or the size is no natural number.
    """
    known = {symbol for value in model.graph.inputs for dim in dims_of(value) or () for symbol in _names(dim)}
    for name, size in dims.items():
        if name not in known:
            raise UsageError(
                f"no input has a dimension called {name!r}",
                why=f"dimensions: {', '.join(sorted(known)) or 'none'}",
            )
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise UsageError(f"the size of dimension {name} is not a natural number", why=f"got {size!r}")
    if dims:
        _rewrite_dims(model, lambda text: _bound(text, dims))


def _names(dim: int | str | None) -> set[str]:
    if not isinstance(dim, str):
        return set()
    return {dim} | (set(symbols_in(dim)) if is_expression(dim) else set())


def _bound(text: str, dims: Mapping[str, int]) -> int | str:
    if text in dims:
        return dims[text]
    if not is_expression(text) or not symbols_in(text) & dims.keys():
        return text
    if symbols_in(text) <= dims.keys():
        return evaluate(text, dims)
    try:
        partly = ir.SymbolicDim(text).evaluate(dims)
    except (ValueError, TypeError, ArithmeticError):
        return text
    return partly if isinstance(partly, int) else partly.value or text


def clean_dims(model: ir.Model) -> list[str]:
    """Give every symbolic dimension a name that expressions can hold, and negative ones no name.

    A name such as ``batch-size`` reads as an expression; it is one only if inputs have its parts as dimensions.

    Returns:
        Notes on renamed dimensions.
    """
    plain = {dim for value in model.graph.inputs for dim in dims_of(value) or () if is_symbol(dim)}
    renamed: dict[str, str] = {}

    def clean(text: str) -> str | None:
        if is_symbol(text) or (is_expression(text) and symbols_in(text) and symbols_in(text) <= plain):
            return text
        if not text.strip() or text.strip() in ("?", "-1", "None"):
            return None
        if text not in renamed:
            base = re.sub(r"\W+", "_", text).strip("_") or "dim"
            name = base if not base[0].isdigit() else f"d{base}"
            while name in plain or name in renamed.values():
                name += "_"
            renamed[text] = name
        return renamed[text]

    _rewrite_dims(model, clean)
    return [f"dimension {old!r} is called {new}" for old, new in renamed.items()]


def forget_invented_dims(model: ir.Model) -> None:
    """Drop symbolic dims of computed values that no input has, so that inference says what they are.

    Exporters write names such as ``unk__12`` or ``DynamicDimension.3`` for sizes that follow from the inputs;
    a name that nothing binds would make all behind it depend on data.
    """
    known = {name for value in model.graph.inputs for dim in dims_of(value) or () for name in _names(dim)}
    for node in all_nodes(model.graph):
        if node.domain not in ("", "ai.onnx"):
            continue  # nothing infers these: what is declared is all there is
        for out in node.outputs:
            dims = dims_of(out)
            if dims is None or not any(_names(dim) - known for dim in dims):
                continue
            out.shape = ir.Shape([None if _names(dim) - known else dim for dim in dims])


def _rewrite_dims(model: ir.Model, change: Callable[[str], int | str | None]) -> None:
    for _, value in all_values(model.graph):
        if value.shape is None:
            continue
        dims: list[int | str | None] = []
        for dim in value.shape.dims:
            if isinstance(dim, int):
                dims.append(dim if dim >= 0 else None)
            else:
                dims.append(change(dim.value) if dim.value is not None else None)
        if dims != [dim if isinstance(dim, int) else dim.value for dim in value.shape.dims]:
            value.shape = ir.Shape(dims)


def set_shapes(model: ir.Model, shapes: Mapping[str, Sequence[int | str]]) -> list[str]:
    """Declare the shapes of inputs; shapes inside the graph are then inferred anew.

    Raises:
        UsageError: No such input, another rank, or a dimension that is neither a natural number nor a name.
    """
    inputs = {str(value.name): value for value in model.graph.inputs}
    notes: list[str] = []
    for name, shape in shapes.items():
        value = inputs.get(name)
        if value is None:
            raise UsageError(
                f"there is no input called {name!r}", why=f"inputs: {', '.join(inputs) or 'none'}"
            )
        for dim in shape:
            valid = is_symbol(dim) if isinstance(dim, str) else isinstance(dim, int) and dim >= 0
            if not valid:
                raise UsageError(f"{dim!r} is no dimension", where=f"shape of input {name}")
        declared = dims_of(value)
        if declared is not None and len(declared) != len(shape):
            raise UsageError(
                f"the shape of {name} has the wrong rank",
                why=f"expected {describe(value)}, got {tuple(shape)}",
            )
        if declared is not None and any(
            isinstance(old, int) and old != new for old, new in zip(declared, shape, strict=True)
        ):
            notes.append(f"input {name} was declared {list(declared)}, and is now {list(shape)}")
        value.shape = ir.Shape(list(shape))
    if shapes:
        own = {id(value) for value in inputs.values()}
        for _, value in all_values(model.graph):
            if id(value) not in own and value.const_value is None:
                value.shape = None
    return notes
