"""Shapes and movement in JAX against ONNX's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="the xla target needs JAX (accelc[jax])")

import jax
from jax import export
from lowering_harness import Case, case, check, lowered

from accelc.errors import LoweringError

X = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
NONE = np.zeros((0, 3), np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_dims() -> None:
    y = X[:, None, :, :, None]
    check(
        case("Shape", X, start=1),
        case("Shape", X, start=-2, end=-1),
        case("Size", X),
        case("Reshape", X, ints(0, -1)),
        case("Reshape", X, ints(5, 0, 3)),
        case("Reshape", NONE, ints(3, 0), allowzero=1),
        case("Reshape", NONE, ints(-1, 3), expected=[NONE]),
        case("Flatten", X, axis=0),
        case("Flatten", X, axis=-1),
        case("Flatten", X, axis=3),
        case("Squeeze", y),
        case("Squeeze", y, ints(-1)),
        case("Squeeze", y, axes=[1], version=11),
        case("Unsqueeze", X, ints(-1, 0)),
        case("Transpose", X),
        case("Transpose", X, perm=[1, 0, 2]),
        case("Expand", X[:, :1], ints(2, 1, 4, 1)),
        case("Tile", X, ints(1, 2, 0)),
        case("Tile", X, np.int64(2), np.int64(1), version=1, expected=[np.tile(X, (1, 2, 1))]),
        case("Identity", X),
    )


def test_made_of_dims() -> None:
    check(
        case("ConstantOfShape", ints(2, 0)),
        case("ConstantOfShape", ints(2, 3), value=np.array([7])),
        case("ConstantOfShape", ints()),
        case("EyeLike", X[0], k=1),
        case("EyeLike", X[0], k=-2, dtype=7),
        case("Range", np.int64(3), np.int64(11), np.int64(3)),
        case("Range", np.int64(10), np.int64(4), np.int64(-2)),
        case("Range", np.int32(3), np.int32(1), np.int32(3)),
        case("Range", np.float32(1), np.float32(2.05), np.float32(0.1)),
    )


def test_parts() -> None:
    check(
        case("Concat", X, X[:, :0], X, axis=-2),
        case("Split", X, axis=2, num_outputs=2, outputs=2),
        case("Split", X, ints(1, 0, 4), axis=-1, outputs=3),
        case("Split", X, axis=1, split=[1, 3], outputs=2, version=11),
        case("Slice", X, ints(0, -2), ints(2, 100), ints(0, 2)),
        case("Slice", X, ints(-1), ints(-100), ints(1), ints(-2)),
        case("Slice", X, ints(100), ints(-(2**62)), ints(2), ints(-1)),
        case("Slice", X, ints(3), ints(1)),
        case("Slice", X, starts=[1], ends=[3], axes=[1], version=1, expected=[X[:, 1:3]]),
    )


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_pads(mode: str) -> None:
    kept = X[:, 1:]
    mixed = np.pad(kept, ((0, 0), (0, 2), (0, 0)), mode=mode)  # type: ignore[call-overload]
    check(
        case("Pad", X, ints(1, 0, 2, 0, 3, 1), mode=mode),
        case("Pad", X, ints(7, 9), None, ints(-1), mode=mode),
        case("Pad", X, ints(-1, 2), None, ints(1), mode=mode, expected=[mixed]),
        case(
            "Pad",
            X,
            mode=mode,
            pads=[0, 0, 1, 1, 0, 0],
            version=2,
            **({"value": 2.5} if mode == "constant" else {}),
        ),
    )


def test_pad_values_and_old_names() -> None:
    filled = np.pad(X, ((1, 0), (0, 0), (0, 0)), constant_values=3.5)
    check(
        case("Pad", X, ints(1, 0, 0, 0, 0, 0), np.float32(3.5), expected=[filled]),
        case("Pad", X, paddings=[1, 0, 0, 0, 0, 0], value=3.5, version=1, expected=[filled]),
        case("Pad", NONE, ints(1, 0, 0, 0)),
        case("CenterCropPad", X, ints(5, 1, 6)),
        case("CenterCropPad", X, ints(2, 8), axes=[0, 2]),
        case("CenterCropPad", X, ints(6, 7, 2)),
    )
    with pytest.raises(LoweringError, match="Pad has no mode mirror"):
        lowered("Pad", X, ints(1, 0, 0, 0, 0, 0), mode="mirror")


def test_blocks() -> None:
    image = np.random.default_rng(1).standard_normal((2, 8, 4, 6)).astype(np.float32)
    check(
        case("DepthToSpace", image, blocksize=2),
        case("DepthToSpace", image, blocksize=2, mode="CRD"),
        case("SpaceToDepth", image, blocksize=2),
    )


def test_symbolic_axes_are_mirrored_as_known_ones() -> None:
    (n,) = export.symbolic_shape("n")
    pads = ints(5, 4)

    def traced(x: Any) -> Any:
        return Case("Pad", (x, pads), {"mode": "reflect"}).trace([x, pads])[0]

    with jax.enable_x64(True):
        argument = jax.ShapeDtypeStruct((n,), np.float32)  # type: ignore[no-untyped-call]
        mirrored = export.export(jax.jit(traced))(argument).call
        for extent in (1, 2, 3, 7):
            x = X.reshape(-1)[:extent]
            assert np.array_equal(np.asarray(mirrored(x)), np.pad(x, (5, 4), mode="reflect"))


def test_dims_may_be_symbols() -> None:
    """What an export for any batch size needs: dims stay expressions, and no branch asks for their values."""
    n, s = export.symbolic_shape("n, s")
    dims = np.array([n, 20 * s], dtype=object)

    def traced(x: Any) -> list[Any]:
        runs = [
            Case("Reshape", (x, dims)),
            Case("Reshape", (x, ints(0, -1))),
            Case("Flatten", (x,)),
            Case("Expand", (x[:, :, :1, :1], np.array([n, s, 2, 5], dtype=object))),
            Case("Slice", (x, ints(0, 1), ints(2**31 - 1, 3), ints(1, 2))),
            Case("Split", (x,), {"axis": 2, "num_outputs": 2}, outputs=2),
            Case("Pad", (x, ints(0, 1, 0, 0, 0, 0, 0, 0))),
            Case("Transpose", (x,), {"perm": [0, 2, 1, 3]}),
            Case("Range", (np.int64(0), np.array(s, dtype=object), np.int64(1)), out_dtype=np.int64),
            Case("Gather", (x, ints(1)), {"axis": 2}, known=(1,)),
            Case("Resize", (x, None, np.float32([1, 2, 1, 1]))),
        ]
        return [each.trace(each.operands) for each in runs]

    with jax.enable_x64(True):
        argument = jax.ShapeDtypeStruct((n, s, 4, 5), np.float32)  # type: ignore[no-untyped-call]
        exported = export.export(jax.jit(traced))(argument)
        shapes = [tuple(value.shape) for value in exported.out_avals]
    assert shapes == [
        (n, 20 * s),
        (n, 20 * s),
        (n, 20 * s),
        (n, s, 2, 5),
        (n, s, 2, 5),
        (n, s, 2, 5),
        (n, s, 2, 5),
        (n, s + 1, 4, 5),
        (n, 4, s, 5),
        (s,),
        (n, s, 1, 5),
        (n, 2 * s, 4, 5),
    ]
