"""Tree ensembles of ai.onnx.ml in plain ONNX: all trees of all rows step down one level at a time.

A node is a row of tables (feature, threshold, child if true, child if false, weights); leaves lead to themselves,
so that the deepest tree says how many steps there are. Work is rows x trees x depth, in gathers.
Source: https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleRegressor.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

from accelc.frontend.classic_ml import class_labels, transformed, two_scores
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
    return transformed(call, scores, call.attr("post_transform", "NONE"))


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
    """Scores [rows, classes] and the label of the largest; two classes have rules of their own."""
    labels, count = class_labels(call, "classlabels_int64s", "classlabels_strings")
    used = sorted(set(_ints(call, "class_ids").tolist()))
    if count == 2:
        _two_classes(call, labels, used)
        return
    if count < 2 or used != list(range(count)):
        raise Opaque("a class has no weights of its own")
    trees = _read(call)
    done = _finished(call, _sums(call, trees, _leaf_weights(call, trees, "class", count)))
    best = call.add("ArgMax", done, axis=-1, keepdims=0)
    call.gives(0, call.add("Gather", labels, best))
    call.gives(1, done)


def _two_classes(call: Call, labels: str, used: list[int]) -> None:
    """As onnxruntime does: the second class wins if the one score, or its own, exceeds a threshold.

    The threshold is 1/2 where all weights are shares, that is not negative, and 0 otherwise.
    """
    base, post = call.attr("base_values", []), call.attr("post_transform", "NONE")
    if used == [0, 1] and (base or [int(label) for label in call.attr("classlabels_int64s", [])] != [0, 1]):
        raise Opaque("two classes with base values, or with labels other than 0 and 1")
    if used not in ([0], [0, 1]) or len(base) > 1:
        raise Opaque(f"two classes with weights of {used} and {len(base)} base values")
    trees = _read(call)
    scores = _sums(call, trees, _leaf_weights(call, trees, "class", len(used)))
    if base:
        scores = call.add("Add", scores, call.number(float(base[0]), scores))
    share = len(used) == 1 and all(weight >= 0 for weight in call.attr("class_weights", []))
    last = call.add("Gather", scores, call.add("Constant", value_int=len(used) - 1), axis=1)
    second = call.add("Greater", last, call.number(0.5 if share else 0.0, scores))
    call.gives(0, call.add("Gather", labels, call.add("Cast", second, to=TensorProto.INT64)))
    both = two_scores(call, scores, post, share=share) if len(used) == 1 else transformed(call, scores, post)
    call.gives(1, both)


def ensemble(call: Call) -> None:
    """The newer form (ai.onnx.ml 5), in which leaves are a table of their own.

    Source: https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsemble.html
    """
    targets, aggregate = int(call.attr("n_targets", 1)), int(call.attr("aggregate_function", 1))
    if aggregate not in (0, 1):
        raise Opaque(f"aggregate_function {aggregate}")
    trees, weights = _read_ensemble(call, targets)
    total = _sums(call, trees, weights)
    if aggregate == 0:
        total = call.add("Div", total, call.number(float(len(trees.roots)), total))
    posts = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
    post = int(call.attr("post_transform", 0))
    call.gives(0, transformed(call, total, posts[post] if 0 <= post < len(posts) else str(post)))


def _array(call: Call, name: str) -> np.ndarray:
    found = call.attributes.get(name)
    if not isinstance(found, TensorProto):
        raise Opaque(f"{name} is missing")
    return numpy_helper.to_array(found)


def _read_ensemble(call: Call, targets: int) -> tuple[_Trees, np.ndarray]:
    """Tables over inner nodes and then leaves, and what each adds to the targets."""
    modes, splits = _array(call, "nodes_modes"), _array(call, "nodes_splits")
    leaf_weights, leaf_targets = _array(call, "leaf_weights"), _ints(call, "leaf_targetids")
    names = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ")
    kinds = set(modes.tolist())
    if len(kinds) != 1 or not kinds <= set(range(len(names))) or splits.dtype != np.float32:
        raise Opaque("comparisons of several kinds or with sets, or thresholds other than float32")
    inner, leaves = len(modes), len(leaf_weights)
    count = inner + leaves
    if targets * count > MAX_WEIGHTS or not ((leaf_targets >= 0) & (leaf_targets < targets)).all():
        raise Opaque("too many leaves times targets, or a leaf of no target")
    own = np.arange(inner, count)
    children = []
    for side in ("true", "false"):
        to = _ints(call, f"nodes_{side}nodeids") + inner * _ints(call, f"nodes_{side}leafs")
        if len(to) != inner or not ((to >= 0) & (to < count)).all():
            raise Opaque("a child is no node")
        children.append(np.concatenate([to, own]))
    rest = np.zeros(leaves, np.int64)
    missing = _ints(call, "nodes_missing_value_tracks_true")
    weights = np.zeros((count, targets), np.float32)
    weights[own, leaf_targets] = leaf_weights
    roots = _ints(call, "tree_roots")
    trees = _Trees(
        np.concatenate([_ints(call, "nodes_featureids"), rest]),
        np.concatenate([splits, rest.astype(np.float32)]),
        children[0],
        children[1],
        np.concatenate([missing if len(missing) else np.zeros(inner, np.int64), rest]),
        roots,
        _depth(roots, children, np.arange(count) >= inner),
        _COMPARE[names[kinds.pop()]],
        {},
    )
    return trees, weights


RULES: dict[str, Rule] = {
    "TreeEnsemble": ensemble,
    "TreeEnsembleClassifier": classifier,
    "TreeEnsembleRegressor": regressor,
}
