"""SVMClassifier of ai.onnx.ml with support vectors: one against one, as libsvm does.

Source: https://onnx.ai/onnx/operators/onnx_aionnxml_SVMClassifier.html; T.-F. Wu, C.-J. Lin, R. C. Weng, Probability
estimates for multi-class classification by pairwise coupling, JMLR 5 (2004), algorithm 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from accelc.errors import UnsupportedError
from accelc.targets.host_ops.base import HostOp

_LEAST = 1e-7
"""Probabilities of pairs stay this far from 0 and 1."""


def svm_classifier(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """The class with most votes of pairs, and scores: of pairs, or probabilities of classes if their fit is given."""
    sizes = [int(size) for size in attrs.get("vectors_per_class", ())]
    if not sizes or attrs.get("post_transform", "NONE") != "NONE":
        raise UnsupportedError("SVMClassifier without support vectors, or with a post_transform")
    x = np.asarray(inputs[0], np.float32)
    x = x.reshape(-1, x.shape[-1])
    vectors = np.asarray(attrs["support_vectors"], np.float32).reshape(sum(sizes), -1)
    kernels = _kernels(x, vectors, attrs).astype(np.float32)
    scores = _pair_scores(kernels, sizes, attrs)
    pairs = [(i, j) for i in range(len(sizes)) for j in range(i + 1, len(sizes))]
    votes = np.zeros((len(x), len(sizes)), np.int64)
    for column, (i, j) in enumerate(pairs):
        won = scores[:, column] > 0
        votes[:, i] += won
        votes[:, j] += ~won
    known: np.ndarray = np.asarray(attrs.get("classlabels_ints", ()), np.int64)
    if not known.size:
        known = np.asarray([str(label) for label in attrs["classlabels_strings"]], dtype=object)
    if attrs.get("prob_a"):
        scores = _probabilities(scores, pairs, len(sizes), attrs)
    elif len(sizes) == 2:
        scores = np.concatenate([-scores, scores], axis=1)
    return [known[votes.argmax(axis=1)], scores.astype(np.float32)]


def _kernels(x: np.ndarray, vectors: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
    """[rows, vectors]."""
    kind = str(attrs.get("kernel_type", "LINEAR"))
    gamma, offset, degree = ([float(value) for value in attrs.get("kernel_params", ())] + [0.0] * 3)[:3]
    if kind == "RBF":
        rows = [np.square(row - vectors).sum(axis=1) for row in x]
        return np.asarray(np.exp(-gamma * np.array(rows).reshape(len(x), -1)))
    product = x @ vectors.T
    if kind == "POLY":
        return np.asarray((gamma * product + offset) ** degree)
    return np.asarray(np.tanh(gamma * product + offset)) if kind == "SIGMOID" else np.asarray(product)


def _pair_scores(kernels: np.ndarray, sizes: list[int], attrs: Mapping[str, Any]) -> np.ndarray:
    """[rows, pairs]: above 0 the first of the pair is the likelier."""
    weights = np.asarray(attrs["coefficients"], np.float32).reshape(len(sizes) - 1, -1)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    rho = np.asarray(attrs["rho"], np.float32)
    found: list[np.ndarray] = []
    for i in range(len(sizes)):
        for j in range(i + 1, len(sizes)):
            first, second = slice(starts[i], starts[i + 1]), slice(starts[j], starts[j + 1])
            score = kernels[:, first] @ weights[j - 1, first] + kernels[:, second] @ weights[i, second]
            found.append(np.asarray(score + rho[len(found)]))
    return np.stack(found, axis=1)


def _probabilities(
    scores: np.ndarray, pairs: list[tuple[int, int]], classes: int, attrs: Mapping[str, Any]
) -> np.ndarray:
    """[rows, classes] from the probabilities of pairs."""
    a, b = (np.asarray(attrs[name], np.float64) for name in ("prob_a", "prob_b"))
    with np.errstate(over="ignore"):
        wins = np.clip(1 - 1 / (1 + np.exp(-(scores * a + b))), _LEAST, 1 - _LEAST)
    found = np.zeros((len(scores), classes))
    for row, shares in enumerate(wins):
        r = np.zeros((classes, classes))
        for (i, j), share in zip(pairs, shares, strict=True):
            r[i, j], r[j, i] = share, 1 - share
        found[row] = _coupled(r)
    return found


def _coupled(r: np.ndarray) -> np.ndarray:
    """Probabilities of classes that fit those of pairs best; ``r[i, j]`` is that of i against j."""
    k = len(r)
    q = -r.T * r
    np.fill_diagonal(q, (r**2).sum(axis=0))
    p = np.full(k, 1 / k)
    for _ in range(max(100, k)):
        qp = q @ p
        total = p @ qp
        if np.abs(qp - total).max() < 0.005 / k:
            break
        for t in range(k):
            step = (total - qp[t]) / q[t, t]
            p[t] += step
            total = (total + step * (step * q[t, t] + 2 * qp[t])) / (1 + step) ** 2
            qp = (qp + step * q[t]) / (1 + step)
            p /= 1 + step
    return p


OPS: dict[tuple[str, str], HostOp] = {("ai.onnx.ml", "SVMClassifier"): svm_classifier}
"""Host ops by (domain, op)."""
