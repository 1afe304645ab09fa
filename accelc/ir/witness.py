"""A second opinion on a failed shape inference: ONNX's own, for one node.

The symbolic library is young: a model is called invalid only if ONNX's rules agree that it is.
"""

from __future__ import annotations

import onnx
import onnx.defs
import onnx.shape_inference
import onnx_ir as ir

from accelc.ir.schemas import schema_of

MAX_CONSTANT_BYTES = 1 << 16


def confirms(node: ir.Node, model: ir.Model, problem: str) -> bool:
    """Whether ONNX, too, finds this node wrong.

    Args:
        node: The node whose inference failed.
        model: Its model, for the opset.
        problem: What the first opinion said; a contradiction of a declared shape stands unless ONNX infers
            the declared shape.
    """
    contradicts = "conflict for" in problem or "mismatch for" in problem
    version = model.opset_imports.get(node.domain)
    if version is None or schema_of(node.op_type, node.domain, version) is None:
        return contradicts
    if any(
        attr.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for attr in node.attributes.values()
    ):
        return contradicts
    try:
        proto = ir.to_proto(node)
        types: dict[str, onnx.TypeProto] = {}
        data: dict[str, onnx.TensorProto] = {}
        for value in node.inputs:
            if value is None or value.name is None or value.type is None:
                continue
            types[value.name] = ir.to_proto(value).type
            tensor = value.const_value
            if tensor is not None and tensor.nbytes <= MAX_CONSTANT_BYTES:
                data[value.name] = ir.to_proto(tensor)
        found = onnx.shape_inference.infer_node_outputs(
            onnx.defs.get_schema(node.op_type, version, node.domain),
            proto,
            types,
            data,
            opset_imports=[onnx.helper.make_opsetid(d, v) for d, v in model.opset_imports.items()],
        )
    except onnx.shape_inference.InferenceError:
        return True
    except (RuntimeError, ValueError, TypeError, KeyError):
        return contradicts
    if not contradicts:
        return False
    return not any(_agrees(out, found[out.name]) for out in node.outputs if out.name in found)


def _agrees(value: ir.Value, inferred: onnx.TypeProto) -> bool:
    """Whether ONNX infers exactly the declared, static shape."""
    if (
        value.shape is None
        or not inferred.HasField("tensor_type")
        or not inferred.tensor_type.HasField("shape")
    ):
        return False
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in inferred.tensor_type.shape.dim]
    return dims == [dim if isinstance(dim, int) else None for dim in value.shape.dims] and None not in dims
