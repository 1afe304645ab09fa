"""Inputs drawn for a model: ranges from use, sizes for free dims, test data beside the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from accelc.errors import UsageError
from accelc.inputs import checked_data, data_beside, integer_use, random_feeds, symbol_sizes

HEADER = '<ir_version: 11, opset_import: ["" : 24]>\n'


def model_of(text: str) -> ir.Model:
    return ir.from_onnx_text(HEADER + text)


@pytest.mark.parametrize(
    ("body", "use"),
    [
        ("y = Gather(t, i)", ("index", 3)),
        ("j = Unsqueeze(i, zero) k = Cast<to = 7>(j) y = Gather(t, k)", ("index", 3)),
        ("c = Cast<to = 1>(i) y = Sub(c, c)", ("mask", 2)),
        ("b = Cast<to = 9>(i) y = Not(b)", ("mask", 2)),
        ("y = Expand(t, i)", ("size", 0)),
        ("y = Add(i, i)", ("", 0)),
    ],
)
def test_integer_ranges_follow_from_use(body: str, use: tuple[str, int]) -> None:
    model = model_of(
        f"g (int64[2] i) => (y) <float[3,2] t = {{1,2,3,4,5,6}}, int64[1] zero = {{0}}> {{ {body} }}"
    )
    assert integer_use(model.graph.inputs[0]) == use


def test_the_smallest_table_wins() -> None:
    model = model_of(
        "g (int64[2] i) => (y) <float[3] t = {1,2,3}, float[2] u = {1,2}>"
        "{ a = Gather(t, i) b = Gather(u, i) y = Add(a, b) }"
    )
    assert integer_use(model.graph.inputs[0]) == ("index", 2)


@pytest.mark.parametrize(
    ("numbers", "use"),
    [
        ("0, 1, 2, 3, 4", ("index", 5)),
        ("4, 3, 2, 1, 0", ("index", 5)),
        ("0, 1, 2, 3, 9", ("mask", 2)),
        ("1, 2, 3, 4, 5", ("mask", 2)),
    ],
)
def test_what_is_compared_with_all_classes_is_one_of_them(numbers: str, use: tuple[str, int]) -> None:
    """A one-hot encoding as TensorFlow exports it."""
    model = model_of(
        f"g (int64[2] i) => (y) <int64[5] c = {{{numbers}}}, int64[1] last = {{1}}>"
        "{ j = Unsqueeze(i, last) b = Equal(j, c) y = Cast<to = 1>(b) }"
    )
    assert integer_use(model.graph.inputs[0]) == use


def test_masks_are_prefixes_without_empty_rows() -> None:
    model = model_of("g (int64[4,9] attention_mask) => (y) { y = Add(attention_mask, attention_mask) }")
    mask = random_feeds(model)["attention_mask"]
    assert set(np.unique(mask)) <= {0, 1}
    assert (mask[:, 0] == 1).all()
    assert (np.diff(mask, axis=1) <= 0).all()


def test_free_dims_get_two_settings_that_differ_and_grow() -> None:
    model = model_of("g (float[batch,seq] x, float[seq,H] z) => (y) { y = MatMul(x, z) }")
    first, second = symbol_sizes(model, 0), symbol_sizes(model, 1)
    assert first != second
    assert len(set(first.values())) == 3
    later = symbol_sizes(model, 0, attempt=7)
    assert later["seq"] > first["seq"]
    assert later["batch"] <= 2


def test_images_get_sizes_that_can_be_halved() -> None:
    model = model_of("g (float[N,3,H,W] x) => (y) { y = Relu(x) }")
    for setting in (0, 1):
        sizes = symbol_sizes(model, setting)
        assert sizes["H"] % 32 == sizes["W"] % 32 == 0
        assert sizes["H"] != sizes["W"]
    assert symbol_sizes(model, 0, attempt=1)["H"] < 32


def test_draws_are_repeatable_and_typed() -> None:
    model = model_of(
        "g (float16[2] a, bool[3] b, uint8[4] c, string[2] d, double[0] e) => (y) { y = Identity(a) }"
    )
    one, two = random_feeds(model, seed=5), random_feeds(model, seed=5)
    assert [x.dtype.name for x in one.values()] == ["float16", "bool", "uint8", "object", "float64"]
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name])


def test_data_beside_a_model_is_found_and_misfits_left_out(tmp_path: Path) -> None:
    model = model_of("g (float[N,2] x) => (y) { y = Relu(x) }")
    for index, shape in enumerate([(3, 2), (3, 5)]):
        folder = tmp_path / f"test_data_set_{index}"
        folder.mkdir()
        tensor = numpy_helper.from_array(np.ones(shape, np.float32), "x")
        (folder / "input_0.pb").write_bytes(tensor.SerializeToString())
    (tmp_path / "test_data_set_2").mkdir()
    (tmp_path / "test_data_set_2" / "input_0.pb").write_bytes(b"\xff\xff")
    (found,) = data_beside(tmp_path / "m.onnx", model)
    assert found["x"].shape == (3, 2)
    assert onnx.TensorProto.FLOAT == 1


def test_data_that_does_not_fit_is_named() -> None:
    model = model_of("g (float[N,2] x) => (y) { y = Relu(x) }")
    with pytest.raises(UsageError) as caught:
        checked_data(model, {"z": np.zeros(1)})
    assert str(caught.value) == (
        "UsageError: input set 0 of data does not fit the model\n"
        "  why    no input is called 'z'; input 'x' is missing"
    )
    with pytest.raises(UsageError, match="has dtype float64, expected float32"):
        checked_data(model, [{"x": np.zeros((1, 2))}])
