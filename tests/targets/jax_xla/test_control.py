"""If, Loop and Scan: inside the compiled function where XLA can hold them, bodies compiled in turn elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import accelc

pytest.importorskip("jax", reason="target xla needs accelc[jax]")


def compiled(text: str, **options: Any) -> accelc.Executable:
    return accelc.compile(f'<ir_version: 10, opset_import: ["" : 21]> {text}', target="xla", **options)


def shape_of_program(exe: accelc.Executable) -> tuple[int, int]:
    """Compiled functions, host steps."""
    facts = exe.summary["target_facts"]
    return facts["compiled functions"], len(facts["host steps"])


def test_if_with_equal_shapes_is_part_of_the_function() -> None:
    exe = compiled(
        """g (bool[1] c, float[3] x) => (float[3] y) <bool[1] yes = {1}> {
          d = And(c, yes)
          y = If (d) <then_branch = a () => (float[3] p) { p = Exp(x) },
                      else_branch = b () => (float[3] q) { q = Neg(x) }>
        }"""
    )
    assert exe.verification.status == "verified"
    assert shape_of_program(exe) == (1, 0)
    x = np.array([1, 2, 3], np.float32)
    np.testing.assert_array_equal(exe(c=np.array([False]), x=x), -x)
    np.testing.assert_allclose(exe(c=np.array([True]), x=x), np.exp(x), rtol=1e-6)


IF_SHAPES = """g (float[N] x) => (float[M] y) <float zero = {0}, float[2] more = {7, 8}> {
  s = ReduceSum<keepdims = 0>(x)  c = Greater(s, zero)
  y = If (c) <then_branch = a () => (float[P] p) { p = Concat<axis = 0>(x, more) },
              else_branch = b () => (float[Q] q) { q = Neg(x) }>
}"""


def test_if_with_other_shapes_is_driven_from_the_host() -> None:
    exe = compiled(IF_SHAPES)
    assert exe.verification.status == "verified"
    assert exe(x=np.array([1, 2], np.float32)).tolist() == [1, 2, 7, 8]
    assert exe(x=np.array([-1, -2], np.float32)).tolist() == [1, 2]
    assert exe.fallbacks == ()
    assert shape_of_program(exe)[1] == 1


def test_if_on_a_shape_picks_its_branch_while_tracing() -> None:
    exe = compiled(
        """g (float[N] x) => (float[M] y) <int64[1] two = {2}, float[1] more = {9}> {
          s = Shape(x)  c = Greater(s, two)
          y = If (c) <then_branch = a () => (float[P] p) { p = Concat<axis = 0>(x, more) },
              else_branch = b () => (float[Q] q) { q = Neg(x) }>
        }"""
    )
    assert shape_of_program(exe) == (1, 0)
    assert exe(x=np.array([1, 2], np.float32)).tolist() == [-1, -2]
    assert exe(x=np.array([1, 2, 3], np.float32)).tolist() == [1, 2, 3, 9]


LOOP = """g (int64 trips, bool go, float[2] x) => (float[2] last) <float limit = {20}> {
  last = Loop (trips, go, x) <body = b (int64 i, bool c, float[2] v) => (bool again, float[2] w) {
    w = Add(v, v)  s = ReduceSum<keepdims = 0>(w)  again = Less(s, limit)
  }>
}"""


def test_loop_without_collected_results_is_a_while_loop() -> None:
    exe = compiled(LOOP, verify=False)
    assert shape_of_program(exe) == (1, 0)
    x = np.array([1, 1], np.float32)
    for trips, go, times in ((10, True, 4), (2, True, 2), (0, True, 0), (5, False, 0)):
        result = exe(trips=np.int64(trips), go=np.bool_(go), x=x)
        np.testing.assert_array_equal(result, x * 2**times)


def test_loop_with_a_known_number_of_iterations_collects() -> None:
    exe = compiled(
        """g (float[2] x) => (float[2] last, float[3,2] all) <int64 trips = {3}, bool yes = {1}> {
          last, all = Loop (trips, yes, x) <body = b (int64 i, bool c, float[2] v)
             => (bool again, float[2] w, float[2] z) {
            f = Cast<to = 1>(i)  w = Add(v, f)  z = Mul(w, x)  again = Identity(c)
          }>
        }"""
    )
    assert exe.verification.status == "verified"
    assert shape_of_program(exe) == (1, 0)
    last, collected = exe.run(None, {"x": np.array([1, 2], np.float32)})
    assert last.tolist() == [4, 5]
    assert collected.tolist() == [[1, 4], [2, 6], [4, 10]]


def test_loop_that_grows_is_driven_from_the_host() -> None:
    exe = compiled(
        """g (int64 trips, float[A] x) => (float[B] last, float[C] sums) <bool yes = {1}> {
          last, sums = Loop (trips, yes, x) <body = b (int64 i, bool c, float[V] v)
             => (bool again, float[W] w, float z) {
            w = Concat<axis = 0>(v, x)  z = ReduceSum<keepdims = 0>(w)  again = Identity(c)
          }>
        }""",
        verify=False,
    )
    last, sums = exe.run(None, {"trips": np.int64(2), "x": np.array([1, 2], np.float32)})
    assert last.tolist() == [1, 2] * 3
    assert sums.tolist() == [6, 9]
    assert exe.fallbacks == ()
    last, sums = exe.run(None, {"trips": np.int64(0), "x": np.array([1], np.float32)})
    assert last.tolist() == [1]
    assert sums.shape == (0,)


def test_scan() -> None:
    exe = compiled(
        """g (float[2] h0, float[N,2] xs) => (float[2] h, float[N,2] ys) {
          h, ys = Scan<num_scan_inputs = 1, scan_input_directions = [1], scan_output_directions = [1],
            body = b (float[2] s, float[2] x) => (float[2] t, float[2] y) { t = Add(s, x)  y = Mul(t, x) }>(h0, xs)
        }"""
    )
    assert exe.verification.status == "verified"
    assert shape_of_program(exe) == (1, 0)
    xs = np.arange(6, dtype=np.float32).reshape(3, 2)
    h, ys = exe.run(None, {"h0": np.ones(2, np.float32), "xs": xs})
    totals = np.ones(2, np.float32) + np.cumsum(xs[::-1], 0)
    np.testing.assert_array_equal(h, totals[-1])
    np.testing.assert_array_equal(ys, (totals * xs[::-1])[::-1])
    h, ys = exe.run(None, {"h0": np.ones(2, np.float32), "xs": xs[:0]})
    assert ys.shape == (0, 2)


def test_host_control_flow_inside_compiled_control_flow_goes_to_the_host() -> None:
    exe = compiled(
        """g (float[N] x) => (float y) <int64 trips = {2}, bool yes = {1}, float zero = {0}, int64[1] first = {0}> {
          y = Loop (trips, yes, zero) <body = b (int64 i, bool c, float v) => (bool again, float w) {
            m = Greater(x, v)  n = NonZero(m)  k = Size(n)  f = Cast<to = 1>(k)  w = Add(v, f)  again = Identity(c)
          }>
        }"""
    )
    assert exe.verification.status == "verified"
    assert exe(x=np.array([1, 2, 5], np.float32)) == 4.0


def test_nested_loops() -> None:
    exe = compiled(
        """g (float x) => (float y) <int64 three = {3}, bool yes = {1}> {
          y = Loop (three, yes, x) <body = outer (int64 i, bool c, float v) => (bool again, float w) {
            w = Loop (three, yes, v) <body = inner (int64 j, bool d, float p) => (bool more, float q) {
              n = Add(i, j)  f = Cast<to = 1>(n)  q = Add(p, f)  more = Identity(d)
            }>
            again = Identity(c)
          }>
        }"""
    )
    assert exe.verification.status == "verified"
    assert shape_of_program(exe) == (1, 0)
    assert exe(x=np.float32(0)) == 18.0


SLICES = """g (float[6] x) => (float[3] y, float[3,2] parts)
    <int64 three = {3}, bool yes = {1}, float[3] zero = {0, 0, 0}, int64[1] two = {2}, int64[1] one = {1}> {
  y, parts = Loop (three, yes, zero) <body = b (int64 i, bool c, float[3] v)
      => (bool again, float[3] w, float[2] part) {
    n = Reshape(i, one)  start = Mul(n, two)  end = Add(start, two)  part = Slice(x, start, end)
    s = ReduceSum<keepdims = 0>(part)  w = Add(v, s)  again = Identity(c)
  }>
}"""


def test_loop_whose_number_decides_shapes_is_written_out() -> None:
    exe = compiled(SLICES)
    assert exe.verification.status == "verified"
    assert shape_of_program(exe) == (1, 0)
    y, parts = exe.run(None, {"x": np.arange(6, dtype=np.float32)})
    assert y.tolist() == [15, 15, 15]
    assert parts.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_loop_that_grows_a_known_number_of_times_is_written_out() -> None:
    exe = compiled(
        """g (float[N] x) => (float[M] y) <int64 three = {3}, bool yes = {1}> {
          y = Loop (three, yes, x) <body = b (int64 i, bool c, float[V] v) => (bool again, float[W] w) {
            w = Concat<axis = 0>(v, x)  again = Identity(c)
          }>
        }"""
    )
    assert exe.verification.status == "verified"
    assert shape_of_program(exe) == (1, 0)
    assert exe(x=np.array([1, 2], np.float32)).tolist() == [1, 2] * 4
