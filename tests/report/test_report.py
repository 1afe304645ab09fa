"""The report: every fact is on the page, the page loads nothing, names cannot break out of it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import accelc
from accelc.cli.main import main
from accelc.driver import import_model
from accelc.machine_speed import Speed, machine_speed
from accelc.report import report_html, write_report
from accelc.report.facts import graph_facts
from accelc.report.text import clean, embedded_json
from accelc.request import Request
from accelc.testing import model_from_text

CNN = Path(__file__).parents[2] / "examples" / "digits" / "cnn.onnx"
EVIL = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """Tags with their attributes, text outside scripts, the embedded facts, and whether tags are balanced."""

    VOID = frozenset({"meta", "input", "br", "img", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.scripts if self.open and self.open[-1] in ("script", "style") else self.words).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def kernels(self) -> list[dict[str, object]]:
        found = next(s for s in self.scripts if s.startswith('{"kernels"'))
        return list(json.loads(found)["kernels"])


def check_offline(page: Page, text: str) -> None:
    assert not page.open
    assert not {"img", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not {"src", "srcset", "action", "xlink:href"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", text)
    addresses = set(re.findall(r"[a-z]+://[^\s\"'<]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    policy = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert str(policy[0]).startswith("default-src 'none'")


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page]:
    folder = tmp_path_factory.mktemp("report")
    words = ["compile", str(CNN), "-o", str(folder / "cnn.accel"), "--report", str(folder / "cnn.html")]
    assert main([*words, "--dim", "batch=2"]) == 0
    text = (folder / "cnn.html").read_text(encoding="utf-8")
    return text, Page(text)


def test_the_page_is_whole_and_loads_nothing(cnn: tuple[str, Page]) -> None:
    check_offline(cnn[1], cnn[0])


def test_all_facts_are_on_the_page(cnn: tuple[str, Page]) -> None:
    text, page = cnn
    said = page.text
    for fact in (
        "Verified",
        "Compared with onnxruntime on 1 set of inputs",
        "10 → 8",
        "Bytes moved",
        "Operations",
        "Peak memory",
        "6091 parameters",
        "every op has a kernel",
        f"numpy {np.__version__}",
        f"accelc {accelc.__version__}",
        "fuse-epilogues",
        "epilogue: conv1, relu1",
        "Arena of one call",
        "lower bound",
        "GB/s",
        "GFLOP/s",
        "SHA-256",
    ):
        assert fact in said, fact
    assert "Conv + Relu" in said
    assert re.search(r"peak [\d.]+ GFLOP/s", text)


def test_kernels_carry_what_is_behind_them(cnn: tuple[str, Page]) -> None:
    _, page = cnn
    kernel = next(k for k in page.kernels if k["title"] == "Conv + Relu")
    assert [row[:2] for row in kernel["origin"]] == [["conv1", "Conv"], ["relu1", "Relu"]]  # type: ignore[attr-defined]
    assert kernel["flops"] == 2 * 2 * 16 * 8 * 8 * 9 + 2 * 16 * 8 * 8
    assert kernel["ms"] > 0  # type: ignore[operator]
    assert len(kernel["body"]) == 2  # type: ignore[arg-type]
    drawn = {a["data-k"] for tag, a in page.tags if tag == "g" and "data-k" in a}
    assert drawn == {str(i) for i in range(len(page.kernels))}
    edges = [(a["data-a"], a["data-b"]) for tag, a in page.tags if tag == "path" and "data-a" in a]
    assert ("-1", "0") in edges
    assert ("0", "1") in edges
    assert [a for tag, a in page.tags if tag == "circle" and "data-k" in a]


@pytest.mark.parametrize("target", ["onnx", "xla"])
def test_other_targets(target: str, tmp_path: Path) -> None:
    if target == "xla":
        pytest.importorskip("jax")
    file = tmp_path / "r.html"
    words = [
        "compile",
        str(CNN),
        "-t",
        target,
        "--verify",
        "off",
        "-o",
        str(tmp_path / "a"),
        "--report",
        str(file),
    ]
    assert main(words) == 0
    text = file.read_text(encoding="utf-8")
    page = Page(text)
    check_offline(page, text)
    assert f"for target {target}" in page.text
    assert "Not verified" in page.text
    if target == "xla":
        assert "xla function" in page.text


def evil_page(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("accelc.report.machine_speed", lambda threads: Speed(1e11, 1e10))
    model = model_from_text("g (float[N,4] x) => (float[N,4] y) { a = Relu(x) b = Exp(a) y = Neg(b) }")
    for node in model.graph:
        node.name = f"{EVIL}{node.op_type}"
        for value in node.outputs:
            if not value.is_graph_output():
                value.name = f"{EVIL}\x00\ud7ff\u2028{node.op_type}"
    exe = accelc.compile(model, target="onnx", verify=False)
    original = import_model(Request(model)).model
    return report_html(exe, original, command=f"accelc compile {EVIL}")


def test_hostile_names_stay_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = evil_page(monkeypatch)
    page = Page(text)
    check_offline(page, text)
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 2
    assert EVIL in page.text
    assert any(EVIL in str(k["name"]) for k in page.kernels)
    write_report(tmp_path / "r.html", text)
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == text
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_inputs_that_the_model_refuses_leave_the_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelc.report.machine_speed", lambda threads: Speed(1e11, 1e10))
    model = model_from_text("g (float[2,4] x) => (float[2,4] y) { y = Relu(x) }")
    exe = accelc.compile(model, target="cpu", verify=False)
    wrong = {"x": np.zeros((3, 4), np.float32)}
    page = Page(report_html(exe, import_model(Request(model)).model, feeds=wrong))
    assert "Nothing was timed: the model does not run on the inputs drawn" in page.text


def test_steps_of_branches_belong_to_their_node() -> None:
    model = model_from_text(
        """g (float[4,300] x, bool p) => (float[4,300] y) {
             y = If (p) <then_branch = t () => (float[4,300] q) { a = Neg(x) q = Softmax(a) },
                         else_branch = e () => (float[4,300] r) { r = Abs(x) }> }"""
    )
    exe = accelc.compile(model, target="cpu", verify=False)
    assert exe.model is not None
    steps = exe.step_times({"x": np.ones((4, 300), np.float32), "p": np.array(True)}, 1)
    facts = graph_facts(import_model(Request(model)).model, exe.model, trace=exe.trace, steps=steps)
    (branching,) = [k for k in facts.kernels if k.op == "If"]
    assert branching.ms is not None
    assert any("softmax" in line.lower() for line in branching.body)
    assert not facts.joint


def test_a_page_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(accelc.errors.UsageError, match="cannot be written"):
        write_report(tmp_path / "no" / "r.html", "text")


def test_text_is_cleaned_and_json_cannot_end_its_element() -> None:
    assert clean("a\x00b\nc", 10) == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
    assert clean("x" * 9, 5) == "xxxx…"
    text = embedded_json({"<k>": ["</script>", "<!--", "&", None, 1.5]})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"<k>": ["</script>", "<!--", "&", None, 1.5]}


def test_work_before_and_after() -> None:
    before = model_from_text("g (float[N,4] x) => (float[N,4] y) { a = Relu(x) y = Exp(a) }")
    exe = accelc.compile(before, target="onnx", verify=False)
    assert exe.model is not None
    facts = graph_facts(import_model(Request(before)).model, exe.model, trace=exe.trace, symbols={"N": 3})
    assert (facts.before.nodes, facts.before.flops, facts.before.bytes) == (2, 12 + 120, 4 * 48)
    assert facts.inputs == ("x float32[N,4]",)
    assert [k.ms for k in facts.kernels] == [None] * len(facts.kernels)


def test_the_machines_speed_is_measured() -> None:
    speed = machine_speed(1)
    assert speed.flops_per_s > 1e8
    assert speed.bytes_per_s > 1e7
    assert Speed(1e9, 1e9).ms(2_000_000, 1000) == 2.0
