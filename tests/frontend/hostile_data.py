"""Hostile tensors and external data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import onnx
from hostile_kit import (
    INVALID,
    LIMIT,
    case,
    external,
    info,
    int64s,
    model,
    relu,
    save,
    write,
)
from onnx import TensorProto as T
from onnx import helper as h


def with_weight(folder: Path, weight: onnx.TensorProto) -> Path:
    weight.name = "w"
    return save(folder, model([h.make_node("Add", ["x", "w"], ["y"], name="add1")], initializers=[weight]))


@case(INVALID, "initializer w")
def raw_data_too_short(folder: Path) -> Path:
    return with_weight(folder, T(data_type=T.FLOAT, dims=[4], raw_data=bytes(15)))


@case(INVALID, "initializer w")
def raw_data_too_long(folder: Path) -> Path:
    return with_weight(folder, T(data_type=T.FLOAT, dims=[4], raw_data=bytes(8192)))


@case(INVALID, "initializer w")
def typed_data_too_short(folder: Path) -> Path:
    return with_weight(folder, T(data_type=T.FLOAT, dims=[4], float_data=[1.0, 2.0]))


@case(INVALID, "initializer w")
def data_in_wrong_field(folder: Path) -> Path:
    return with_weight(folder, T(data_type=T.FLOAT, dims=[2], int64_data=[1, 2]))


@case(INVALID, "initializer w")
def negative_dimension(folder: Path) -> Path:
    return with_weight(folder, T(data_type=T.FLOAT, dims=[-4], raw_data=bytes(16)))


@case(INVALID, "initializer w")
def dimensions_overflow(folder: Path) -> Path:
    return with_weight(folder, T(data_type=T.FLOAT, dims=[2**32, 2**32], raw_data=b""))


@case(INVALID, "node c1 (Constant")
def constant_without_data(folder: Path) -> Path:
    value = h.make_attribute("value", T(data_type=T.FLOAT, dims=[1 << 40]))
    node = h.make_node("Constant", [], ["k"], name="c1")
    node.attribute.append(value)
    return save(folder, model([node, relu()]))


@case(INVALID, "out of range")
def sparse_index_out_of_range(folder: Path) -> Path:
    return sparse(folder, [4], [1.0], [7])


@case(INVALID, "repeats")
def sparse_index_repeats(folder: Path) -> Path:
    return sparse(folder, [4], [1.0, 2.0], [1, 1])


@case(LIMIT, "sparse")
def sparse_bomb(folder: Path) -> Path:
    return sparse(folder, [1 << 36], [1.0], [0])


def sparse(folder: Path, dims: Sequence[int], values: Sequence[float], indices: Sequence[int]) -> Path:
    weight = h.make_sparse_tensor(
        h.make_tensor("w", T.FLOAT, [len(values)], values), int64s("i", indices), list(dims)
    )
    proto = model([h.make_node("Add", ["x", "w"], ["y"], name="add1")], inputs=[info("x", ("N",))])
    proto.graph.sparse_initializer.append(weight)
    return save(folder, proto)


@case(INVALID, "..")
def external_parent(folder: Path) -> Path:
    inner = folder / "inner"
    inner.mkdir()
    write(folder, bytes(16), "secret.bin")
    return external(inner, "../secret.bin")


@case(INVALID, "..")
def external_parent_inside_path(folder: Path) -> Path:
    (folder / "sub").mkdir()
    write(folder, bytes(16), "w.bin")
    return external(folder, "sub/../w.bin")


@case(INVALID, "..")
def external_parent_backslash(folder: Path) -> Path:
    return external(folder, "sub\\..\\..\\w.bin")


@case(INVALID, "absolute")
def external_absolute(folder: Path) -> Path:
    return external(folder, "/etc/passwd")


@case(INVALID, "absolute")
def external_drive(folder: Path) -> Path:
    return external(folder, "C:\\secret.bin")


@case(INVALID, "symlink")
def external_symlink(folder: Path) -> Path:
    (folder / "w.bin").symlink_to("/etc/passwd")
    return external(folder, "w.bin")


@case(INVALID, "symlink")
def external_through_linked_folder(folder: Path) -> Path:
    (folder / "sub").symlink_to("/etc")
    return external(folder, "sub/passwd")


@case(INVALID, "hard link")
def external_hard_link(folder: Path) -> Path:
    write(folder, bytes(16), "original.bin")
    os.link(folder / "original.bin", folder / "w.bin")
    return external(folder, "w.bin")


@case(INVALID, "regular file")
def external_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "w.bin")
    return external(folder, "w.bin")


@case(INVALID, "symlink")
def external_device(folder: Path) -> Path:
    (folder / "w.bin").symlink_to("/dev/zero")
    return external(folder, "w.bin")


@case(INVALID, "regular file")
def external_folder(folder: Path) -> Path:
    (folder / "w.bin").mkdir()
    return external(folder, "w.bin")


@case(INVALID, "location")
def external_without_location(folder: Path) -> Path:
    return external(folder, "")


@case(INVALID, "location")
def external_with_nul(folder: Path) -> Path:
    return external(folder, "w\0.bin")


@case(INVALID, "cannot be read")
def external_missing(folder: Path) -> Path:
    return external(folder, "absent.bin")


@case(INVALID, "beyond the end")
def external_short(folder: Path) -> Path:
    write(folder, bytes(12), "w.bin")
    return external(folder, "w.bin")


@case(INVALID, "wrong length")
def external_long(folder: Path) -> Path:
    write(folder, bytes(64), "w.bin")
    return external(folder, "w.bin", offset=0, length=64)


@case(INVALID, "offset")
def external_negative_offset(folder: Path) -> Path:
    write(folder, bytes(64), "w.bin")
    return external(folder, "w.bin", offset=-8, length=16)


@case(INVALID, "length")
def external_negative_length(folder: Path) -> Path:
    write(folder, bytes(64), "w.bin")
    return external(folder, "w.bin", offset=0, length=-16)


@case(INVALID, "beyond the end")
def external_overflowing_offset(folder: Path) -> Path:
    write(folder, bytes(64), "w.bin")
    return external(folder, "w.bin", offset=2**63 - 4, length=16)


@case(INVALID, "offset")
def external_absurd_offset(folder: Path) -> Path:
    write(folder, bytes(64), "w.bin")
    return external(folder, "w.bin", offset="9" * 5000, length=16)


@case(INVALID, "initializer w")
def external_negative_dims(folder: Path) -> Path:
    write(folder, bytes(64), "w.bin")
    return external(folder, "w.bin", dims=(-2, -2))


@case(INVALID, "initializer w")
def external_overflowing_dims(folder: Path) -> Path:
    write(folder, bytes(64), "w.bin")
    return external(folder, "w.bin", dims=(2**62, 4, 2**62))


@case(INVALID, "string")
def external_strings(folder: Path) -> Path:
    write(folder, bytes(64), "w.bin")
    return external(folder, "w.bin", dtype=T.STRING)
