"""The conformance runner, and a fast subset of ONNX's backend suite."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

from accelc.conformance import isolated
from accelc.conformance.cases import Case, Features, all_cases, features
from accelc.conformance.command import main, run
from accelc.conformance.judge import Result, differs
from accelc.conformance.report import Report, read_known_wrong
from accelc.targets.host_ops import narrow_types, ngrams, sampling, scans, signals

# Workers of target cpu are forked; JAX minds where another test ran it in this process, though no worker calls it.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork.*:RuntimeWarning")

FAST = frozenset(
    """
test_abs test_add test_add_bcast test_and3d test_argmax_default_axis_example test_averagepool_2d_default
test_basic_conv_with_padding test_batchnorm_example test_cast_FLOAT_to_DOUBLE test_clip_default_min
test_concat_2d_axis_1 test_cumsum_2d_axis_0 test_depthtospace_example test_div_example
test_dropout_default test_equal test_erf test_exp test_expand_dim_changed test_flatten_axis2
test_gather_0 test_gelu_tanh_1 test_gemm_all_attributes test_globalaveragepool test_greater_bcast
test_hardsigmoid test_identity test_layer_normalization_2d_axis1 test_leakyrelu test_log
test_logsoftmax_axis_1 test_matmul_2d test_max_example test_maxpool_2d_default test_mean_two_inputs
test_min_one_input test_mul_bcast test_neg test_not_2d test_pow test_prelu_broadcast
test_range_float_type_positive_delta test_reciprocal test_reduce_mean_default_axes_keepdims_random
test_reduce_sum_keepdims_random test_relu test_reshape_reordered_all_dims test_shape test_sigmoid
test_slice test_softmax_axis_1 test_split_equal_parts_1d_opset18 test_sqrt test_squeeze test_sub
test_tanh test_transpose_default test_unsqueeze_axis_0 test_where_example test_xor2d
test_Embedding test_PReLU_2d_multiparam test_attention_23_boolmask_fullymasked_row_nan_robustness
test_bitshift_right_int8_shift_ge_width test_dropout_default_mask test_reduce_l1_keep_dims_example_expanded
test_affine_grid_2d_align_corners
test_spacetodepth_crd_mode_example test_tfidfvectorizer_tf_uniandbigrams_skip5 test_nllloss_NC
""".split()  # noqa: SIM905 - sixty quoted names would hide the list
)


def case(name: str) -> Case:
    return next(each for each in all_cases() if each.name == name)


def test_fast_subset_passes() -> None:
    cases = [each for each in all_cases() if each.name in FAST]
    assert len(cases) == len(FAST)
    report = run(cases)
    assert [(r.name, r.verdict, r.detail) for r in report.results if r.verdict != "pass"] == []


@pytest.mark.parametrize("module", [narrow_types, ngrams, sampling, scans, signals])
def test_host_ops_give_the_answers_of_the_suite(module: Any) -> None:
    tried = set()
    for each in all_cases():
        nodes = each.load().graph.node
        if each.kind != "node" or len(nodes) != 1 or ("", nodes[0].op_type) not in module.OPS:
            continue
        attrs = {attr.name: onnx.helper.get_attribute_value(attr) for attr in nodes[0].attribute}
        attrs = {name: x.decode() if isinstance(x, bytes) else x for name, x in attrs.items()}
        for given, expected in each.data():
            feeds = dict(zip((v.name for v in each.load().graph.input), given, strict=True))
            inputs = [feeds.get(name) for name in nodes[0].input]
            if any(isinstance(x, np.ndarray) and x.dtype == object for x in (*given, *expected)):
                continue  # strings
            results = module.OPS["", nodes[0].op_type](inputs, attrs)
            assert differs(expected, results, each.rtol, each.atol) == "", each.name
        tried.add(("", nodes[0].op_type))
    assert tried == set(module.OPS)


def test_the_whole_suite_is_found_and_sorted_into_categories() -> None:
    found = [features(each).category for each in all_cases()]
    assert len(found) >= 1900
    assert found.count("core") > 0.7 * len(found)
    assert found.count("control") >= 20
    assert features(case("test_if")) == Features("control", False)
    assert features(case("test_sequence_insert_at_back")) == Features("other", True)
    assert features(case("test_cast_FLOAT_to_BFLOAT16")).category == "other"
    assert features(case("test_training_dropout_default")).category == "other"
    assert features(case("test_bvlc_alexnet")).category == "core"


@pytest.mark.parametrize(
    ("want", "got", "why"),
    [
        (np.float32([1, np.nan]), np.float32([1, np.nan]), ""),
        (
            np.float32([1, 2]),
            np.float32([1, 2.5]),
            "output 0: 1 of 2 elements differ, first at [1]: 2.5 for 2.0",
        ),
        (np.float32([1]), np.float64([1]), "output 0: dtype float64, expected float32"),
        (np.float32([1]), np.float32([[1]]), "output 0: shape [1, 1], expected [1]"),
        (np.int32([1]), np.int32([2]), "output 0: 1 of 1 elements differ, first at [0]: 2 for 1"),
        (np.array(["a"], object), np.array(["a"], object), ""),
        (np.array(["a"], object), np.array(["b"], object), "output 0: other strings than expected"),
        ([np.int32([1])], [np.int32([3])], "output 0[0]: 1 of 1 elements differ, first at [0]: 3 for 1"),
        ([np.int32([1])], [], "output 0: a sequence of 1 expected, got list"),
        (None, np.int32([1]), "output 0: NoneType expected, got int32[1]"),
        (np.ones(1, ml_dtypes.bfloat16), np.full(1, 1.0078125, ml_dtypes.bfloat16), ""),
    ],
)
def test_comparison(want: Any, got: Any, why: str) -> None:
    assert differs([want], [got], 1e-3, 1e-7) == why


def test_a_crash_and_a_hang_do_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(each: Case, options: Any) -> Result:
        if each.name == "test_abs":
            os.abort()
        if each.name == "test_acos":
            time.sleep(60)
        return Result(each.name, each.kind, "core", "pass")

    monkeypatch.setattr(isolated, "judge", judge)  # workers are forked, so they see it
    cases = [case(name) for name in ("test_abs", "test_acos", "test_acosh")]
    results = list(isolated.run_cases(cases, {}, time_limit=2.0))
    assert [(r.name, r.verdict, r.detail) for r in results] == [
        ("test_abs", "crash", "the process ended with signal 6"),
        ("test_acos", "hang", "no result within 2 s"),
        ("test_acosh", "pass", ""),
    ]


def test_report_counts_and_names_what_is_wrong() -> None:
    results = (
        Result("a", "node", "core", "pass"),
        Result("b", "node", "core", "wrong", "output 0: shape"),
        Result("c", "node", "control", "refused", "LoweringError: no | no kernel"),
        Result("d", "node", "control", "wrong", "output 1: dtype"),
    )
    report = Report("cpu", 2, results, {"d": "the suite's own answer is wrong"})
    assert [r.name for r in report.faults] == ["b"]
    assert report.text() == (
        "category  cases  pass  wrong  refused  fallback  crash  hang  passed\n"
        "core          2     1      1        0         0      0     0   50.0%\n"
        "control       2     0      1        1         0      0     0    0.0%\n"
        "all           4     1      2        1         0      0     0   25.0%\n"
        "\nwrong:\n"
        "  b: output 0: shape\n"
        "  d: output 1: dtype (known: the suite's own answer is wrong)"
    )
    assert report.refusals() == [("no kernel", ["c"])]


def test_command_writes_json_and_says_how_it_went(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    assert main(["-k", "^test_abs$", "-O0", "--json", str(path)]) == 0
    assert "core          1     1" in capsys.readouterr().out
    content = json.loads(path.read_text("utf-8"))
    assert content["schema"] == 1
    assert content["level"] == 0
    assert [row["verdict"] for row in content["cases"]] == ["pass"]
    assert main(["-k", "no such case"]) == 2


def test_known_wrong_answers_are_cases_with_reasons() -> None:
    names = {each.name for each in all_cases()}
    assert all(name in names and len(reason) > 20 for name, reason in read_known_wrong().items())


PARENT = """
import os, time
from types import SimpleNamespace
from accelc.conformance import isolated

def judge(case, options):
    print(os.getpid(), flush=True)
    while True:
        time.sleep(1)

cases = [SimpleNamespace(kind="node", name=name) for name in ("one", "two")]
isolated.judge, isolated.all_cases = judge, lambda: cases  # workers are forked, so they see it
list(isolated.run_cases(cases, {}, jobs=2))
"""


def test_workers_end_with_the_process_that_started_them() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    for _ in range(2):
        parent.stdout.readline()  # both are at work
    parent.kill()
    parent.wait()
    assert parent.stdout.read() == ""  # workers hold the pipe too: it ends when the last of them has
    parent.stdout.close()
