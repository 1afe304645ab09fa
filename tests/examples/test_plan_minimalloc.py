"""Problems in MiniMalloc's format: solved, written back, and refused with the line that is wrong."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "plan_minimalloc.py"
DATA = Path(__file__).parents[3] / "shared" / "data" / "minimalloc"
PAPER = "id,lower,upper,size\nb1,0,3,4\nb2,3,9,4\nb3,0,9,4\nb4,9,21,4\nb5,0,21,4\n"


def run_script(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def check(rows: list[dict[str, str]], offsets: dict[str, int], peak: int) -> None:
    """No two buffers overlap: every pair, by the definition."""
    places = [
        (int(r["lower"]), int(r["upper"]), offsets[r["id"]], offsets[r["id"]] + int(r["size"])) for r in rows
    ]
    assert max(place[3] for place in places) == peak
    assert min(place[2] for place in places) >= 0
    for i, a in enumerate(places):
        for b in places[:i]:
            assert a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] or b[3] <= a[2]


def test_the_example_of_the_paper_comes_back_with_offsets(tmp_path: Path) -> None:
    (tmp_path / "input.12.csv").write_text(PAPER)
    done = run_script(tmp_path / "input.12.csv", "--capacity", 12)
    assert done.returncode == 0, done.stderr
    assert "input.12.csv: peak 12, optimal" in done.stderr
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert list(rows[0]) == ["id", "lower", "upper", "size", "offset"]
    check(rows, {row["id"]: int(row["offset"]) for row in rows}, 12)
    # What was written is a problem with fixed offsets, whose only plan is that one.
    (tmp_path / "again.csv").write_text(done.stdout)
    assert run_script(tmp_path / "again.csv").stdout == done.stdout


def test_all_columns_and_several_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "buffer,start,end,size,alignment,gaps,offset\nx,0,9,8,1,2-3 6-7@0:4,0\ny,2,3,8,8,,\nz,6,7,4,4,,\n"
    )
    (tmp_path / "b.csv").write_text(PAPER)
    done = run_script(tmp_path / "a.csv", tmp_path / "b.csv", "--json", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)["instances"]
    assert first.pop("seconds") >= 0
    assert first == {
        "file": str(tmp_path / "a.csv"),
        "capacity": None,
        "peak": 8,
        "lower_bound": 8,
        "optimal": True,
        "offsets": {"x": 0, "y": 0, "z": 4},
    }
    assert second["peak"] == 12
    assert (tmp_path / "out" / "a.csv").read_text().splitlines()[1:] == [
        "x,0,9,8,1,2-3 6-7@0:4,0",
        "y,2,3,8,8,,0",
        "z,6,7,4,4,,4",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,lower,size\na,0,1\n", "why    upper"),
        ("id,lower,upper,size\na,0,1,1\nb,0,one,1\n", "bad.csv, line 3"),
        ("id,lower,upper,size\na,3,3,1\n", "it ends at step 2, before it starts at 3"),
        ("id,lower,upper,size\na,0,3,1\na,0,3,1\n", "two buffers have the same id"),
        ("id,lower,upper,size,gaps\na,0,3,1,1to2\n", "gap '1to2' is not of the form"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    done = run_script(tmp_path / "bad.csv")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_capacity_that_is_too_small(tmp_path: Path) -> None:
    (tmp_path / "input.csv").write_text(PAPER)
    done = run_script(tmp_path / "input.csv", "--capacity", 11, "--json")
    assert done.returncode == 5
    assert json.loads(done.stdout)["instances"][0]["lower_bound"] == 12
    assert "does not fit 11" in done.stderr


def test_instances_of_minimalloc() -> None:
    files = [DATA / f"{letter}.1048576.csv" for letter in "AEG"]
    if not all(file.is_file() for file in files):
        pytest.skip("needs ../shared/data/minimalloc")
    done = run_script(*files, "--capacity", 1 << 20, "--json")
    assert done.returncode == 0, done.stderr
    for file, found in zip(files, json.loads(done.stdout)["instances"], strict=True):
        with file.open(newline="") as opened:
            check(list(csv.DictReader(opened)), found["offsets"], found["peak"])
        assert found["peak"] <= found["capacity"] == 1 << 20
