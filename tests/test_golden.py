"""Golden folders: what is recorded is what is checked; damage, edits and changed answers are named."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from accelc.errors import NumericsError, UsageError
from accelc.testing.compare import compare
from accelc.testing.golden import GoldenFolder, check, load, record, require


class Doubler:
    """Answers ``y = 2 * x + offset`` and ``n = shape of x``."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset
        self.outputs = (SimpleNamespace(name="y"), SimpleNamespace(name="n"))

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[np.ndarray]:
        x = feeds["x"]
        return [(x * 2 + np.float32(self.offset)).astype(x.dtype), np.array(x.shape, np.int64)]


def rows(*shape: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).normal(size=shape).astype(np.float32)}


def test_record_and_check(tmp_path: Path) -> None:
    golden = record(Doubler(), tmp_path / "g", [rows(3, 4), rows(0, 4), rows(1, 1)], model="doubler")
    again = load(tmp_path / "g")
    assert again.model == "doubler"
    assert again.bounds == golden.bounds == {"y": 1e-4, "n": 0.0}
    np.testing.assert_array_equal(again.cases[0].outputs["y"], golden.cases[0].outputs["y"])
    found = check(Doubler(), again)
    assert [row.case for row in found] == [0, 0, 1, 1, 2, 2]
    require(found)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g"]


def test_same_answers_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        record(Doubler(), tmp_path / name, [rows(3, 4)])
    for file in ("manifest.json", "case_0.npz"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_changed_answers_are_named(tmp_path: Path) -> None:
    record(Doubler(), tmp_path / "g", [{"x": np.array([[1, 2], [4, 3]], np.float32)}])
    found = check(Doubler(offset=0.5), load(tmp_path / "g"))
    with pytest.raises(NumericsError) as caught:
        require(found)
    assert str(caught.value) == (
        "NumericsError: 1 of 2 golden outputs differ\n"
        "  where  case 0, output y: error 0.0625 of max|output| exceeds 0.0001; at [0, 0] 2.5, expected 2\n"
        "  fix    if the new answers are right, record it again: accelc golden record MODEL DIR --force"
    )


def test_every_dtype_comes_back(tmp_path: Path) -> None:
    class Same(Doubler):
        def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[np.ndarray]:
            return [feeds["x"], feeds["n"]]

    small = np.arange(6).reshape(2, 3)
    for dtype in (
        np.float16,
        np.uint8,
        np.bool_,
        np.complex64,
        ml_dtypes.bfloat16,
        ml_dtypes.float8_e4m3fn,
        ml_dtypes.int4,
    ):
        feeds = {"x": small.astype(dtype), "n": np.array(["a", "longer"], object)}
        record(Same(), tmp_path / "g", [feeds], force=True)
        (case,) = load(tmp_path / "g").cases
        assert case.feeds["x"].dtype == np.dtype(dtype)
        np.testing.assert_array_equal(case.outputs["y"], feeds["x"])
        assert case.feeds["n"].dtype == object
        assert list(case.feeds["n"]) == ["a", "longer"]
        require(check(Same(), load(tmp_path / "g")))


def test_nothing_else_is_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_text("precious")
    with pytest.raises(UsageError, match="in the way and is not a golden folder"):
        record(Doubler(), mine, [rows(1)], force=True)
    record(Doubler(), tmp_path / "g", [rows(1)])
    with pytest.raises(UsageError, match="has golden outputs\n  fix    --force"):
        record(Doubler(), tmp_path / "g", [rows(2)])
    record(Doubler(), tmp_path / "g", [rows(2)], force=True)
    assert load(tmp_path / "g").cases[0].feeds["x"].shape == (2,)


@pytest.mark.parametrize("bound", [-1.0, float("nan"), float("inf")])
def test_a_bound_must_bound(tmp_path: Path, bound: float) -> None:
    with pytest.raises(UsageError, match="allows nothing or everything"):
        record(Doubler(), tmp_path / "g", [rows(1)], bound=bound)


def test_no_inputs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to record"):
        record(Doubler(), tmp_path / "g", [])


def edit(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest.update(changes)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_damage_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "g"
    with pytest.raises(UsageError, match="is not a golden folder"):
        load(folder)
    for changes, why in (
        ({"schema": 99}, "schema 99; need schema 1"),
        ({"kind": "other"}, "kind 'other'"),
        ({"bounds": {}}, "an output has no bound"),
        ({"cases": [{"file": "../case_0.npz"}]}, "is no file of a golden folder"),
        ({"cases": [3]}, "TypeError"),
        ({"cases": [{"file": "case_0.npz", "sha256": "0"}]}, "its sha256 differs"),
    ):
        record(Doubler(), folder, [rows(2)], force=True)
        edit(folder, **changes)
        with pytest.raises(UsageError, match="damaged golden folder") as caught:
            load(folder)
        assert why in caught.value.why
    record(Doubler(), folder, [rows(2)], force=True)
    data = (folder / "case_0.npz").read_bytes()
    (folder / "case_0.npz").write_bytes(data[:-9])
    with pytest.raises(UsageError, match="sha256 differs"):
        load(folder)


def test_other_outputs(tmp_path: Path) -> None:
    record(Doubler(), tmp_path / "g", [rows(2)])
    other = Doubler()
    other.outputs = (SimpleNamespace(name="z"), SimpleNamespace(name="n"))
    with pytest.raises(UsageError, match="y recorded; the model has z, n"):
        check(other, load(tmp_path / "g"))


def test_text(tmp_path: Path) -> None:
    folder = tmp_path / "golden"
    with pytest.raises(AssertionError, match=r"no golden file .*pytest --update-golden"):
        GoldenFolder(folder).text("graph.txt", "a\nb")
    GoldenFolder(folder, update=True).text("graph.txt", "a\nb")
    GoldenFolder(folder).text("graph.txt", "a\nb\n")
    with pytest.raises(AssertionError, match="-b\n\\+c"):
        GoldenFolder(folder).text("graph.txt", "a\nc")
    with pytest.raises(UsageError, match="no name for a golden file"):
        GoldenFolder(folder).text("../graph.txt", "a")


def test_outputs(tmp_path: Path) -> None:
    folder = tmp_path / "golden"
    with pytest.raises(AssertionError, match="no golden folder"):
        GoldenFolder(folder).outputs("y", Doubler(), rows(2))
    GoldenFolder(folder, update=True).outputs("y", Doubler(), rows(2))
    GoldenFolder(folder).outputs("y", Doubler(), rows(2))
    with pytest.raises(NumericsError):
        GoldenFolder(folder).outputs("y", Doubler(1.0), rows(2))


def test_the_fixtures_work_in_a_project_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_mine="""
        from types import SimpleNamespace
        import numpy as np

        class Model:
            outputs = (SimpleNamespace(name="y"),)
            def run(self, names, feeds):
                return [feeds["x"] + 1]

        def test_both(golden, golden_text):
            golden_text("greeting.txt", "hello")
            golden.outputs("model", Model(), {"x": np.ones(3, np.float32)})
        """
    )
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(failed=1)
    pytester.runpytest("-p", "no:cacheprovider", "--update-golden").assert_outcomes(passed=1)
    assert sorted(p.name for p in (pytester.path / "test_mine.golden").iterdir()) == ["greeting.txt", "model"]
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=1)


floats = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
)


@settings(max_examples=40, deadline=None)
@given(floats)
def test_an_array_equals_itself(x: np.ndarray) -> None:
    assert compare(x, x.copy(), 0.0) == (0.0, "")


@settings(max_examples=40, deadline=None)
@given(floats.filter(lambda x: x.size > 0), st.data())
def test_one_wrong_element_is_found(x: np.ndarray, data: st.DataObject) -> None:
    at = data.draw(st.tuples(*(st.integers(0, n - 1) for n in x.shape)))
    finite = np.abs(x[np.isfinite(x)])
    scale = max(float(finite.max()), 1.0) if finite.size else 1.0
    y = x.astype(np.float64)
    y[at] = np.nan if np.isfinite(x[at]) else scale
    error, problem = compare(x.astype(np.float64), y, 1e-4)
    assert error == np.inf
    assert f"at [{', '.join(map(str, at))}]" in problem


def test_compare_says_what_is_wrong() -> None:
    a = np.array([1, 2, 3])
    assert compare(a, a[:2], 1.0)[1] == "shape [2], expected [3]"
    assert compare(a, a.astype(np.int32), 1.0)[1] == "dtype int32, expected int64"
    assert compare(a, np.array([1, 2, 4]), 1.0)[1] == "1 of 3 elements differ; at [2] 4, expected 3"
    assert compare(np.float32(2.0).reshape(()), np.float32(2.1).reshape(()), 1e-3)[1].endswith(
        "at [] 2.1, expected 2"
    )
    inf = np.array([np.inf, 1.0])
    assert compare(inf, -inf, 1.0)[1] == "1 of 2 elements differ; at [0] -inf, expected inf"
    assert compare(np.array(["a"], object), np.array(["b"], object), 0)[1].startswith(
        "1 of 1 elements differ"
    )
