"""Targets that emit a model are judged by what onnxruntime makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from accelc import driver
from accelc.conformance.cases import Case, all_cases
from accelc.conformance.emitted import try_emitted
from accelc.conformance.judge import judge
from accelc.conformance.report import Report
from accelc.errors import UnsupportedError

ONNX = {"target": "onnx", "level": 2}


def case(name: str) -> Case:
    return next(each for each in all_cases() if each.name == name)


@pytest.mark.parametrize(
    "name",
    [
        "test_conv_with_strides_padding",
        "test_cast_INT4_to_FLOAT",
        "test_cast_FLOAT_to_BFLOAT16",
        "test_clip_example",  # its bounds are scalars
        "test_if_seq",
        "test_sequence_insert_at_back",
        "test_hardswish_expanded",
        "test_gelu_tanh_1_expanded",
    ],
)
def test_values_of_all_kinds_pass(name: str) -> None:
    result = judge(case(name), ONNX)
    assert (result.verdict, result.detail) == ("pass", "")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("test_flexattention", "onnxruntime does not run the original"),
        ("test_dft", "onnxruntime gives other answers on the original"),
    ],
)
def test_what_onnxruntime_does_not_master_does_not_count(name: str, why: str) -> None:
    result = judge(case(name), ONNX)
    assert result.verdict == "uncounted"
    assert why in result.detail
    table = Report("onnx", 2, (result, judge(case("test_abs"), ONNX)), {}).table()
    assert table.splitlines()[-1].split() == ["all", "2", "1", "0", "0", "0", "0", "0", "1", "100.0%"]


def test_an_emitted_model_that_is_wrong_or_does_not_load_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_model = driver.compile

    def spoilt(op: str) -> Any:
        def run(model: Any, **options: Any) -> Any:
            exe = compile_model(model, **options)
            assert exe.emitted is not None
            exe.emitted.graph[0].op_type = op
            return exe

        return run

    monkeypatch.setattr(driver, "compile", spoilt("Neg"))
    assert judge(case("test_abs"), ONNX).verdict == "wrong"
    monkeypatch.setattr(driver, "compile", spoilt("NoSuchOp"))
    assert judge(case("test_abs"), ONNX).detail.startswith("onnxruntime does not run the optimised model")

    def refuses(model: Any, **options: Any) -> Any:
        raise UnsupportedError("not this one")

    monkeypatch.setattr(driver, "compile", refuses)
    assert judge(case("test_abs"), ONNX).verdict == "refused"
    assert judge(case("test_flexattention"), ONNX).verdict == "uncounted"


def test_a_case_without_faults_counts() -> None:
    counts, why = try_emitted(case("test_add"), {**ONNX, "level": 0})
    assert (counts, why) == (True, "")
