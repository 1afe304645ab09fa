"""If, Loop and Scan as ``lax`` control flow, where shapes and dtypes stay the same on every way."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx_ir as ir
from jax import lax

from accelc.errors import LoweringError
from accelc.targets.jax_xla.analysis import loops_to_the_end, may_unroll
from accelc.targets.jax_xla.trace import Tracer, as_array

Values = Mapping[ir.Value, Any]


class _UnstableError(LoweringError):
    """An iteration gives other shapes or dtypes than it takes."""


def _body_of(
    tracer: Tracer, graph: ir.Graph, values: Values, given: Sequence[Any], number: Any = None
) -> list[Any]:
    """The results of one run of a body; each iteration ``number`` draws random numbers of its own."""
    inner: MutableMapping[ir.Value, Any] = ChainMap({}, values)  # type: ignore[arg-type]
    inner.update(zip(graph.inputs, given, strict=True))
    if number is not None and tracer.key is not None:
        tracer = replace(tracer, key=jax.random.fold_in(tracer.key, number))
    tracer.run(graph, inner)
    return [tracer.value(output, inner) for output in graph.outputs]


def _same(before: Sequence[Any], after: Sequence[Any], what: str) -> None:
    """Raise _UnstableError where shapes or dtypes differ."""
    for number, (a, b) in enumerate(zip(before, after, strict=True)):
        if a.shape != b.shape or a.dtype != b.dtype:
            raise _UnstableError(
                f"{what} {number} differs", why=f"{a.dtype}{list(a.shape)} and {b.dtype}{list(b.shape)}"
            )


def lower_if(tracer: Tracer, node: ir.Node, values: Values) -> list[Any]:
    """``If``: a known condition picks its branch now, another one is ``lax.cond``. Source: ONNX If-25."""
    branches = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
    condition = tracer.operands(node, values)[0]
    if isinstance(condition, np.ndarray | np.generic):
        chosen = branches[0] if bool(np.asarray(condition).reshape(-1)[0]) else branches[1]
        return _body_of(tracer, chosen, values, ())
    shapes = [
        jax.eval_shape(lambda graph=graph: [as_array(x) for x in _body_of(tracer, graph, values, ())])
        for graph in branches
    ]
    _same(shapes[0], shapes[1], "branches disagree: output")
    makers = [
        lambda graph=graph: [as_array(x) for x in _body_of(tracer, graph, values, ())] for graph in branches
    ]
    return list(lax.cond(condition.reshape(()), *makers))


def lower_loop(tracer: Tracer, node: ir.Node, values: Values) -> list[Any]:
    """``Loop``: ``lax.scan`` where the number of iterations is known, else ``lax.while_loop``. Source: ONNX Loop-25."""
    body = node.attributes["body"].as_graph()
    given = tracer.operands(node, values)
    given += [None] * (len(node.inputs) - len(given))
    trips, start, *carried = given
    state = [as_array(x) for x in carried]
    count = len(state)
    known = isinstance(trips, np.ndarray | np.generic)
    if known and loops_to_the_end(node):
        return _counted(tracer, body, values, int(np.asarray(trips).reshape(-1)[0]), state)
    if len(body.outputs) - 1 > count:
        raise LoweringError("the number of iterations is not known, and their results are collected")
    limit = None if trips is None else as_array(trips).reshape(()).astype(jnp.int64)
    go = jnp.asarray(True) if start is None else as_array(start).reshape(()).astype(bool)

    def more(carry: Any) -> Any:
        number, flag, _ = carry
        return flag if limit is None else flag & (number < limit)

    def once(carry: Any) -> Any:
        number, flag, current = carry
        again, *results = _arrays(_body_of(tracer, body, values, [number, flag, *current], number))
        _same(current, results, "an iteration changes the shape or dtype of carried value")
        return number + 1, again.reshape(()).astype(bool), results

    return list(lax.while_loop(more, once, (jnp.asarray(0, jnp.int64), go, state))[2])


def _arrays(results: Sequence[Any]) -> list[jax.Array]:
    return [as_array(result) for result in results]


def _counted(tracer: Tracer, body: ir.Graph, values: Values, trips: int, state: list[jax.Array]) -> list[Any]:
    """A fixed number of iterations: differentiable, results collected.

    They are written out one after the other where a body needs to know their number, or changes shapes.
    """
    count = len(state)
    if body.inputs[0] in tracer.static:
        return _written_out(tracer, body, values, trips, state)

    def once(current: list[jax.Array], number: jax.Array) -> tuple[list[jax.Array], list[jax.Array]]:
        results = _arrays(_body_of(tracer, body, values, [number, jnp.asarray(True), *current], number))[1:]
        _same(current, results[:count], "an iteration changes the shape or dtype of carried value")
        return results[:count], results[count:]

    try:
        final, scanned = lax.scan(once, state, jnp.arange(max(trips, 0), dtype=jnp.int64))
    except _UnstableError:
        if not may_unroll(body, trips):
            raise
        return _written_out(tracer, body, values, trips, state)
    return [*final, *scanned]


def _written_out(
    tracer: Tracer, body: ir.Graph, values: Values, trips: int, state: list[jax.Array]
) -> list[Any]:
    """A fixed number of iterations, one after the other; shapes of carried values may change."""
    if trips < 1:
        raise LoweringError("a Loop of no iteration has no results whose shape is known")
    count = len(state)
    collected: list[list[jax.Array]] = [[] for _ in range(len(body.outputs) - 1 - count)]
    for number in range(trips):
        given = [np.asarray(number, np.int64), np.asarray(True), *state]
        results = _arrays(_body_of(tracer, body, values, given, number))[1:]
        state = results[:count]
        for items, result in zip(collected, results[count:], strict=True):
            items.append(result)
    return [*state, *(jnp.stack(items) for items in collected)]


def lower_scan(tracer: Tracer, node: ir.Node, values: Values) -> list[Any]:
    """``Scan``: ``lax.scan`` with axes moved to the front and back. Source: ONNX Scan-25."""
    body = node.attributes["body"].as_graph()
    given = _arrays(tracer.operands(node, values))
    scanned = node.attributes.get_int("num_scan_inputs", 0)
    count = len(given) - scanned
    axes, backward = (_setting(node, name, scanned) for name in ("scan_input_axes", "scan_input_directions"))
    sources = [jnp.moveaxis(x, axis, 0) for x, axis in zip(given[count:], axes, strict=True)]
    sources = [x[::-1] if flip else x for x, flip in zip(sources, backward, strict=True)]
    if len({x.shape[0] for x in sources}) > 1:
        raise LoweringError(
            "the scanned inputs differ in length", why=f"lengths {[x.shape[0] for x in sources]}"
        )

    def once(
        state: list[jax.Array], items: tuple[jax.Array, list[jax.Array]]
    ) -> tuple[list[jax.Array], list[jax.Array]]:
        number, sliced = items
        results = _arrays(_body_of(tracer, body, values, [*state, *sliced], number))
        _same(state, results[:count], "an iteration changes the shape or dtype of state")
        return results[:count], results[count:]

    length = sources[0].shape[0] if sources else 0
    final, collected = lax.scan(once, given[:count], (jnp.arange(length), sources))
    made = len(collected)
    out_axes, flips = (_setting(node, name, made) for name in ("scan_output_axes", "scan_output_directions"))
    results = [x[::-1] if flip else x for x, flip in zip(collected, flips, strict=True)]
    return [*final, *(jnp.moveaxis(x, 0, axis) for x, axis in zip(results, out_axes, strict=True))]


def _setting(node: ir.Node, name: str, count: int) -> list[int]:
    """An optional list of an axis or direction per operand."""
    return [int(x) for x in node.attributes.get_ints(name, [0] * count)] or [0] * count


LOWERINGS: Mapping[str, Callable[[Tracer, ir.Node, Values], list[Any]]] = {
    "If": lower_if,
    "Loop": lower_loop,
    "Scan": lower_scan,
}
"""Control flow inside a compiled function, by op."""
