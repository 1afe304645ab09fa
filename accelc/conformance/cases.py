"""The cases of ONNX's backend suite (onnx.backend.test): models, data sets, tolerances, categories."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "real")
"""The suite's own folders, in the order in which they run."""

CORE, CONTROL, OTHER = "core", "control", "other"
CATEGORIES = (CORE, CONTROL, OTHER)

_CONTROL_OPS = frozenset({"If", "Loop", "Scan"})
_RANDOM_OPS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
_HOST_OPS = frozenset(
    {
        "ConcatFromSequence",
        "Optional",
        "OptionalGetElement",
        "OptionalHasElement",
        "RegexFullMatch",
        "SequenceAt",
        "SequenceConstruct",
        "SequenceEmpty",
        "SequenceErase",
        "SequenceInsert",
        "SequenceLength",
        "SequenceMap",
        "SplitToSequence",
        "StringConcat",
        "StringNormalizer",
        "StringSplit",
    }
)
_HOST_TYPES = frozenset({"sequence_type", "optional_type", "map_type", "string"})


@dataclass(frozen=True)
class Case:
    """One case of the suite.

    Args:
        name: Its name there, without the device.
        kind: One of KINDS.
        model: The model.
        data_sets: (inputs in order, expected outputs in order); read when the case runs.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        folder: Where the data lies, None if ``data_sets`` holds it.
    """

    name: str
    kind: str
    model: onnx.ModelProto | Path
    data_sets: tuple[tuple[Sequence[Any], Sequence[Any]], ...] | None
    rtol: float
    atol: float
    folder: Path | None = None

    def load(self) -> onnx.ModelProto:
        """The model, from its file if it is not in memory."""
        return onnx.load(self.model) if isinstance(self.model, Path) else self.model

    def data(self) -> Iterator[tuple[list[Any], list[Any]]]:
        """Data sets: NumPy arrays, lists of them for sequences, None for empty optionals."""
        if self.data_sets is not None:
            for inputs, outputs in self.data_sets:
                yield [_plain(x) for x in inputs], [_plain(x) for x in outputs]
        elif self.kind == "real":
            yield _light_data(self.load(), Path(str(self.model)))
        else:
            model = self.load()
            for folder in sorted((self.folder or Path()).glob("test_data_set*")):
                yield (
                    _read_all(folder, "input", [value.type for value in model.graph.input]),
                    _read_all(folder, "output", [value.type for value in model.graph.output]),
                )


@cache
def all_cases() -> tuple[Case, ...]:
    """Every case, by kind and name. Takes about ten seconds: the suite computes the node cases anew."""
    from onnx.backend.test.loader import load_model_tests

    found = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for kind in KINDS:
            found += [_case(each, kind) for each in load_model_tests(kind=kind)]
    return tuple(found)


def _case(each: Any, kind: str) -> Case:
    folder = Path(each.model_dir) if each.model_dir else None
    model: onnx.ModelProto | Path
    if each.model is not None:
        model = each.model
    elif folder is not None:
        model = folder / "model.onnx"
    else:  # "onnx/backend/test/data/light/..." beside the package itself
        model = Path(onnx.__file__).parents[1] / each.url
    sets = tuple(each.data_sets) if each.data_sets is not None else None
    return Case(each.name, kind, model, sets, float(each.rtol), float(each.atol), folder)


def _plain(item: Any) -> Any:
    return onnx.numpy_helper.to_array(item) if isinstance(item, onnx.TensorProto) else item


def _read_all(folder: Path, what: str, types: Sequence[onnx.TypeProto]) -> list[Any]:
    paths = [folder / f"{what}_{i}.pb" for i in range(len(list(folder.glob(f"{what}_*.pb"))))]
    return [_read(path, kind) for path, kind in zip(paths, types, strict=False)]


def _read(path: Path, kind: onnx.TypeProto) -> Any:
    content = path.read_bytes()
    if kind.HasField("sequence_type"):
        return onnx.numpy_helper.to_list(onnx.SequenceProto.FromString(content))
    if kind.HasField("optional_type"):
        return onnx.numpy_helper.to_optional(onnx.OptionalProto.FromString(content))
    return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(content))


def _light_data(model: onnx.ModelProto, path: Path) -> tuple[list[Any], list[Any]]:
    """Data of a light model as the suite makes it: a ramp from 0 to 1, and the outputs beside the model."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = []
    for value in model.graph.input:
        if value.name not in weights:
            shape = [d.dim_value if d.HasField("dim_value") else 1 for d in value.type.tensor_type.shape.dim]
            count = int(np.prod(shape))
            inputs.append((np.arange(count).reshape(shape) / count).astype(np.float32))
    outputs = [
        _read(path.with_name(f"{path.stem}_output_{i}.pb"), value.type)
        for i, value in enumerate(model.graph.output)
    ]
    return inputs, outputs


# -------------------------------------------------------------------- categories
@dataclass(frozen=True)
class Features:
    """What decides a case's category."""

    category: str
    host_values: bool
    """Strings, sequences, optionals or ai.onnx.ml: running on the reference is no fault there."""


def features(case: Case) -> Features:
    """The category of a case, and whether it may run on the reference.

    ``control``: the model holds If, Loop or Scan. ``core``: it holds none of these, no other domain than
    ONNX's own, no training mode, string, sequence, optional, random op, bfloat16, complex, 8-bit float or
    4- or 2-bit type. ``other``: the rest.
    """
    model = case.load()
    nodes, types = _walk(model)
    domains = {node.domain for node in nodes}
    ops = {node.op_type for node in nodes}
    host = bool(types & _HOST_TYPES or ops & _HOST_OPS or "ai.onnx.ml" in domains)
    if ops & _CONTROL_OPS:
        return Features(CONTROL, host)
    odd = any(kind.startswith(_ODD_TYPES) for kind in types)
    other = bool(domains - {"", "ai.onnx"}) or bool(ops & _RANDOM_OPS) or any(map(_trains, nodes))
    return Features(OTHER if host or odd or other else CORE, host)


_ODD_TYPES = ("bfloat16", "complex", "float8", "float4", "float6", "int4", "uint4", "int2", "uint2")


def _trains(node: onnx.NodeProto) -> bool:
    if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
        return True
    return any(attr.name == "training_mode" and attr.i for attr in node.attribute)


def _walk(model: onnx.ModelProto) -> tuple[list[onnx.NodeProto], set[str]]:
    """All nodes, subgraphs and functions included, and the names of all types."""
    nodes: list[onnx.NodeProto] = []
    types: set[str] = set()
    graphs = [model.graph]
    stack = [node for function in model.functions for node in function.node]
    while graphs or stack:
        if graphs:
            graph = graphs.pop()
            stack += graph.node
            for value in (*graph.input, *graph.output, *graph.value_info):
                _add_type(value.type, types)
            types.update(_type_name(tensor.data_type) for tensor in graph.initializer)
            continue
        node = stack.pop()
        nodes.append(node)
        for attr in node.attribute:
            graphs += [attr.g] if attr.HasField("g") else []
            graphs += attr.graphs
            if attr.HasField("t"):
                types.add(_type_name(attr.t.data_type))
            if attr.name in ("to", "dtype") and node.op_type in ("Cast", "EyeLike", "QuantizeLinear"):
                types.add(_type_name(attr.i))
    return nodes, types


def _add_type(kind: onnx.TypeProto, types: set[str]) -> None:
    form = kind.WhichOneof("value")
    while form in ("sequence_type", "optional_type"):
        types.add(form)
        kind = kind.sequence_type.elem_type if form == "sequence_type" else kind.optional_type.elem_type
        form = kind.WhichOneof("value")
    if form == "tensor_type":
        types.add(_type_name(kind.tensor_type.elem_type))
    elif form is not None:
        types.add(form)


def _type_name(number: int) -> str:
    return str(onnx.TensorProto.DataType.Name(number)).lower()
