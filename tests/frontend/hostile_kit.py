"""What the hostile models are made with: the list of cases, and helpers that build and save models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import onnx
from onnx import TensorProto as T
from onnx import helper as h

OK, INVALID, UNSUPPORTED, LIMIT = 0, 3, 4, 5
INT_MIN = -(2**31)


class Case(NamedTuple):
    """One model: ``says`` must occur in the error's text, so that it names the place."""

    name: str
    build: Callable[[Path], Path]
    code: int
    says: str = ""


CASES: list[Case] = []


def case(code: int, says: str = "") -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
    def add(build: Callable[[Path], Path]) -> Callable[[Path], Path]:
        CASES.append(Case(build.__name__, build, code, says))
        return build

    return add


def info(name: str, shape: Sequence[int | str] | None = (4,), dtype: int = T.FLOAT) -> onnx.ValueInfoProto:
    return h.make_tensor_value_info(name, dtype, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto] = (),
    outputs: Sequence[onnx.ValueInfoProto] = (),
    initializers: Sequence[onnx.TensorProto] = (),
    opset: int = 17,
    **fields: object,
) -> onnx.ModelProto:
    graph = h.make_graph(
        list(nodes), "g", list(inputs) or [info("x")], list(outputs) or [info("y", None)], list(initializers)
    )
    proto = h.make_model(graph, opset_imports=[h.make_opsetid("", opset)], **fields)
    proto.ir_version = 8
    return proto


def save(folder: Path, proto: onnx.ModelProto) -> Path:
    return write(folder, proto.SerializeToString())


def write(folder: Path, data: bytes, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def relu(name: str = "relu1", x: str = "x", y: str = "y") -> onnx.NodeProto:
    return h.make_node("Relu", [x], [y], name=name)


def int64s(name: str, values: Sequence[int]) -> onnx.TensorProto:
    return h.make_tensor(name, T.INT64, [len(values)], values)


def external(
    folder: Path, location: str, *, dims: Sequence[int] = (4,), dtype: int = T.FLOAT, **entries: object
) -> Path:
    """A model whose weight w lies in another file."""
    weight = T(name="w", data_type=dtype, dims=list(dims), data_location=T.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=str(value))
    return save(folder, model([h.make_node("Add", ["x", "w"], ["y"], name="add1")], initializers=[weight]))
