"""What explain says of nodes that were fused, folded, refused, or are not there."""

from __future__ import annotations

import numpy as np
import pytest

import accelc
from accelc.driver import import_model
from accelc.errors import UsageError
from accelc.explanation import explain
from accelc.machine_speed import Speed
from accelc.request import Request
from accelc.target import Executable

TEXT = """
g (float[N,8] x) => (float[N,4] y, float[N,4] m) <float[8,4] w, float[1] one = {1.0}, float[1] two = {2.0}> {
    three = Add(one, two)
    m = MatMul(x, w)
    s = Mul(m, three)
    y = Relu(s)
}
"""


@pytest.fixture(scope="module")
def compiled() -> Executable:
    text = TEXT.replace("w, ", f"w = {{{', '.join(['0.5'] * 32)}}}, ")
    return accelc.compile(text, verify=False)


def _explain(exe: Executable, name: str, steps: bool = False) -> dict[str, object]:
    text = TEXT.replace("w, ", f"w = {{{', '.join(['0.5'] * 32)}}}, ")
    original = import_model(Request(text)).model
    assert exe.model is not None
    times = exe.step_times({"x": np.ones((2, 8), np.float32)}, 2) if steps else ()
    return explain(
        name,
        original=original,
        final=exe.model,
        trace=exe.trace,
        steps=times,
        symbols={"N": 2},
        speed=Speed(1e9, 1e9),
    )


def test_a_fused_node(compiled: Executable) -> None:
    facts = _explain(compiled, "y", steps=True)
    (kernel,) = facts["becomes"]  # type: ignore[misc]
    assert kernel["kernel"]
    assert len(kernel["origin"]) == 2
    assert any(item["pass"] == "fuse-elementwise" for item in facts["rewrites"])  # type: ignore[attr-defined]
    (step,) = facts["steps"]  # type: ignore[misc]
    assert step["kernel"] == "elementwise"
    assert step["ms"] > 0
    assert facts["predicted_ms"] == pytest.approx(facts["bytes"] / 1e9 * 1e3)  # type: ignore[operator]


def test_a_folded_node(compiled: Executable) -> None:
    facts = _explain(compiled, "three")
    assert facts["becomes"] == []
    assert any(item["pass"].startswith("fold") for item in facts["rewrites"])  # type: ignore[attr-defined]


def test_work_of_a_node_that_stays(compiled: Executable) -> None:
    facts = _explain(compiled, "m", steps=True)
    assert facts["flops"] == 2 * 2 * 8 * 4
    assert [step["kernel"] for step in facts["steps"]] == ["gemm"]  # type: ignore[attr-defined]


def test_a_refusal() -> None:
    text = "g (float[N,4] x, float[K] b) => (float[N,4] y) { s = Sigmoid(x)  y = Add(s, b) }"
    exe = accelc.compile(text, verify=False)
    assert exe.model is not None
    (refusal,) = explain("y", original=None, final=exe.model, trace=exe.trace)["refusals"]
    assert refusal["pass"] == "fuse-elementwise"
    assert "b is not known to broadcast" in refusal["why"]


def test_no_such_node(compiled: Executable) -> None:
    with pytest.raises(UsageError, match="there is no node 'mm'") as caught:
        _explain(compiled, "mm")
    assert "inspect --nodes" in caught.value.fix
