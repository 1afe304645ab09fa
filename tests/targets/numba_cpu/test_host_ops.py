"""Host ops against onnx.reference, and through whole calls: strings, sequences and optionals in and out."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from lower_harness import reference

from accelc.errors import CallError
from accelc.target import TargetOptions
from accelc.targets.host_ops import HOST_OPS
from accelc.targets.numba_cpu.executable import CpuExecutable
from accelc.targets.numba_cpu.target import NumbaCpu

X = np.array([[2, 0, 3, 0], [1, 1, 0, 2], [2, 0, 3, 0]], np.float32)
BOXES = np.array(
    [[[0, 0, 1, 1], [0, 0.1, 1, 1.1], [1, 1, 0, 0], [0, 10, 1, 11], [0, 10.1, 1, 11.1]]], np.float32
)
SCORES = np.array([[[0.9, 0.75, 0.6, 0.95, 0.5], [0.1, 0.2, 0.3, 0.4, 0.5]]], np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


CASES: list[tuple[str, list[Any], dict[str, Any], int]] = [
    ("NonZero", [X], {}, 1),
    ("NonZero", [np.zeros((0, 3), np.float32)], {}, 1),
    ("Compress", [X, np.array([False, True])], {"axis": 1}, 1),
    ("Compress", [X, np.array([True, False, True])], {}, 1),
    ("Unique", [X], {}, 4),
    ("Unique", [X.reshape(-1)], {"sorted": 0}, 4),
    ("Unique", [X], {"axis": 0}, 4),
    (
        "NonMaxSuppression",
        [BOXES, SCORES, ints(3), np.array([0.5], np.float32), np.array([0.2], np.float32)],
        {},
        1,
    ),
    ("NonMaxSuppression", [BOXES, SCORES, ints(2), np.array([0.5], np.float32)], {"center_point_box": 1}, 1),
    ("TopK", [X, ints(2)], {}, 2),
    ("TopK", [X, ints(3)], {"axis": 0, "largest": 0}, 2),
    ("Reshape", [X, ints(2, -1, 0)[:2]], {}, 1),
    ("Reshape", [X, ints(0, 2, -1)], {}, 1),
    ("Expand", [X[:, :1], ints(2, 1, 4)], {}, 1),
    ("Tile", [X, ints(2, 0)], {}, 1),
    ("Range", [np.array(3, np.int32), np.array(-4, np.int32), np.array(-2, np.int32)], {}, 1),
    ("Range", [np.float32(0), np.float32(1), np.float32(0.3)], {}, 1),
    ("Slice", [X, ints(-1, 5), ints(-9, 0), ints(0, 1), ints(-1, -2)], {}, 1),
    ("Slice", [X, ints(1), ints(99)], {}, 1),
    ("ConstantOfShape", [ints(2, 0)], {}, 1),
    ("Split", [X, ints(1, 0, 3)], {"axis": 1}, 3),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_against_the_reference(case: int) -> None:
    op, inputs, attrs, outputs = CASES[case]
    found = HOST_OPS["", op](inputs, attrs)
    for a, b in zip(found, reference(op, inputs, attrs, outputs), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b)


def test_equal_elements_keep_their_order_and_nan_is_largest() -> None:
    x = np.array([1, np.nan, 3, 3, np.inf], np.float32)
    assert HOST_OPS["", "TopK"]([x, ints(4)], {})[1].tolist() == [1, 4, 2, 3]


@pytest.mark.parametrize(
    ("op", "inputs", "attrs"),
    [
        ("Reshape", [X, ints(5, -1)], {}),
        ("Expand", [X, ints(2)], {}),
        ("Tile", [X, ints(1)], {}),
        ("TopK", [X, ints(5)], {}),
        ("Range", [ints(0), ints(1), ints(0)], {}),
        ("Compress", [X, np.ones(5, bool)], {"axis": 1}),
        ("Split", [X, ints(1, 1)], {"axis": 1}),
        ("ConstantOfShape", [ints(-1)], {}),
        ("SequenceAt", [[X], ints(1)], {}),
        ("ConcatFromSequence", [[X, X[:, :1]]], {"axis": 0}),
        ("OptionalGetElement", [None], {}),
        ("RegexFullMatch", [np.array(["a"], object)], {"pattern": "("}),
    ],
)
def test_values_that_make_no_sense_are_call_errors(op: str, inputs: list[Any], attrs: dict[str, Any]) -> None:
    with pytest.raises(CallError):
        HOST_OPS["", op](inputs, attrs)


def lower(text: str) -> CpuExecutable:
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 24]> {text}')
    exe = NumbaCpu().lower(ir.from_proto(proto), TargetOptions())
    assert isinstance(exe, CpuExecutable)
    assert not exe.fallbacks
    return exe


def test_sequences_in_and_out_with_a_kernel_before() -> None:
    exe = lower(
        "g (seq(float[N]) s, float[N] x) => (seq(float[N]) t, float[M] y, int64 n) <int64 p = {-1}> "
        "{ e = Exp(x) t = SequenceInsert(s, e) y = ConcatFromSequence<axis=0>(t) b = SequenceAt(t, p) "
        "n = SequenceLength(s) }"
    )
    x = np.arange(3, dtype=np.float32)
    t, y, n = exe.run(None, {"s": [x, x + 1], "x": x})
    assert len(t) == 3
    np.testing.assert_allclose(y, np.concatenate([x, x + 1, np.exp(x)]), rtol=1e-6)
    assert n == 2
    with pytest.raises(CallError, match="'s' is missing"):
        exe.run(None, {"x": x})


def test_strings_survive_saving(tmp_path: Path) -> None:
    exe = lower(
        'g (string[N] s) => (string[N] t, bool[N] m, int64[N] k) <string[1] tail = {"!"}> '
        '{ t = StringConcat(s, tail) m = RegexFullMatch<pattern="a+!">(t) p, k = StringSplit<delimiter=" ">(s) }'
    )
    folder = tmp_path / "a"
    folder.mkdir()
    again = NumbaCpu().load(folder, {"payload": exe.payload(folder)}, TargetOptions())
    for each in (exe, again):
        t, m, k = each.run(None, {"s": ["aa", "b c", ""]})
        assert (t.tolist(), m.tolist(), k.tolist()) == (["aa!", "b c!", "!"], [True, False, False], [1, 2, 0])


def test_an_optional_may_be_left_out() -> None:
    exe = lower("g (optional(float[2]) o) => (bool h) { h = OptionalHasElement(o) }")
    assert not exe.run(None, {})[0]
    assert exe.run(None, {"o": np.ones(2, np.float32)})[0]


def test_what_follows_a_data_dependent_op_is_planned_once_per_shape() -> None:
    exe = lower(
        "g (float[N] x) => (float[M] y) { i = NonZero(x) r = Transpose<perm=[1,0]>(i) v = GatherND(x, r) y = Sqrt(v) }"
    )
    for x in ([4.0, 0.0, 9.0], [0.0, 1.0, 25.0], [0.0, 0.0, 16.0]):
        array = np.array(x, np.float32)
        np.testing.assert_array_equal(exe(x=array), np.sqrt(array[array != 0]))
    assert max(len(plans) for plans in exe._main._region_plans) == 2
