"""Assertions about passes: what they rewrite, what they refuse and why, and that they keep the meaning."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from accelc.ir import shapes
from accelc.ir.pass_base import Pass, PassContext, PassRecord
from accelc.ir.verify import signature, verify
from accelc.reference import evaluate_node, run_onnxruntime
from accelc.testing.graph_text import constant_names, elided_weights, model_from_text, normal_text, weights_of

Model = str | ir.Model


def run_pass(pass_: Pass, model: ir.Model, **options: Any) -> tuple[ir.Model, bool, PassRecord]:
    """Run a pass on ``model`` in place.

    Args:
        pass_: The pass.
        model: Changed in place; shapes are not inferred here.
        options: Fields of PassContext: ``limits``, ``cost``, ``max_rewrites``...

    Returns:
        The model, whether the pass says it changed it, and the record with rewrites and refusals.
    """
    options.setdefault("evaluator", evaluate_node)
    record = PassRecord(str(pass_))
    ctx = PassContext(record=record, **options)
    result = pass_.apply(model, ctx)
    return result.model, result.modified, record


def assert_rewrites(
    pass_: Pass,
    before: Model,
    after: str,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    infer: bool = True,
    **options: Any,
) -> ir.Model:
    """Assert that a pass turns ``before`` into ``after``.

    Compared are structure, attributes, types of inputs and outputs, and types of weights; values of weights
    are compared where ``after`` gives them. Also asserted: the result is valid ONNX with the same inputs and
    outputs, a second run changes nothing, ``modified`` is the truth, and nothing changes once the rewrite
    budget is spent.

    Args:
        pass_: The pass.
        before: ONNX text (see accelc.testing.graph_text) or a model.
        after: ONNX text; equal text to ``before`` asserts that nothing is rewritten.
        weights: Values for weights that ``before`` declares without values.
        infer: Infer shapes of ``before`` first, as the pipeline does.
        options: Fields of PassContext.

    Returns:
        The rewritten model, for further checks.
    """
    model = _prepare(before, weights, infer)
    if options.get("max_rewrites") is None:
        _assert_budget_respected(pass_, model, options)
    result = _run_checked(pass_, model, options)
    expected = _prepare(after, None, infer)
    got, want = normal_text(result), normal_text(expected)
    if got != want:
        diff = "\n".join(
            difflib.unified_diff(want.split("\n"), got.split("\n"), "expected", "got", lineterm="")
        )
        raise AssertionError(f"{pass_} gives another graph:\n{diff}")
    _assert_weights(result, expected, after)
    if options.get("max_rewrites") is None:
        frozen = _bytes(result)
        again, modified, _ = run_pass(pass_, result, **options)
        if modified or _bytes(again) != frozen:
            raise AssertionError(f"{pass_} changes its own result:\n{normal_text(again)}")
    return result


def assert_refuses(
    pass_: Pass,
    model: Model,
    why: str,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    infer: bool = True,
    **options: Any,
) -> None:
    """Assert that a pass leaves ``model`` as it is and gives a reason that contains ``why``."""
    subject = _prepare(model, weights, infer)
    text = normal_text(subject)
    result, modified, record = run_pass(pass_, subject, **options)
    if modified or normal_text(result) != text:
        raise AssertionError(f"{pass_} did not refuse:\n{normal_text(result)}")
    reasons = [refusal.why for refusal in record.refusals]
    if not any(why in reason for reason in reasons):
        raise AssertionError(f"{pass_} gave other reasons than {why!r}: {reasons}")


def assert_same_meaning(
    pass_: Pass,
    model: Model,
    *feeds: Mapping[str, np.ndarray],
    tolerance: float = 2e-5,
    exact: bool = False,
    weights: Mapping[str, np.ndarray] | None = None,
    infer: bool = True,
    **options: Any,
) -> ir.Model:
    """Assert that outputs before and after the pass agree in onnxruntime, its own optimiser switched off.

    Args:
        pass_: The pass.
        model: Text or model; a model is cloned first.
        feeds: Input sets; one random set if there is none (then every dim must be static).
        tolerance: Bound of max|a-b| / max|a| for floats; NaN and infinities must be in the same places.
        exact: Bit-equal floats.
        weights: Values for weights declared without values.
        infer: Infer shapes first.
        options: Fields of PassContext.

    Returns:
        The rewritten model.
    """
    original = _prepare(model, weights, infer)
    sets = feeds or (random_feeds(original),)
    expected = [run_onnxruntime(original, feed, optimize=False) for feed in sets]
    result = _run_checked(pass_, original.clone(), options)
    for feed, wanted in zip(sets, expected, strict=True):
        got = run_onnxruntime(result, feed, optimize=False)
        for value, a, b in zip(original.graph.outputs, wanted, got, strict=True):
            assert_close(a, b, str(value.name), tolerance=0.0 if exact else tolerance)
    return result


def assert_close(expected: np.ndarray, got: np.ndarray, name: str, *, tolerance: float) -> None:
    """Assert equal shape and dtype, and equal elements up to ``tolerance`` x max|expected| for floats."""
    if expected.shape != got.shape or expected.dtype != got.dtype:
        raise AssertionError(
            f"{name}: {got.dtype}{list(got.shape)}, expected {expected.dtype}{list(expected.shape)}"
        )
    if expected.dtype.kind not in "fc" and "float" not in expected.dtype.name:
        np.testing.assert_array_equal(got, expected, err_msg=name)
        return
    a, b = expected.astype(np.float64), got.astype(np.float64)
    finite = np.isfinite(a)
    np.testing.assert_array_equal(np.where(finite, 0, a), np.where(np.isfinite(b), 0, b), err_msg=name)
    scale = float(np.abs(a[finite]).max()) if finite.any() else 0.0
    error = float(np.abs(a[finite] - b[finite]).max()) if finite.any() else 0.0
    if error > tolerance * scale:
        raise AssertionError(f"{name}: differs by {error:.3g}, allowed {tolerance:.1g} x {scale:.3g}")


def random_feeds(
    model: ir.Model, *, dims: Mapping[str, int] | None = None, seed: int = 0
) -> dict[str, np.ndarray]:
    """Random inputs: normal floats, integers in 0..2, bools; named dims are taken from ``dims``."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, np.ndarray] = {}
    for value in model.graph.inputs:
        if value.is_initializer():
            continue
        if value.shape is None or value.dtype is None:
            raise ValueError(f"input {value.name} needs a dtype and a shape to draw values")
        shape = [d if isinstance(d, int) else (dims or {})[str(d)] for d in value.shape]
        dtype = value.dtype.numpy()
        if dtype.kind in "iub":
            feeds[str(value.name)] = rng.integers(0, 2 if dtype.kind == "b" else 3, shape).astype(dtype)
        else:
            feeds[str(value.name)] = rng.standard_normal(shape).astype(dtype)
    return feeds


def _prepare(model: Model, weights: Mapping[str, np.ndarray] | None, infer: bool) -> ir.Model:
    subject = model_from_text(model, weights=weights) if isinstance(model, str) else model.clone()
    if infer:
        shapes.infer(subject)
    return subject


def _run_checked(pass_: Pass, model: ir.Model, options: Mapping[str, Any]) -> ir.Model:
    """Run a pass; the result must be valid, keep the signature, and ``modified`` must be the truth."""
    before, shapes_before, expect = _bytes(model), _signature_shapes(model), signature(model)
    result, modified, _ = run_pass(pass_, model, **options)
    verify(result, after=str(pass_), expect=expect)
    onnx.checker.check_model(ir.to_proto(result), full_check=True)
    if (shapes_after := _signature_shapes(result)) != shapes_before:
        raise AssertionError(f"{pass_} changed the signature: {shapes_before} to {shapes_after}")
    if (changed := _bytes(result) != before) != modified:
        raise AssertionError(
            f"{pass_} says modified={modified}, but the model {'did' if changed else 'did not'} change"
        )
    return result


def _assert_budget_respected(pass_: Pass, model: ir.Model, options: Mapping[str, Any]) -> None:
    subject = model.clone()
    before = normal_text(subject)
    result, _, _ = run_pass(pass_, subject, **{**options, "max_rewrites": 0})
    if normal_text(result) != before:
        raise AssertionError(f"{pass_} rewrites although ctx.may_rewrite() says no")


def _assert_weights(result: ir.Model, expected: ir.Model, text: str) -> None:
    elided = elided_weights(text)
    names = constant_names(expected)
    for name, got, want in zip(names, weights_of(result), weights_of(expected), strict=True):
        if name not in elided and got is not None and want is not None:
            assert_close(want, got, f"weight {name}", tolerance=1e-6)


def _signature_shapes(model: ir.Model) -> list[str]:
    graph = model.graph
    return [f"{v.name}:{v.type}{v.shape}" for group in (graph.inputs, graph.outputs) for v in group]


def _bytes(model: ir.Model) -> bytes:
    return bytes(ir.to_proto(model).SerializeToString(deterministic=True))
