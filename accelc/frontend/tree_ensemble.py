"""Tree ensembles of ai.onnx.ml in plain ONNX: all trees of all rows step down one level at a time.

A node is a row of tables (feature, threshold, child if true, child if false, weights); leaves lead to themselves,
so that the deepest tree says how many steps there are. Work is rows x trees x depth, in gathers.
Source: https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleRegressor.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto

from accelc.frontend.microsoft.call import Call, Opaque, Rule

_COMPARE = {
    "BRANCH_LEQ": "LessOrEqual",
    "BRANCH_LT": "Less",
    "BRANCH_GTE": "GreaterOrEqual",
    "BRANCH_GT": "Greater",
    "BRANCH_EQ": "Equal",
}
MAX_DEPTH = 64
MAX_WEIGHTS = 1 << 20
"""Nodes times targets: the table of leaf weights is dense."""


@dataclass(frozen=True)
class _Trees:
    """Tables over all nodes of all trees."""

    features: np.ndarray
    thresholds: np.ndarray
    yes: np.ndarray
    no: np.ndarray
    missing_yes: np.ndarray
    roots: np.ndarray
    depth: int
    compare: str
    place: dict[tuple[int, int], int]


def _ints(call: Call, name: str) -> np.ndarray:
    return np.asarray(call.attr(name, []), dtype=np.int64)


def _read(call: Call) -> _Trees:
    modes = [mode.decode() for mode in call.attributes.get("nodes_modes", [])]
    trees, ids = _ints(call, "nodes_treeids"), _ints(call, "nodes_nodeids")
    count = len(modes)
    if not count or "nodes_values" not in call.attributes:
        raise Opaque("thresholds are not given as floats")
    kinds = set(modes) - {"LEAF"}
    if len(kinds) > 1 or not kinds <= _COMPARE.keys():
        raise Opaque(f"comparisons {', '.join(sorted(kinds))}")
    place = {(int(tree), int(node)): i for i, (tree, node) in enumerate(zip(trees, ids, strict=True))}
    own = np.arange(count)
    leaf = np.array([mode == "LEAF" for mode in modes])
    children = []
    for name in ("nodes_truenodeids", "nodes_falsenodeids"):
        pairs = zip(trees, _ints(call, name), strict=True)
        found = np.array([place.get((int(tree), int(child)), -1) for tree, child in pairs])
        found = np.where(leaf, own, found)
        if (found < 0).any():
            raise Opaque("a child is no node of its tree")
        children.append(found)
    roots = np.array(sorted({int(tree): i for i, tree in reversed(list(enumerate(trees)))}.values()))
    missing = _ints(call, "nodes_missing_value_tracks_true")
    return _Trees(
        _ints(call, "nodes_featureids"),
        np.asarray(call.attr("nodes_values", []), dtype=np.float32),
        children[0],
        children[1],
        missing if len(missing) else np.zeros(count, np.int64),
        roots,
        _depth(roots, children, leaf),
        _COMPARE[kinds.pop()] if kinds else "LessOrEqual",
        place,
    )


def _depth(roots: np.ndarray, children: list[np.ndarray], leaf: np.ndarray) -> int:
    """Steps from the roots until only leaves are left."""
    level, depth = roots, 0
    while (inner := level[~leaf[level]]).size:
        level = np.unique(np.concatenate([child[inner] for child in children]))
        depth += 1
        if depth > MAX_DEPTH:
            raise Opaque(f"trees deeper than {MAX_DEPTH}")
    return depth


def _leaf_weights(call: Call, trees: _Trees, kind: str, targets: int) -> np.ndarray:
    """[nodes, targets]: what a leaf adds to each target."""
    if targets * len(trees.yes) > MAX_WEIGHTS:
        raise Opaque("too many leaves times targets")
    names = (f"{kind}_treeids", f"{kind}_nodeids", f"{kind}_ids")
    columns = [_ints(call, name) for name in names]
    weights = np.zeros((len(trees.yes), targets), np.float32)
    for tree, node, target, weight in zip(*columns, call.attr(f"{kind}_weights", []), strict=True):
        at = trees.place.get((int(tree), int(node)))
        if at is None or not 0 <= target < targets:
            raise Opaque("a weight of no leaf, or of no target")
        weights[at, target] += weight
    return weights


def _table(call: Call, values: np.ndarray) -> str:
    whole = values.dtype.kind in "iu"
    listed: dict[str, Any] = (
        {"value_ints": values.tolist()} if whole else {"value_floats": [float(value) for value in values]}
    )
    return call.add("Constant", **listed)


def _sums(call: Call, trees: _Trees, weights: np.ndarray) -> str:
    """[rows, targets]: the weights of the leaves that each row ends in, added over the trees."""
    if call.rank(0) != 2:
        raise Opaque(f"rows of rank {call.rank(0) or 'unknown'}")
    if not np.isfinite(trees.thresholds).all():
        raise Opaque("a threshold is infinite or NaN")
    x = call.add("Cast", call.operand(0), to=TensorProto.FLOAT)
    rows = call.add("Shape", x, start=0, end=1)
    shape = call.add("Concat", rows, call.ints(len(trees.roots)), axis=0)
    at = call.add("Expand", _table(call, trees.roots), shape)
    features, thresholds, yes, no = (
        _table(call, table) for table in (trees.features, trees.thresholds, trees.yes, trees.no)
    )
    tracks = _table(call, trees.missing_yes) if trees.missing_yes.any() else ""
    for _ in range(trees.depth):
        value = call.add("GatherElements", x, call.add("Gather", features, at), axis=1)
        taken = call.add(trees.compare, value, call.add("Gather", thresholds, at))
        if tracks:
            track = call.add("Cast", call.add("Gather", tracks, at), to=TensorProto.BOOL)
            taken = call.add("Or", taken, call.add("And", call.add("IsNaN", value), track))
        at = call.add("Where", taken, call.add("Gather", yes, at), call.add("Gather", no, at))
    flat = _table(call, weights.reshape(-1))
    table = call.add("Reshape", flat, call.ints(*weights.shape))
    return call.add("ReduceSum", call.add("Gather", table, at), call.ints(1), keepdims=0)


def _finished(call: Call, scores: str) -> str:
    base = [float(value) for value in call.attr("base_values", [])]
    if base:
        scores = call.add("Add", scores, call.add("Constant", value_floats=base))
    post = call.attr("post_transform", "NONE")
    if post not in ("NONE", "SOFTMAX", "LOGISTIC"):
        raise Opaque(f"post_transform {post}")
    return {
        "NONE": lambda: scores,
        "SOFTMAX": lambda: call.add("Softmax", scores, axis=-1),
        "LOGISTIC": lambda: call.add("Sigmoid", scores),
    }[post]()


def regressor(call: Call) -> None:
    """Sums, or means, of leaf weights [rows, targets]."""
    trees = _read(call)
    aggregate = call.attr("aggregate_function", "SUM")
    if aggregate not in ("SUM", "AVERAGE"):
        raise Opaque(f"aggregate_function {aggregate}")
    weights = _leaf_weights(call, trees, "target", int(call.attr("n_targets", 1)))
    total = _sums(call, trees, weights)
    if aggregate == "AVERAGE":
        total = call.add("Div", total, call.number(float(len(trees.roots)), total))
    call.gives(0, _finished(call, total))


def classifier(call: Call) -> None:
    """Scores [rows, classes] and the label of the largest; labels are integers, each class has weights."""
    labels = [int(label) for label in call.attr("classlabels_int64s", [])]
    if len(labels) == 2:
        raise Opaque("two classes: their label follows other rules than the largest score")
    if len(labels) < 3 or set(_ints(call, "class_ids").tolist()) != set(range(len(labels))):
        raise Opaque("labels are strings, or a class has no weights of its own")
    trees = _read(call)
    scores = _sums(call, trees, _leaf_weights(call, trees, "class", len(labels)))
    done = _finished(call, scores)
    best = call.add("ArgMax", done, axis=-1, keepdims=0)
    call.gives(0, call.add("Gather", call.ints(*labels), best))
    call.gives(1, done)


RULES: dict[str, Rule] = {"TreeEnsembleRegressor": regressor, "TreeEnsembleClassifier": classifier}
