"""How many CX weight matrices take on a quantum computer, against FABLE: the table behind accelc's figures.

    python examples/quantum/bench_encodings.py                        # all shapes, up to ten minutes each
    python examples/quantum/bench_encodings.py 4x8 16x16 --no-cache   # some, synthesised anew

Matrices are layers of classifiers of scikit-learn's digits, trained here from a fixed seed, and Gaussian ones. Each is
encoded at a relative error of 1e-6 and of 5% (Frobenius norm); every circuit, FABLE's too, is emitted and read back.
"size" is CX times alpha over the spectral norm: shots grow with alpha. The bounds are those that accelc holds itself
to. The last lines prune a 64 x 64 layer to a tenth of its weights by magnitude.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

import numpy as np
from nets import load_digits, train

from accelc.targets.quantum_circuit.encode.base import BlockEncoding
from accelc.targets.quantum_circuit.encode.choose import encode, measured_error

EXACT, LOSSY = 1e-6, 0.05
SHAPES = ("4x8", "8x16", "10x64", "16x16", "32x32", "64x64")
MOST_CX = {"4x8": 17, "8x16": 70, "10x64": 400, "16x16": 140, "32x32": 600, "64x64": 2500}
MOST_OF_FABLE = {EXACT: (0.35, 0.62), LOSSY: (0.30, 0.55)}  # rectangular, square
MOST_SIZE_PRUNED = 3000
HEADER = ("matrix", "error", "method", "qubits", "CX", "bound", "FABLE", "ratio", "bound", "alpha", "size",
          "FABLE size", "read back", "s", "")  # fmt: skip
WIDTHS = (15, 6, 18, 6, 6, 6, 6, 6, 6, 6, 8, 10, 9, 7, 4)


def trained(shape: str) -> np.ndarray:
    """A layer [outputs, inputs] of that shape."""
    if shape in ("4x8", "8x16"):
        first, second = (matrix for matrix, _ in train(load_digits(side=4, classes=4), (8,)))
        return first if shape == "8x16" else second
    if shape == "16x16":
        return train(load_digits(side=4), (16,))[0][0]
    hidden, layer = {"10x64": ((), 0), "32x32": ((32, 32), 1), "64x64": ((64,), 0)}[shape]
    return train(load_digits(), hidden)[layer][0]


def pruned(matrix: np.ndarray, share: float) -> np.ndarray:
    """The matrix with that share of its entries, the smallest, set to 0."""
    return np.where(np.abs(matrix) > np.quantile(np.abs(matrix), share), matrix, 0.0)


def matrices(shapes: list[str]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Shape, name and matrix."""
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        rows, columns = (int(side) for side in shape.split("x"))
        gaussian = rng.normal(size=(rows, columns))
        if shape in shapes:
            yield shape, f"{shape} trained", trained(shape)
            yield shape, f"{shape} Gaussian", gaussian


def row(
    name: str, matrix: np.ndarray, max_error: float, args: argparse.Namespace
) -> tuple[BlockEncoding, list[object]]:
    """The encoding, and the cells of its line; the bounds are left to the caller."""
    start = time.perf_counter()
    cache = False if args.no_cache else None
    found = encode(
        matrix, max_error=max_error, time_limit_s=args.time_limit, cache_dir=cache,
        progress=lambda text: print(f"{name}: {text}", file=sys.stderr, flush=True),
    )  # fmt: skip
    seconds = time.perf_counter() - start
    fable = encode(matrix, max_error=max_error, methods=["fable"], cache_dir=False)
    norm = float(np.linalg.norm(matrix, 2))
    return found, [
        name, f"{max_error:g}", found.method, found.circuit.qubits, found.cx, "", fable.cx,
        f"{found.cx / fable.cx:.3f}", "", f"{found.alpha / norm:.2f}", f"{found.size(norm):.0f}",
        f"{fable.size(norm):.0f}", f"{measured_error(found, matrix):.1e}", f"{seconds:.1f}",
    ]  # fmt: skip


def line(cells: list[object] | tuple[str, ...]) -> str:
    """The cells in columns."""
    return " ".join(f"{cell!s:<{width}}" for cell, width in zip(cells, WIDTHS, strict=False)).rstrip()


def main() -> None:
    """Print the table; the exit code is 1 if a bound is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "shapes", nargs="*", default=[*SHAPES, "pruned"], metavar="shape", help="and 'pruned'"
    )
    parser.add_argument("--time-limit", type=float, default=600.0, help="seconds for each (default 600)")
    parser.add_argument("--no-cache", action="store_true", help="synthesise anew")
    args = parser.parse_args()
    missed = 0
    print(line(HEADER))
    for shape, name, matrix in matrices(args.shapes):
        is_square = matrix.shape[0] == matrix.shape[1]
        for max_error in (EXACT, LOSSY):
            found, cells = row(name, matrix, max_error, args)
            most = MOST_OF_FABLE[max_error][is_square]
            cells[5], cells[8] = MOST_CX[shape] if max_error == EXACT else "", most
            holds = found.cx <= most * int(str(cells[6])) and (
                max_error != EXACT or found.cx <= MOST_CX[shape]
            )
            missed += not holds
            print(line([*cells, "ok" if holds else "MISS"]), flush=True)
    if "pruned" in args.shapes:
        rng = np.random.default_rng(1)
        for kind, matrix in (("trained", trained("64x64")), ("Gaussian", rng.normal(size=(64, 64)))):
            cut = pruned(matrix, 0.9)
            found, cells = row(f"pruned {kind}", cut, LOSSY, args)
            holds = found.size(float(np.linalg.norm(cut, 2))) < MOST_SIZE_PRUNED
            missed += not holds
            print(line([*cells, "ok" if holds else "MISS"]), flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
