"""Check shapes and dtypes by ONNX's own strict inference: the word on whether operands fit an op.

The symbolic inference that passes use keeps symbols, but is too young to call a model invalid.
"""

from __future__ import annotations

import re

import onnx
import onnx.checker
import onnx.shape_inference

from accelc.errors import InvalidModelError
from accelc.ir.schemas import domain_of

_PLACE = re.compile(r"\(op_type:(?P<op>[^,)]*)(?:, node name: (?P<name>[^)]*))?\): (?P<why>[^\n]*)")


def check_shapes(model: onnx.ModelProto) -> list[str]:
    """Infer strictly, and say which node does not fit.

    Args:
        model: Checked, without functions; graph inputs may stand for weights.

    Returns:
        Notes: complaints that are not certain.

    Raises:
        InvalidModelError: Operands do not fit an op, or a declared shape or dtype contradicts the inferred one.
    """
    try:
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        return _judge(model, str(error))
    except onnx.checker.ValidationError as error:
        return _judge(model, str(error))
    except (RuntimeError, ValueError) as error:
        return [f"ONNX cannot infer this model: {_one_line(str(error))}"]
    return []


def _judge(model: onnx.ModelProto, message: str) -> list[str]:
    if message.count("Inference error(s)") > 1:
        # Raised inside the body by which ONNX defines an op: known to be wrong for MeanVarianceNormalization.
        return [f"ONNX cannot infer an op by its definition: {_one_line(message)}"]
    found = _PLACE.search(message)
    op, name = (found["op"], found["name"] or "") if found else ("", "")
    why = found["why"] if found else message
    where = [
        _place(model, node)
        for node in model.graph.node
        if node.op_type == op and (not name or node.name == name)
    ]
    if not where and op:
        opset = next((entry.version for entry in model.opset_import if not domain_of(entry.domain)), "?")
        where = [f"node {name or '(unnamed)'} ({op}, opset {opset})"]
    raise InvalidModelError(
        f"{op or 'a node'} does not fit its operands or the declared shape",
        where=where[:3],
        why=_one_line(re.sub(r"^\[\w+\] ", "", why)),
    )


def _place(model: onnx.ModelProto, node: onnx.NodeProto) -> str:
    domain = domain_of(node.domain)
    opset = next((entry.version for entry in model.opset_import if domain_of(entry.domain) == domain), "?")
    name = node.name or next((out for out in node.output if out), "(unnamed)")
    return f"node {name} ({node.op_type}, opset {opset})"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
