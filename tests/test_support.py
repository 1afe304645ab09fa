"""The support matrix: every op of the standard has a row, read from the tables."""

from __future__ import annotations

import json

import pytest

from accelc.cli.main import main
from accelc.ir.schemas import newest_ops
from accelc.reference import has_reference
from accelc.support import Row, counts, support_matrix
from accelc.target import Support
from accelc.targets import resolve


class Stub:
    """A target with three rows."""

    def ops(self) -> list[Support]:
        return [
            Support("", "Add", 7, ("float32",)),
            Support("", "Add", 13, ("float32", "float64")),
            Support("", "Abs", 1, (), "slow", way="fallback"),
            Support("own", "Thing", 1, ()),
        ]


def rows_of(target: object) -> dict[str, Row]:
    return {row.name: row for row in support_matrix(target)}  # type: ignore[arg-type]


def test_rows_are_merged_and_what_no_table_has_is_not_supported() -> None:
    rows = rows_of(Stub())
    assert set(rows) >= {f"{d}::{op}" if d else op for d, op in newest_ops()}
    newest = newest_ops()["", "Add"]
    assert rows["Add"] == Row("", "Add", "compiled", (7, 13), newest, ("float32", "float64"), "")
    assert (rows["Abs"].way, rows["Abs"].since, rows["Abs"].note) == ("fallback", (), "slow")
    assert (rows["Relu"].way, rows["own::Thing"].newest) == ("no", None)
    assert rows["com.microsoft::BiasGelu"].way == "decomposed"
    assert list(counts(list(rows.values()))) == ["compiled", "decomposed", "fallback", "no"]


@pytest.mark.parametrize("name", ["cpu", "xla", "onnx"])
def test_targets(name: str) -> None:
    if name == "xla":
        pytest.importorskip("jax")
    rows = rows_of(resolve(name))
    assert rows["Conv"].way == ("emitted" if name == "onnx" else "compiled")
    assert rows["NonZero"].way == ("emitted" if name == "onnx" else "host")
    assert rows["Loop"].way == rows["Constant"].way == rows["Conv"].way
    ways = counts(list(rows.values()))
    assert ways.get("compiled", 0) + ways.get("emitted", 0) > 150


def test_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ops", "--target", "onnx"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["op", "how", "it", "runs", "since", "newest", "dtypes"]
    assert lines[-1].startswith(f"{len(lines) - 3} ops: ")
    assert main(["ops", "--target", "onnx", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert sum(content["counts"].values()) == len(content["ops"])


def test_what_the_reference_has() -> None:
    assert has_reference("", "Gelu")
    assert has_reference("ai.onnx.ml", "SVMClassifier")
    assert not has_reference("ai.onnx.ml", "ZipMap")
    assert not has_reference("", "MaxRoiPool")
    assert not has_reference("ai.onnx.preview", "FlexAttention")
