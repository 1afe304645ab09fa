"""The shape of the source tree: short files and functions, no drawers, packages that packaging finds."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = sorted(
    path for top in ("accelc", "passes", "targets", "examples") for path in (ROOT / top).rglob("*.py")
)
SOURCES = CODE + sorted((ROOT / "tests").rglob("*.py"))
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_files_are_short() -> None:
    lengths = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {file: lines for file, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    long = {}
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = body_lines(node)
                if lines > MAX_FUNCTION_LINES:
                    long[f"{name(path)}:{node.name}"] = lines
    assert long == {}


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body; signature and docstring are interface, long where there is much to say."""
    first = node.body[0]
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    start = (first.end_lineno or 0) + 1 if is_text else first.lineno
    return (node.end_lineno or 0) - start + 1


def test_no_drawers() -> None:
    assert [
        name(path) for path in SOURCES if path.stem in ("utils", "util", "helpers", "misc", "common")
    ] == []


def test_folders_with_code_are_packages() -> None:
    folders = {path.parent for path in CODE if ROOT / "examples" not in path.parents}
    assert [name(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("top", ["passes", "targets"])
def test_import_names_are_links(top: str) -> None:
    link = ROOT / "accelc" / top
    assert link.is_symlink()
    assert link.readlink() == Path("..") / top


def test_no_todo_without_an_issue() -> None:
    pattern = re.compile(r"\b(TODO|FIXME|XXX)\b(?!\(#\d+\))")
    found = []
    for path in SOURCES:
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{name(path)}:{number}: {line.strip()}")
    assert found == []
