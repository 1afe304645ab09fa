"""Ops of ai.onnx.ml in plain ONNX: linear models and the preparation of features.

Source: https://onnx.ai/onnx/operators/ (ai.onnx.ml)
"""

from __future__ import annotations

import math

from onnx import TensorProto

from accelc.frontend.microsoft.call import Call, Opaque, Rule

DOMAIN = "ai.onnx.ml"


def _floats(call: Call, name: str) -> str:
    values = [float(value) for value in call.attr(name, [])]
    if not all(math.isfinite(value) for value in values):
        raise Opaque(f"{name} holds infinities or NaN")
    return call.add("Constant", value_floats=values)


def _real(call: Call) -> str:
    return call.add("Cast", call.operand(0), to=TensorProto.FLOAT)


def scaler(call: Call) -> None:
    """(x - offset) * scale."""
    shifted = call.add("Sub", _real(call), _floats(call, "offset"))
    call.gives(0, call.add("Mul", shifted, _floats(call, "scale")))


def binarizer(call: Call) -> None:
    """1 where x exceeds the threshold, else 0."""
    x = call.operand(0)
    above = call.add("Greater", x, call.number(float(call.attr("threshold", 0.0)), x))
    call.gives(0, call.add("CastLike", above, x))


def normalizer(call: Call) -> None:
    """Rows divided by their L1 or L2 norm, or by their largest element; rows of norm 0 stay."""
    x = _real(call)
    reduce = {"L1": "ReduceL1", "L2": "ReduceL2", "MAX": "ReduceMax"}[call.attr("norm", "MAX")]
    norm = call.add(reduce, x, call.ints(-1), keepdims=1)
    zero = call.add("Equal", norm, call.number(0.0, norm))
    call.gives(0, call.add("Div", x, call.add("Where", zero, call.number(1.0, norm), norm)))


def imputer(call: Call) -> None:
    """Missing elements, NaN or a given number, replaced."""
    if "imputed_value_floats" not in call.attributes:
        raise Opaque("integers are imputed")
    x, missing = call.operand(0), float(call.attr("replaced_value_float", 0.0))
    found = call.add("IsNaN", x) if math.isnan(missing) else call.add("Equal", x, call.number(missing, x))
    values = call.add("CastLike", _floats(call, "imputed_value_floats"), x)
    call.gives(0, call.add("Where", found, values, x))


def array_feature_extractor(call: Call) -> None:
    """Columns of the last dim; a vector counts as one row."""
    rank = call.rank(0)
    if not rank:
        raise Opaque("the rank of the data is not known")
    index = call.add("Reshape", call.operand(1), call.ints(-1))
    data = call.operand(0) if rank > 1 else call.add("Unsqueeze", call.operand(0), call.ints(0))
    call.gives(0, call.add("Gather", data, index, axis=-1))


def one_hot_encoder(call: Call) -> None:
    """A new last dim with a 1 at the element's category."""
    if "cats_int64s" not in call.attributes or not call.attr("zeros", 1):
        raise Opaque("categories are strings, or unknown ones are errors")
    x = call.add("Unsqueeze", call.add("Cast", call.operand(0), to=TensorProto.INT64), call.ints(-1))
    cats = call.ints(*call.attr("cats_int64s", []))
    call.gives(0, call.add("Cast", call.add("Equal", x, cats), to=TensorProto.FLOAT))


def label_encoder(call: Call) -> None:
    """Integers looked up in a table of integers or floats."""
    if "keys_int64s" not in call.attributes or not call.attr("keys_int64s", []):
        raise Opaque("keys are not integers")
    if "values_int64s" in call.attributes:
        values = call.ints(*call.attr("values_int64s", []))
        default = call.add("Constant", value_int=int(call.attr("default_int64", -1)))
    elif "values_floats" in call.attributes:
        values = _floats(call, "values_floats")
        default = call.add("Constant", value_float=float(call.attr("default_float", -0.0)))
    else:
        raise Opaque("values are strings or tensors")
    keys = call.ints(*call.attr("keys_int64s", []))
    same = call.add("Equal", call.add("Unsqueeze", call.operand(0), call.ints(-1)), keys)
    bits = call.add("Cast", same, to=TensorProto.INT32)
    place = call.add("ArgMax", bits, axis=-1, keepdims=0)
    known = call.add("Cast", call.add("ReduceMax", bits, call.ints(-1), keepdims=0), to=TensorProto.BOOL)
    call.gives(0, call.add("Where", known, call.add("Gather", values, place), default))


def _linear(call: Call, rows: int) -> str:
    """X @ coefficients' + intercepts, [N, rows]."""
    weights = call.add("Reshape", _floats(call, "coefficients"), call.ints(rows, -1))
    intercepts = [_floats(call, "intercepts")] if call.attr("intercepts", []) else []
    return call.add("Gemm", _real(call), weights, *intercepts, transB=1)


def transformed(call: Call, scores: str, post: str) -> str:
    """Scores [rows, classes] after ``post_transform``."""
    if post == "NONE":
        return scores
    if post == "SOFTMAX":
        return call.add("Softmax", scores, axis=-1)
    if post == "LOGISTIC":
        return call.add("Sigmoid", scores)
    if post == "SOFTMAX_ZERO":
        # Scores of 0 do not take part in the sum.
        top = call.add("ReduceMax", scores, call.ints(-1), keepdims=1)
        some = call.add("Greater", call.add("Abs", scores), call.number(1e-7, scores))
        parts = call.add("Exp", call.add("Sub", scores, top))
        total = call.add("ReduceSum", call.add("Where", some, parts, call.number(0.0, scores)), call.ints(-1))
        rest = call.add("Mul", scores, call.add("Exp", call.add("Neg", top)))
        return call.add("Div", call.add("Where", some, parts, rest), total)
    raise Opaque(f"post_transform {post}")


def two_scores(call: Call, score: str, post: str, *, share: bool) -> str:
    """Scores of two classes from the one score [rows, 1] of the second: onnxruntime's way to write them.

    Args:
        call: The call.
        score: What speaks for the second class.
        post: The ``post_transform``.
        share: The score is a share of 1; else the classes differ by sign.
    """
    if post == "LOGISTIC":
        both = call.add("Concat", call.add("Neg", score), score, axis=-1)
        return call.add("Sigmoid", both)
    if post not in ("NONE", "SOFTMAX", "SOFTMAX_ZERO"):
        raise Opaque(f"post_transform {post} of one score for two classes")
    other = call.add("Sub", call.number(1.0, score), score) if share else call.add("Neg", score)
    return call.add("Concat", other, score, axis=-1)


def class_labels(call: Call, ints: str, strings: str) -> tuple[str, int]:
    """The labels as a vector, and how many there are."""
    labels = [int(label) for label in call.attr(ints, [])]
    if labels:
        return call.ints(*labels), len(labels)
    texts = [bytes(label).decode() for label in call.attributes.get(strings, [])]
    if not texts or not all(text.isprintable() and not set(text) & set('"\\') for text in texts):
        raise Opaque("labels that are neither integers nor plain text")
    return call.add("Constant", value_strings=texts), len(texts)


def linear_regressor(call: Call) -> None:
    """A linear model, [N, targets]."""
    if call.rank(0) not in (2, None):
        raise Opaque("one row without a batch dim")
    scores = _linear(call, int(call.attr("targets", 1)))
    call.gives(0, transformed(call, scores, call.attr("post_transform", "NONE")))


def linear_classifier(call: Call) -> None:
    """Scores of each class, and the label of the largest; with one score for two classes that of its sign."""
    rows, post = len(call.attr("intercepts", [])), call.attr("post_transform", "NONE")
    labels, count = class_labels(call, "classlabels_ints", "classlabels_strings")
    if rows != count and (rows, count) != (1, 2):
        raise Opaque(f"{rows} scores for {count} classes")
    if call.rank(0) not in (2, None):
        raise Opaque("one row without a batch dim")
    scores = _linear(call, rows)
    if rows == 1:
        positive = call.add("Greater", call.add("Squeeze", scores, call.ints(-1)), call.number(0.0, scores))
        call.gives(0, call.add("Gather", labels, call.add("Cast", positive, to=TensorProto.INT64)))
        call.gives(1, two_scores(call, scores, post, share=True))
        return
    call.gives(0, call.add("Gather", labels, call.add("ArgMax", scores, axis=-1, keepdims=0)))
    call.gives(1, transformed(call, scores, post))


def svm_regressor(call: Call) -> None:
    """Sum of kernels between x and the support vectors, or a linear function without them.

    Source: https://onnx.ai/onnx/operators/onnx_aionnxml_SVMRegressor.html
    """
    if call.rank(0) not in (2, None) or call.attr("post_transform", "NONE") != "NONE":
        raise Opaque("one row without a batch dim, or a post_transform")
    x, supports = _real(call), int(call.attr("n_supports", 0))
    found = x
    if supports:
        vectors = call.add("Reshape", _floats(call, "support_vectors"), call.ints(supports, -1))
        found = _kernel(call, x, vectors)
    weights = call.add("Reshape", _floats(call, "coefficients"), call.ints(-1, 1))
    result = call.add("Gemm", found, weights, _floats(call, "rho"))
    if call.attr("one_class", 0):
        one, minus = call.number(1.0, result), call.number(-1.0, result)
        result = call.add("Where", call.add("Greater", result, call.number(0.0, result)), one, minus)
    call.gives(0, result)


def _kernel(call: Call, x: str, vectors: str) -> str:
    """[rows, vectors]."""
    kind = call.attr("kernel_type", "LINEAR")
    gamma, offset, degree = ([float(value) for value in call.attr("kernel_params", [])] + [0.0] * 3)[:3]
    if kind == "RBF":
        away = call.add("Sub", call.add("Unsqueeze", x, call.ints(1)), vectors)
        far = call.add("ReduceSumSquare", away, call.ints(-1), keepdims=0)
        return call.add("Exp", call.add("Mul", far, call.number(-gamma, far)))
    product = call.add("Gemm", x, vectors, transB=1)
    if kind == "LINEAR":
        return product
    line = call.add("Add", call.add("Mul", product, call.number(gamma, x)), call.number(offset, x))
    if kind == "POLY":
        return call.add("Pow", line, call.number(degree, x))
    if kind == "SIGMOID":
        return call.add("Tanh", line)
    raise Opaque(f"kernel_type {kind}")


RULES: dict[str, Rule] = {
    "ArrayFeatureExtractor": array_feature_extractor,
    "Binarizer": binarizer,
    "Imputer": imputer,
    "LabelEncoder": label_encoder,
    "LinearClassifier": linear_classifier,
    "LinearRegressor": linear_regressor,
    "Normalizer": normalizer,
    "OneHotEncoder": one_hot_encoder,
    "SVMRegressor": svm_regressor,
    "Scaler": scaler,
}
