"""Samplers of ops that move, cut and join tensors, and of shape arithmetic."""

from __future__ import annotations

import numpy as np
from fuzz_graph import BINDINGS, Builder, RejectedError, Value
from fuzz_ops import FLOATS, Sampler, axes_of


def transpose(b: Builder) -> None:
    x = b.pick(None, (1, 5))
    if b.chance(0.1):
        b.emit("Transpose", [x])
    else:
        b.emit("Transpose", [x], perm=[int(i) for i in b.rng.permutation(x.rank)])


def reshape(b: Builder) -> None:
    """To a target with 0 and -1 in it: dims merged, one dim split, a one put in."""
    x = b.pick(None, (0, 5))
    target: list[int] = [0 if b.chance(0.6) or len(set(d)) > 1 else d[0] for d in x.dims]
    kind = b.integer(0, 4)
    at = b.integer(0, max(0, x.rank - 1))
    if kind == 0 and x.rank >= 2:
        at = min(at, x.rank - 2)
        target = [*(0 for _ in range(at)), -1, *(d[0] for d in x.dims[at + 2 :])]
    elif kind == 1 and x.rank >= 1 and x.is_static:
        size = x.dims[at][0]
        factor = b.choose([f for f in (1, 2, 3, 4, 5, 8, 17) if size % f == 0])
        target = [d[0] for d in x.dims[:at]] + [factor, -1 if size else 0] + [d[0] for d in x.dims[at + 1 :]]
    elif kind == 2:
        target = [*target[:at], *target[at:], 1]
    elif kind == 3:
        target = [-1]
    elif x.rank and b.chance(0.5):
        target[at] = -1
    b.emit("Reshape", [x, b.ints(*target)])


def flatten(b: Builder) -> None:
    x = b.pick(None, (0, 5))
    b.emit("Flatten", [x], axis=b.integer(-x.rank, x.rank))


def squeeze(b: Builder) -> None:
    x = b.pick(None, (0, 5))
    ones = [i for i, dim in enumerate(x.dims) if set(dim) == {1}]
    if ones and b.chance(0.7):
        if b.chance(0.2) and all(1 not in dim or set(dim) == {1} for dim in x.dims):
            b.emit("Squeeze", [x])
        else:
            b.emit("Squeeze", [x, b.ints(*b.choose([ones, ones[:1], [ones[-1] - x.rank]]))])
        return
    new = sorted({b.integer(0, x.rank) for _ in range(b.integer(1, 2))})
    if x.rank + len(new) > 5:
        raise RejectedError
    b.emit("Unsqueeze", [x, b.ints(*new) if b.chance(0.7) else b.ints(-1)])


def slice_(b: Builder) -> None:
    x = b.pick(None, (1, 5))
    axes = axes_of(b, x)
    starts, ends, steps = [], [], []
    for axis in axes:
        size = max(x.dims[axis])
        step = b.choose([1, 1, 1, 2, 3, -1, -2])
        start = b.choose([0, 1, -1, -2, b.integer(-size - 1, size + 1)])
        end = b.choose([2**31 - 1, 2**62, -1, size, b.integer(-size - 1, size + 1)])
        if step < 0:
            start, end = b.choose([-1, size, 2**31 - 1]), b.choose([-(2**31), 0, -size - 1])
        starts.append(start)
        ends.append(end)
        steps.append(step)
    extra = [b.ints(*steps)] if any(s != 1 for s in steps) or b.chance(0.3) else []
    b.emit("Slice", [x, b.ints(*starts), b.ints(*ends), b.ints(*axes), *extra])


def concat(b: Builder) -> None:
    x = b.pick(None, (1, 5))
    axis = b.integer(0, x.rank - 1)

    def fits(v: Value) -> bool:
        return (
            v.dtype == x.dtype
            and v.rank == x.rank
            and all(p == q for i, (p, q) in enumerate(zip(v.dims, x.dims, strict=True)) if i != axis)
        )

    parts = [x]
    for _ in range(b.integer(1, 2)):
        found = [v for v in b.pool if fits(v)]
        if b.chance(0.75) and found:
            parts.append(b.choose(found))
        elif x.is_static:
            shape = [d[0] for d in x.dims]
            shape[axis] = b.integer(0 if b.chance(0.1) else 1, 3)
            parts.append(b.const(b.random_array(x.dtype, shape)))
    b.emit("Concat", parts, axis=axis - (x.rank if b.chance(0.4) else 0))


def split(b: Builder) -> None:
    x = b.pick(None, (1, 5))
    axis = b.integer(0, x.rank - 1)
    size = x.dims[axis][0]
    if len(set(x.dims[axis])) == 1 and size > 1 and b.chance(0.7):
        first = b.integer(0 if b.chance(0.1) else 1, size - 1)
        b.emit_many(
            "Split", [x, b.ints(first, size - first)], 2, axis=axis - (x.rank if b.chance(0.3) else 0)
        )
        return
    count = b.integer(1, 3)
    b.emit_many("Split", [x], count, axis=axis, num_outputs=count)


def gather(b: Builder) -> None:
    x = b.pick(None, (1, 4))
    axis = b.integer(-x.rank, x.rank - 1)
    size = min(x.dims[axis])
    shape = b.choose([(), (1,), (3,), (2, 2), (0,) if b.chance(0.2) else (4,)])
    indices = b.rng.integers(-size, max(size, 1), shape)
    if b.chance(0.3):  # indices from an input
        value = b.new_input(b.choose(["int64", "int32"]), [(s,) * BINDINGS for s in shape])
        for binding in range(BINDINGS):
            value.arrays[binding] = value.shadows[binding] = np.asarray(indices).astype(value.dtype)
        b.emit("Gather", [x, value], axis=axis)
        return
    b.emit("Gather", [x, b.const(np.asarray(indices).astype(b.choose(["int64", "int32"])))], axis=axis)


def gather_elements(b: Builder) -> None:
    x = b.pick(None, (1, 4))
    axis = b.integer(-x.rank, x.rank - 1)
    size = min(x.dims[axis])
    shape = [min(dim) if i != axis % x.rank else b.integer(1, 3) for i, dim in enumerate(x.dims)]
    indices = b.const(np.asarray(b.rng.integers(-size, max(size, 1), shape)).astype(np.int64))
    if b.chance(0.6):
        b.emit("GatherElements", [x, indices], axis=axis)
        return
    updates = b.const(b.random_array(x.dtype, shape))
    attrs = {"reduction": b.choose(["add", "max", "min"])} if b.chance(0.4) else {}
    if not attrs:
        indices = b.const(np.zeros([s if i != axis % x.rank else 1 for i, s in enumerate(shape)], np.int64))
        updates = b.const(b.random_array(x.dtype, indices.arrays[0].shape))
    b.emit("ScatterElements", [x, indices, updates], axis=axis, **attrs)


def nd(b: Builder) -> None:
    x = b.pick(None, (1, 4))
    depth = b.integer(1, x.rank)
    if any(len(set(dim)) > 1 for dim in x.dims[depth:]):
        raise RejectedError
    sizes = [min(dim) for dim in x.dims[:depth]]
    indices = b.const(np.array([[b.integer(-s, s - 1) if s else 0 for s in sizes]], dtype=np.int64))
    if b.chance(0.5):
        b.emit("GatherND", [x, indices])
        return
    updates = b.const(b.random_array(x.dtype, [1, *(dim[0] for dim in x.dims[depth:])]))
    b.emit("ScatterND", [x, indices, updates], **b.choose([{}, {"reduction": "add"}]))


def expand(b: Builder) -> None:
    x = b.pick(None, (0, 4))
    target = [b.integer(2, 3) if set(dim) == {1} else 1 for dim in x.dims]
    if b.chance(0.3) and x.rank < 4:
        target = [b.integer(1, 3), *target]
    b.emit("Expand", [x, b.ints(*target)])


def tile(b: Builder) -> None:
    x = b.pick(None, (1, 4))
    b.emit("Tile", [x, b.ints(*(b.choose([1, 1, 2, 3]) for _ in range(x.rank)))])


def pad(b: Builder) -> None:
    x = b.pick(None, (1, 4))
    low = -1 if b.chance(0.2) else 0
    pads = [b.integer(low, 2) if b.chance(0.6) else 0 for _ in range(2 * x.rank)]
    mode = b.choose(["constant"] * 3 + ["edge", "reflect", "wrap"])
    fill = [b.const(b.random_array(x.dtype, ()))] if mode == "constant" and b.chance(0.5) else []
    b.emit("Pad", [x, b.ints(*pads), *fill], mode=mode)


def trilu(b: Builder) -> None:
    x = b.pick(("float32", "float64", "int64", "bool"), (2, 4))
    k = [b.const(np.array(b.integer(-3, 3), np.int64))] if b.chance(0.6) else []
    b.emit("Trilu", [x, *k], upper=b.integer(0, 1))


def blocks(b: Builder) -> None:
    x = b.pick(FLOATS, (4, 4))
    if b.chance(0.5):
        b.emit("DepthToSpace", [x], blocksize=2, mode=b.choose(["DCR", "CRD"]))
    else:
        b.emit("SpaceToDepth", [x], blocksize=2)


def resize(b: Builder) -> None:
    x = b.pick(("float32",), (3, 4))
    scales = b.const(np.array([1.0] * 2 + [float(b.choose([1, 2, 0.5, 3]))] * (x.rank - 2), np.float32))
    mode = b.choose(["nearest", "linear"])
    attrs = {"coordinate_transformation_mode": b.choose(["asymmetric", "half_pixel", "align_corners"])}
    if mode == "nearest":
        attrs["nearest_mode"] = b.choose(["floor", "round_prefer_floor", "ceil"])
    b.emit("Resize", [x, None, scales], mode=mode, **attrs)


def identity(b: Builder) -> None:
    b.emit("Identity", [b.pick()]) if b.chance(0.7) else b.emit("Dropout", [b.pick(FLOATS)])


def shape_of(b: Builder) -> None:
    """Shape, Size, or a part of a shape, cast to be computed with."""
    x = b.pick(None, (1, 5))
    roll = b.rng.random()
    if roll < 0.2:
        y = b.emit("Size", [x])
    elif roll < 0.4:
        y = b.emit("Shape", [x], start=b.integer(-x.rank, x.rank - 1), end=b.integer(0, x.rank))
    else:
        whole = b.emit("Shape", [x])
        y = b.emit("Gather", [whole, b.const(np.array(b.integer(-x.rank, x.rank - 1), np.int64))])
    if b.chance(0.4):
        y = b.emit("Cast", [y], to=1)
        b.emit("Sqrt", [y]) if b.chance(0.5) else None


def shape_arithmetic(b: Builder) -> None:
    """Reshape, Expand or ConstantOfShape to a shape computed from another value's."""
    x = b.pick(None, (2, 4))
    shape = b.emit("Shape", [x])

    def part(i: int) -> Value:
        if b.chance(0.5):
            return b.emit("Gather", [shape, b.ints(i)])
        return b.emit("Slice", [shape, b.ints(i), b.ints(i + 1), b.ints(0)])

    parts = [part(i) for i in range(x.rank)]
    kind = b.integer(0, 4)
    if kind == 0:
        parts = [parts[0], b.ints(-1)] if b.chance(0.5) else [b.ints(-1), parts[-1]]
        b.emit("Reshape", [x, b.emit("Concat", parts, axis=0)])
    elif kind == 1:
        merged = b.emit("Mul", [parts[0], parts[1]])
        b.emit("Reshape", [x, b.emit("Concat", [merged, *parts[2:]], axis=0)])
    elif kind == 2:
        target = b.emit("Concat", [b.ints(b.integer(1, 2)), *parts], axis=0)
        b.emit("Expand", [x, target])
    elif kind == 3:
        longer = b.emit("Add", [parts[0], b.ints(b.integer(0, 2))])
        made = b.emit("ConstantOfShape", [b.emit("Concat", [longer, parts[-1]], axis=0)])
        if made.dtype == "float32":
            b.emit("Add", [made, b.const(np.array(1.5, np.float32))])
    else:
        count = b.emit("Squeeze", [parts[0]])
        zero, one = b.const(np.array(0, np.int64)), b.const(np.array(b.integer(1, 2), np.int64))
        b.emit("Range", [zero, count, one])


def transpose_chain(b: Builder) -> None:
    """Transposes around something elementwise: what sinking undoes."""
    x = b.pick(None, (2, 4))
    perm = [int(i) for i in b.rng.permutation(x.rank)]
    y = b.emit("Transpose", [x], perm=perm)
    if y.dtype in FLOATS:
        y = b.emit(b.choose(["Relu", "Neg", "Sigmoid"]), [y])
        if b.chance(0.5):
            y = b.emit("Add", [y, b.emit("Transpose", [x], perm=perm)])
    inverse = [perm.index(i) for i in range(x.rank)]
    b.emit("Transpose", [y], perm=inverse if b.chance(0.7) else [int(i) for i in b.rng.permutation(x.rank)])


SAMPLERS: list[tuple[float, Sampler]] = [
    (3, transpose),
    (3.5, reshape),
    (1, flatten),
    (2, squeeze),
    (3.5, slice_),
    (2.5, concat),
    (2, split),
    (2, gather),
    (0.8, gather_elements),
    (0.6, nd),
    (1.5, expand),
    (0.8, tile),
    (1.2, pad),
    (0.5, trilu),
    (0.3, blocks),
    (0.5, resize),
    (1.2, identity),
    (1.2, shape_of),
    (2.5, shape_arithmetic),
    (1.2, transpose_chain),
]
