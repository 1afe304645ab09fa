"""The README tells the truth: its commands exist, its Python runs, its files are there, CI runs what it says."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from accelc.cli.main import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for kind, text in found if kind == language]


def commands() -> list[list[str]]:
    """Every accelc command line of the README, split into words."""
    lines = [part for block in blocks("sh") for line in block.splitlines() for part in line.split(" && ")]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("accelc ")]


def test_ci_runs_the_first_screen() -> None:
    marked = re.findall(r"^<!-- ci ([\w-]+) -->\n```sh\n(.+)\n```\n<!-- /ci -->$", README, re.MULTILINE)
    assert [name for name, _ in marked] == ["install-and-compile", "install-and-test"]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for name, command in marked:
        assert f"run_readme_command {name}" in script
        assert command not in script
        assert README.index(command) < 2500


def test_the_script_of_ci_is_sound() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_there_are_commands() -> None:
    assert {words[0] for words in commands()} >= {"compile", "run", "verify", "bench", "golden"}


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_options_exist(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    verb = words[:2] if words[0] == "golden" else words[:1]
    assert main([*verb, "--help"]) == 0
    shown = capsys.readouterr().out
    for word in words:
        if word.startswith("--"):
            assert re.search(rf"{re.escape(word)}\b", shown), f"{word} is no option of {verb[0]}"


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_links(link: str) -> None:
    assert link.startswith("https://") or (ROOT / link).exists()


def test_python_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), scope)
    assert (tmp_path / "digits.accel" / "manifest.json").is_file()


def test_the_summary_is_a_real_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Same rows, and the same facts where they do not depend on the machine."""
    shown = next(block for block in blocks("") if block.startswith("mlp.onnx -> mlp.accel"))
    model = ROOT / "examples" / "digits" / "mlp.onnx"
    assert main(["compile", str(model), "-o", str(tmp_path / "mlp.accel")]) == 0
    now = capsys.readouterr().out

    def rows(text: str) -> dict[str, str]:
        lines = [line.strip().split("  ", 1) for line in text.strip().splitlines()[1:]]
        return {line[0].strip(): line[-1].strip() for line in lines}

    assert list(rows(shown)) == list(rows(now))
    for label in ("target", "nodes", "parameters", "FLOPs"):
        assert rows(shown)[label] == rows(now)[label]
