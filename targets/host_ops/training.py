"""Ops of training: Dropout and BatchNormalization in training mode, and the optimizers of ai.onnx.preview.training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from accelc.targets.host_ops.base import HostOp, given

_DOMAIN = "ai.onnx.preview.training"


def _number(inputs: Sequence[Any], i: int, default: float) -> float:
    found = given(inputs, i)
    return default if found is None or np.size(found) == 0 else float(np.asarray(found).reshape(-1)[0])


def dropout(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Elements zeroed with probability ``ratio`` while training, the rest scaled up, and the mask of those kept.

    With a ``seed`` the draw is the same each time. Source: ONNX Dropout-22.
    """
    x, ratio, training = np.asarray(inputs[0]), _number(inputs, 1, 0.5), _number(inputs, 2, 0.0)
    if not training or ratio == 0:
        return [x, np.ones(x.shape, bool)]
    mask = np.random.RandomState(attrs.get("seed")).uniform(0, 1, x.shape) >= ratio
    scale = 1 / (1 - ratio) if ratio < 1 else 0.0
    return [np.where(mask, x * x.dtype.type(scale), x.dtype.type(0)), mask]


def batch_normalization(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Normalised per channel; in training by the batch's own mean and variance, which the running ones move towards.

    Source: ONNX BatchNormalization-15.
    """
    x, scale, bias, mean, variance = (np.asarray(operand) for operand in inputs[:5])
    momentum, epsilon = float(attrs.get("momentum", 0.9)), float(attrs.get("epsilon", 1e-5))
    wide = x.astype(np.float64)
    used_mean, used_variance = mean.astype(np.float64), variance.astype(np.float64)
    results = []
    if attrs.get("training_mode", 0):
        axes = tuple(axis for axis in range(x.ndim) if axis != 1)
        used_mean, used_variance = wide.mean(axes), wide.var(axes)
        for running, seen in ((mean, used_mean), (variance, used_variance)):
            results.append((running * momentum + seen * (1 - momentum)).astype(running.dtype))
    shape = (-1, *(1,) * (x.ndim - 2))
    factor = scale.astype(np.float64) / np.sqrt(used_variance + epsilon)
    y = (wide - used_mean.reshape(shape)) * factor.reshape(shape) + bias.astype(np.float64).reshape(shape)
    return [y.astype(x.dtype), *results]


Update = Callable[[float, float, Sequence[np.ndarray], Mapping[str, Any]], tuple[np.ndarray, ...]]


def _optimizer(update: Update, operands: int) -> HostOp:
    """An op that updates any number of tensors: rate, count, then all of each operand; results in the same order."""

    def run(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
        rate, count = _number(inputs, 0, 0.0), _number(inputs, 1, 0.0)
        tensors = [np.asarray(x) for x in inputs[2:]]
        n = len(tensors) // operands
        found = [update(rate, count, tensors[i::n], attrs) for i in range(n)]
        return [
            part.astype(tensors[i].dtype)
            for parts in zip(*found, strict=True)
            for i, part in enumerate(parts)
        ]

    run.__doc__ = update.__doc__
    return run


def _regularized(operands: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> np.ndarray:
    return np.asarray(float(attrs.get("norm_coefficient", 0.0)) * operands[0] + operands[1])


def adagrad(
    rate: float, count: float, operands: Sequence[np.ndarray], attrs: Mapping[str, Any]
) -> tuple[np.ndarray, ...]:
    """One step of Adagrad on (x, gradient, squares): new x and squares. Source: ONNX Adagrad-1."""
    x, _, squares = operands
    gradient = _regularized(operands, attrs)
    summed = squares + gradient * gradient
    adjusted = rate / (1 + count * float(attrs.get("decay_factor", 0.0)))
    return x - adjusted * gradient / (np.sqrt(summed) + float(attrs.get("epsilon", 1e-6))), summed


def adam(
    rate: float, count: float, operands: Sequence[np.ndarray], attrs: Mapping[str, Any]
) -> tuple[np.ndarray, ...]:
    """One step of Adam on (x, gradient, mean, squares): new x, mean and squares. Source: ONNX Adam-1."""
    x, _, mean, squares = operands
    alpha, beta = float(attrs.get("alpha", 0.9)), float(attrs.get("beta", 0.999))
    gradient = _regularized(operands, attrs)
    mean = alpha * mean + (1 - alpha) * gradient
    squares = beta * squares + (1 - beta) * gradient * gradient
    if count > 0:
        rate = rate * float(np.sqrt(1 - beta**count)) / (1 - alpha**count)
    moved = x - rate * mean / (np.sqrt(squares) + float(attrs.get("epsilon", 1e-6)))
    return (1 - float(attrs.get("norm_coefficient_post", 0.0))) * moved, mean, squares


def momentum(
    rate: float, count: float, operands: Sequence[np.ndarray], attrs: Mapping[str, Any]
) -> tuple[np.ndarray, ...]:
    """One step with momentum, plain or Nesterov's, on (x, gradient, velocity): new x and velocity.

    Source: ONNX Momentum-1.
    """
    x, _, velocity = operands
    alpha, beta = float(attrs["alpha"]), float(attrs["beta"])
    gradient = _regularized(operands, attrs)
    velocity = alpha * velocity + (beta if count > 0 else 1.0) * gradient
    step = gradient + alpha * velocity if attrs.get("mode") == "nesterov" else velocity
    return x - rate * step, velocity


OPS: dict[tuple[str, str], HostOp] = {
    ("", "BatchNormalization"): batch_normalization,
    ("", "Dropout"): dropout,
    (_DOMAIN, "Adagrad"): _optimizer(adagrad, 3),
    (_DOMAIN, "Adam"): _optimizer(adam, 4),
    (_DOMAIN, "Momentum"): _optimizer(momentum, 3),
}
"""Host ops by (domain, op)."""
