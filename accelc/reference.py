"""The oracles: onnxruntime for whole models, onnx.reference for single ops of the current opset."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from accelc.errors import InvalidModelError, UnsupportedError
from accelc.ir.pass_base import node_name
from accelc.ir.weights import skeleton, subgraphs_of

Source = ir.Model | bytes | str | Path
"""What the whole-model oracle runs: a model, its serialized bytes, or a path to an ONNX file."""

_QUIET = 4  # onnxruntime's "fatal": verification reports what failed itself
_INLINE_DTYPES = frozenset({"V", "O"})  # NumPy kinds (bfloat16, int4, strings) that OrtValue does not take


class Oracle:
    """onnxruntime on one model, the session kept for several runs.

    Args:
        model: The model; a path is opened by onnxruntime itself, external data beside it included.
        optimize: Let onnxruntime optimise the graph. The same model without is the second opinion that
            tells rounding from error.
        threads: Threads of one run.

    Raises:
        UnsupportedError: onnxruntime cannot load the model.
    """

    def __init__(self, model: Source, *, optimize: bool = True, threads: int = 1) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = _QUIET
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
        self._keep: list[Any] = []  # onnxruntime borrows the weights' memory
        source = self._with_weights(model, options) if isinstance(model, ir.Model) else model
        try:
            self._session = ort.InferenceSession(
                str(source) if isinstance(source, Path) else source,
                options,
                providers=["CPUExecutionProvider"],
            )
        except Exception as error:  # onnxruntime raises a dozen unrelated classes
            raise UnsupportedError("onnxruntime cannot load the model", why=_first_line(error)) from error
        self.input_names = tuple(arg.name for arg in self._session.get_inputs())
        self.output_names = tuple(arg.name for arg in self._session.get_outputs())

    def _with_weights(self, model: ir.Model, options: Any) -> bytes:
        """Serialize without the weights and lend them to the session, so that 2 GB is no limit."""
        import onnxruntime as ort

        small, weights = skeleton(model, location="weights.bin")
        names: list[str] = []
        for weight in weights:
            slot = small.graph.initializers[weight.name]
            if not slot.uses() and not slot.is_graph_output():
                del small.graph.initializers[weight.name]  # onnxruntime drops it and then misses it
                continue
            array = weight.tensor.numpy()
            if array.dtype.kind in _INLINE_DTYPES:
                slot.const_value = weight.tensor
                continue
            value = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
            names.append(weight.name)
            self._keep.append(value)
        options.add_external_initializers(names, list(self._keep))
        try:
            return bytes(ir.to_proto(small).SerializeToString())
        except Exception as error:
            raise UnsupportedError(
                "the model cannot be serialized for onnxruntime", why=_first_line(error)
            ) from error

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Outputs in the model's order.

        Raises:
            UnsupportedError: onnxruntime rejects these inputs or fails on the way.
        """
        try:
            results = self._session.run(
                None, {name: feeds[name] for name in self.input_names if name in feeds}
            )
        except Exception as error:
            raise UnsupportedError("onnxruntime cannot run the model", why=_first_line(error)) from error
        return [np.asarray(result) for result in results]


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def run_onnxruntime(
    model: Source, feeds: Mapping[str, np.ndarray], *, optimize: bool = True, threads: int = 1
) -> list[np.ndarray]:
    """Run ``model`` once in onnxruntime; outputs in order.

    Raises:
        UnsupportedError: onnxruntime cannot load or run it.
    """
    return Oracle(model, optimize=optimize, threads=threads).run(feeds)


def oracle_spread(
    model: Source, feeds: Mapping[str, np.ndarray], *, threads: int = 1
) -> tuple[list[np.ndarray], float]:
    """Outputs of optimised onnxruntime, and how far its unoptimised run is from them.

    The spread is max|a-b| / max|a| over floating-point outputs: what rounding alone does to this model.
    """
    first = run_onnxruntime(model, feeds, optimize=True, threads=threads)
    second = run_onnxruntime(model, feeds, optimize=False, threads=threads)
    return first, max((relative_error(a, b) for a, b in zip(first, second, strict=True)), default=0.0)


def relative_error(expected: np.ndarray, actual: np.ndarray) -> float:
    """max|a-b| / max|a| over the finite elements; 0 for other than floating-point arrays and empty ones.

    Where max|a| is 0 the absolute error is returned. Arrays of different shapes are infinitely far apart.
    """
    if expected.shape != actual.shape:
        return float("inf")
    if not is_float(expected.dtype) or expected.size == 0:
        return 0.0
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    a, b = expected.astype(wide), actual.astype(wide)
    finite = np.isfinite(a) & np.isfinite(b)
    if not finite.any():
        return 0.0
    difference = float(np.abs(np.where(finite, a, 0) - np.where(finite, b, 0)).max())
    scale = float(np.abs(a[finite]).max())
    return difference / scale if scale > 0 else difference


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether values of ``dtype`` are compared within a bound; ml_dtypes' small floats included."""
    return dtype.kind in "fc" or "float" in dtype.name


def evaluate_node(
    node: ir.Node,
    inputs: Sequence[np.ndarray | None],
    *,
    captures: Mapping[str, np.ndarray] | None = None,
    opset: int | None = None,
) -> list[np.ndarray]:
    """Run one node with onnx.reference.

    Args:
        node: A node of a standard ONNX domain.
        inputs: One array per operand, None for an absent one.
        captures: Values that the node's subgraphs take from outside, by name; constants are found here.
        opset: Version of the node's domain; by default the one its graph imports.

    Returns:
        One array per output, in order, with the dtypes ONNX gives.

    Raises:
        UnsupportedError: The node cannot be evaluated here: unknown op, integer division by zero or
            overflow, sequence or optional results, or the reference failed.
    """
    where = f"node {node_name(node)} ({node.op_type})"
    if node.domain not in ("", "ai.onnx.ml"):
        raise UnsupportedError(f"no reference for {node.domain}::{node.op_type}", where=where)
    _guard_integer_division(node, inputs, where)
    if node.domain == "" and node.op_type == "Div" and _is_int(inputs):
        a, b = inputs
        assert a is not None  # _is_int looked
        assert b is not None
        return [_divide_exactly(a, b)]
    if node.domain == "" and node.op_type == "GatherElements":
        data, indices = inputs
        assert data is not None  # operands of GatherElements are not optional
        assert indices is not None
        return [_gather_elements(data, indices, node.attributes.get_int("axis", 0), where)]
    model, feeds = _single_node_model(node, inputs, captures or {}, opset, where)
    try:
        from onnx.reference import ReferenceEvaluator

        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            results = ReferenceEvaluator(model).run(None, feeds)
    except Exception as error:  # the reference raises whatever NumPy raises
        raise UnsupportedError(
            "the reference cannot evaluate the node", where=where, why=_first_line(error)
        ) from error
    if not all(isinstance(result, np.ndarray | np.generic) for result in results):
        raise UnsupportedError("the node does not return tensors", where=where)
    return [np.asarray(result) for result in results]


def has_reference(domain: str, op_type: str) -> bool:
    """Whether :func:`evaluate_node` knows the newest version of an op of the standard."""
    if domain == "ai.onnx.ml":
        from onnx.reference.ops.aionnxml import load_op
    elif domain in ("", "ai.onnx.preview.training"):
        from onnx.reference.ops import load_op
    else:
        return False
    from onnx.defs import get_schema

    schema: Any = get_schema(op_type, domain)  # stubs lack a part
    if schema.has_function or schema.has_context_dependent_function:
        return True
    try:
        load_op(domain, op_type, schema.since_version)
    except (ValueError, NotImplementedError, ImportError):
        return False
    except Exception as error:  # errors of the library's own that share no base
        return "Implementation" not in type(error).__name__
    return True


def _is_int(inputs: Sequence[np.ndarray | None]) -> bool:
    return len(inputs) == 2 and all(x is not None and x.dtype.kind in "iu" for x in inputs)


def _guard_integer_division(node: ir.Node, inputs: Sequence[np.ndarray | None], where: str) -> None:
    """Integer division by zero and INT_MIN / -1 have no value in ONNX, and trap in compiled code."""
    if node.domain != "" or node.op_type not in ("Div", "Mod") or not _is_int(inputs):
        return
    a, b = inputs
    assert a is not None
    assert b is not None
    if (b == 0).any():
        raise UnsupportedError("integer division by zero", where=where)
    if a.dtype.kind == "i" and ((a == np.iinfo(a.dtype).min).any() and (b == -1).any()):
        raise UnsupportedError(f"integer overflow: {np.iinfo(a.dtype).min} / -1", where=where)


def _divide_exactly(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Integer quotient rounded towards zero (ONNX Div-14); onnx.reference loses bits in float64."""
    quotient = a // b
    inexact = (a % b != 0) & ((a < 0) != (b < 0))
    return np.asarray(quotient + inexact.astype(quotient.dtype), dtype=a.dtype)


def _gather_elements(data: np.ndarray, indices: np.ndarray, axis: int, where: str) -> np.ndarray:
    """``data`` at ``indices`` along ``axis`` (ONNX GatherElements-13); onnx.reference fails where a dim is 1."""
    if data.ndim != indices.ndim or not -data.ndim <= axis < data.ndim:
        raise UnsupportedError("ranks or axis do not fit", where=where)
    axis %= data.ndim
    size = data.shape[axis]
    if ((indices < -size) | (indices >= size)).any():
        raise UnsupportedError(f"an index is out of the range of {size}", where=where)
    # Other dims of the indices may be shorter than those of the data: they address its front part.
    front = tuple(slice(None) if i == axis else slice(n) for i, n in enumerate(indices.shape))
    return np.take_along_axis(data[front], indices.astype(np.int64), axis)


def _opset_of(node: ir.Node) -> int | None:
    """The version of the node's domain: its own mark, else what its graph (or one around it) imports."""
    if node.version is not None:
        return node.version
    graph: Any = node.graph
    while graph is not None:
        imports = getattr(graph, "opset_imports", {})
        if node.domain in imports:
            return int(imports[node.domain])
        parent = getattr(graph, "parent_node", None)
        graph = parent.graph if parent is not None else None
    return None


def _single_node_model(
    node: ir.Node,
    inputs: Sequence[np.ndarray | None],
    captures: Mapping[str, np.ndarray],
    opset: int | None,
    where: str,
) -> tuple[Any, dict[str, np.ndarray]]:
    """A model of just this node, and the feeds that give it ``inputs``."""
    import onnx

    proto = ir.to_proto(node)
    version = opset or _opset_of(node)
    if version is None:
        raise UnsupportedError("the node's opset is not known", where=where)
    feeds: dict[str, np.ndarray] = dict(captured_constants(node)) | dict(captures)
    del proto.input[:]
    for index, array in enumerate(inputs):
        proto.input.append("" if array is None else f"__in{index}")
        if array is not None:
            feeds[f"__in{index}"] = array
    wanted = [name for name in proto.output if name]
    try:
        graph = onnx.helper.make_graph(
            [proto],
            "one_node",
            [_type_of(name, array) for name, array in feeds.items()],
            [onnx.helper.make_empty_tensor_value_info(name) for name in wanted],
        )
    except Exception as error:
        raise UnsupportedError(
            "an operand has a dtype without ONNX type", where=where, why=_first_line(error)
        ) from error
    opsets = [onnx.helper.make_opsetid(node.domain, version)]
    if node.domain:
        opsets.append(onnx.helper.make_opsetid("", 24))
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=11), feeds


def _type_of(name: str, array: np.ndarray) -> Any:
    import onnx

    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return onnx.helper.make_tensor_value_info(name, kind, list(array.shape))


def captured_constants(node: ir.Node) -> dict[str, np.ndarray]:
    """Constants from outside that the subgraphs of ``node`` use, by name."""
    found: dict[str, np.ndarray] = {}
    for value in captured_values(node):
        if value.const_value is not None and value.name:
            found[value.name] = value.const_value.numpy()
    return found


def captured_values(node: ir.Node) -> list[ir.Value]:
    """Values from outside that the subgraphs of ``node`` use, each once, in first-use order."""
    graphs = subgraphs_of(node)
    inside = {id(graph) for graph in graphs}
    nodes: list[ir.Node] = []
    results: list[ir.Value] = []
    while graphs:
        graph = graphs.pop()
        inside.add(id(graph))
        results += [value for value in graph.outputs if value is not None]
        for inner in graph:
            nodes.append(inner)
            graphs.extend(subgraphs_of(inner))
    used = [value for inner in nodes for value in inner.inputs if value is not None] + results
    outside: dict[int, ir.Value] = {}
    for value in used:
        if value.graph is None and value.producer() is None and value.const_value is None:
            raise InvalidModelError(f"value {value.name!r} is used in a subgraph and defined nowhere")
        if id(value.graph) not in inside:
            outside.setdefault(id(value), value)
    return list(outside.values())
