"""Random small models: ``make_case(seed)``; the same seed gives the same model."""

from __future__ import annotations

import fuzz_control
import fuzz_moves
import fuzz_ops
import fuzz_patterns
import numpy as np
from fuzz_graph import Builder, Case, Dim, RejectedError, Value

SAMPLERS = [*fuzz_ops.SAMPLERS, *fuzz_moves.SAMPLERS, *fuzz_patterns.SAMPLERS, *fuzz_control.SAMPLERS]
IMAGE_OPS = (fuzz_patterns.conv, fuzz_patterns.batch_norm, fuzz_patterns.pool, fuzz_patterns.conv_transpose)
OPSETS = (18, 20, 21, 22, 23, 24)
SYMBOLS: tuple[Dim, ...] = ((3, 5), (2, 7), (4, 1), (1, 4), (6, 2), (5, 9))
DTYPES = ["float32"] * 14 + ["float64"] * 2 + ["int64", "int32", "bool", "uint8", "float16"]


def make_case(seed: int, *, max_nodes: int = 12) -> Case:
    """The model of a seed, with inputs for every binding."""
    rng = np.random.default_rng(seed)
    b = Builder(seed, rng, opset=int(rng.choice(OPSETS)), symbols=[])
    b.symbols = [SYMBOLS[int(i)] for i in rng.permutation(len(SYMBOLS))[: b.integer(0, 2)]]
    if b.chance(0.03):
        b.symbols.append((3, 0))
    of_images = b.chance(0.25)
    if of_images:
        sizes = [b.random_dim(), (int(b.choose([1, 3, 4, 8, 16])),) * 2, b.random_dim(), b.random_dim()]
        b.new_input("float32", sizes[: b.integer(3, 4)])
    for _ in range(b.integer(1, 2) - of_images):
        b.dtype = str(b.choose(DTYPES))
        b.new_input(b.dtype, b.random_dims(1, 4))
    weights = np.array([w * (5 if of_images and f in IMAGE_OPS else 1) for w, f in SAMPLERS])
    wanted = b.integer(2, max_nodes)
    for _ in range(4 * max_nodes):
        if len(b.nodes) >= wanted:
            break
        sampler = SAMPLERS[int(rng.choice(len(SAMPLERS), p=weights / weights.sum()))][1]
        saved = (list(b.nodes), list(b.pool), list(b.inputs), list(b.constants), dict(b.values))
        try:
            sampler(b)
        except RejectedError:
            b.nodes, b.pool, b.inputs, b.constants, b.values = saved
    return finish(b)


def finish(b: Builder) -> Case:
    """Choose the outputs: what nobody reads (mostly), some of the rest, an input now and then."""
    read = {name for node in b.nodes for name in captured(node)}
    leaves = [v for v in b.pool if v.kind == "node" and v.name not in read]
    inner = [v for v in b.pool if v.kind == "node" and v.name in read]
    outputs: list[Value] = [v for v in leaves if b.chance(0.92)] or leaves[:1]
    outputs += [v for v in inner if b.chance(0.06)]
    if b.chance(0.04):
        outputs += b.inputs[:1]
    if not outputs:
        outputs = b.pool[-1:]
    used = read | {v.name for v in outputs}
    return Case(
        b.seed,
        b.opset,
        b.nodes,
        [v for v in b.inputs if v.name in used] or b.inputs[:1],
        [v for v in b.constants if v.name in used],
        [v.name for v in outputs],
        b.values,
    )


def captured(node: object) -> set[str]:
    """Names that a node reads, those of its subgraphs included."""
    names: set[str] = set()
    stack = [node]
    while stack:
        current = stack.pop()
        names.update(name for name in current.input if name)  # type: ignore[attr-defined]
        for attribute in current.attribute:  # type: ignore[attr-defined]
            stack.extend(attribute.g.node)
    return names
