"""accelc.to_jax: pure, differentiable, batched; and new weights written back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import accelc
from accelc.errors import CallError, UnsupportedError, UsageError

jax = pytest.importorskip("jax", reason="gradients need accelc[jax]")
jnp = jax.numpy

DIGITS = Path(__file__).parents[1] / "examples" / "digits" / "cnn.onnx"
HEAD = '<ir_version: 10, opset_import: ["" : 21]>'
LINEAR = f"""{HEAD} g (float[N,3] x) => (float[N,2] y, int64[2] s)
  <float[3,2] w = {{1,2,3,4,5,6}}, float scale = {{2}}> {{
  m = MatMul(x, w)  y = Mul(m, scale)  s = Shape(x)
}}"""


def test_what_is_trained_and_what_is_not() -> None:
    f, params = accelc.to_jax(LINEAR)
    assert set(params) == {"w"}
    assert f.constants == {"scale": "a single number, at Mul_1 (Mul)"}  # type: ignore[attr-defined]
    assert f.inputs == ("x",)  # type: ignore[attr-defined]
    assert f.outputs == ("y", "s")  # type: ignore[attr-defined]


def test_values_gradients_and_batches() -> None:
    f, params = accelc.to_jax(LINEAR)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    result = jax.jit(f)(params, {"x": x})
    np.testing.assert_allclose(result["y"], 2 * x @ np.asarray(params["w"]))
    assert result["s"].tolist() == [2, 3]
    gradient = jax.grad(lambda p: f(p, {"x": x})["y"].sum())(params)
    np.testing.assert_allclose(gradient["w"], np.repeat(2 * x.sum(0)[:, None], 2, 1))
    many = jax.vmap(lambda one: f(params, {"x": one})["y"])(np.stack([x, x + 1]))
    np.testing.assert_allclose(many[1], f(params, {"x": x + 1})["y"])


def test_the_same_as_the_executable() -> None:
    f, params = accelc.to_jax(DIGITS)
    image = np.random.default_rng(0).uniform(0, 16, (4, 1, 8, 8)).astype(np.float32)
    exe = accelc.compile(DIGITS, target="xla", verify=False)
    np.testing.assert_allclose(f(params, {"image": image})["probabilities"], exe(image=image), atol=1e-6)


def test_gradients_flow_through_control_flow() -> None:
    text = f"""{HEAD} g (float[2] x) => (float[2] y) <int64 three = {{3}}, bool yes = {{1}}, float[2] w = {{2, 3}}> {{
      y = Loop (three, yes, x) <body = b (int64 i, bool c, float[2] v) => (bool again, float[2] p) {{
        p = Mul(v, w)  again = Identity(c)
      }}>
    }}"""
    f, params = accelc.to_jax(text)
    gradient = jax.grad(lambda p: f(p, {"x": np.ones(2, np.float32)})["y"].sum())(params)
    np.testing.assert_allclose(gradient["w"], [3 * 2**2, 3 * 3**2])


def test_running_statistics_are_not_trained() -> None:
    text = f"""{HEAD} g (float[N,2,4] x) => (float[N,2,4] y)
      <float[2] a = {{1, 2}}, float[2] b = {{0, 1}}, float[2] mean = {{0, 1}}, float[2] var = {{1, 2}}> {{
      y = BatchNormalization(x, a, b, mean, var)
    }}"""
    f, params = accelc.to_jax(text)
    assert set(params) == {"a", "b"}
    assert "running statistics" in f.constants["mean"]  # type: ignore[attr-defined]


def test_narrow_integers_are_taken() -> None:
    text = (
        f"{HEAD} g (int64[N] ids) => (float[N,2] y) <float[3,2] t = {{1,2,3,4,5,6}}> {{ y = Gather(t, ids) }}"
    )
    f, params = accelc.to_jax(text)
    ids = jnp.asarray([2, 0])  # int32 unless the user asks for more
    assert jax.jit(f)(params, {"ids": ids})["y"].tolist() == [[5, 6], [1, 2]]


def test_wrong_calls() -> None:
    f, params = accelc.to_jax(LINEAR)
    with pytest.raises(CallError, match="input 'x' is missing"):
        f(params, {})
    with pytest.raises(CallError, match="no parameter is called 'v'"):
        f({"v": 1}, {"x": np.ones((1, 3), np.float32)})


def test_models_with_host_steps_are_refused() -> None:
    text = f"{HEAD} g (float[N] x) => (int64[1,M] y) {{ y = NonZero(x) }}"
    with pytest.raises(UnsupportedError, match="run on the host, where nothing can be differentiated"):
        accelc.to_jax(text)


def test_new_weights_in_the_same_model() -> None:
    before = onnx.load(DIGITS)
    _, params = accelc.to_jax(DIGITS)
    after = accelc.with_params(DIGITS, {name: value * 2 for name, value in params.items()})
    onnx.checker.check_model(after, full_check=True)
    assert after.graph.node == before.graph.node
    old = {tensor.name: numpy_helper.to_array(tensor) for tensor in before.graph.initializer}
    new = {tensor.name: numpy_helper.to_array(tensor) for tensor in after.graph.initializer}
    np.testing.assert_array_equal(new["w1"], old["w1"] * 2)
    np.testing.assert_array_equal(new["scale"], old["scale"])


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="no weight called 'q'"):
        accelc.with_params(DIGITS, {"q": np.ones(1)})
    with pytest.raises(UsageError, match="weight 'b1' has another shape"):
        accelc.with_params(DIGITS, {"b1": np.ones(3, np.float32)})
    with pytest.raises(UsageError, match="weight 'b1' has another dtype"):
        accelc.with_params(DIGITS, {"b1": np.ones(16)})
