"""Encode a real matrix as a quantum circuit, check the circuit against it, and write OpenQASM 3.

    python examples/quantum/encode_matrix.py W.npy --max-error 1e-6
    python examples/quantum/encode_matrix.py W.npy --max-error 0.05 --json -o W.qasm

The circuit holds the matrix in a block of its unitary: ``alpha * <i|U|j> = W[i, j]`` with column j put on the column
qubits and row i read on the row qubits (least significant bit first), every other qubit 0 before and after. The
first lines of the QASM file say which qubits and what alpha. All encodings that promise to be small are tried; the
one with the least ``cx * alpha_ratio`` is kept, where ``alpha_ratio`` is alpha over the spectral norm of W. ``error``
is read back from the circuit: relative, in the Frobenius norm. Finished circuits are cached.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

import numpy as np

from accelc.errors import EXIT_INTERRUPTED, EXIT_LIMIT, AccelcError, UsageError
from accelc.targets.quantum_circuit.emit_qasm import qasm3
from accelc.targets.quantum_circuit.encode.base import BlockEncoding
from accelc.targets.quantum_circuit.encode.choose import METHODS, check_memory, encode, measured_error


def load_matrix(path: Path) -> np.ndarray:
    """The matrix of a ``.npy`` file, float64 [M, N]; its header is read before anything is allocated.

    Raises:
        UsageError: The file holds no real matrix.
        LimitError: The matrix is too large to encode in this memory.
    """
    if not path.is_file():
        raise UsageError("there is no such file", where=str(path))
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)  # an archive or a pickle stops here
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UsageError(
            "this is no array that can be read",
            where=str(path),
            why=str(error),
            fix="write one array of numbers with numpy.save; Python objects are refused: to read them is to run code",
        ) from error
    if matrix.ndim != 2:
        raise UsageError(
            "a matrix has two dimensions", where=str(path), why=f"this one has shape {matrix.shape}"
        )
    if matrix.dtype.kind not in "fiub":
        raise UsageError(
            "only real matrices can be encoded", where=str(path), why=f"this one has dtype {matrix.dtype}"
        )
    if not matrix.size:
        raise UsageError("the matrix is empty", where=str(path), why=f"its shape is {matrix.shape}")
    check_memory(matrix.shape)
    found = np.array(matrix, dtype=np.float64)
    if not np.all(np.isfinite(found)):
        raise UsageError(
            "only finite numbers can be encoded", where=str(path), why="it holds NaN or infinity"
        )
    return found


def report(encoding: BlockEncoding, matrix: np.ndarray, seconds: float, qasm: Path) -> dict[str, object]:
    """What is printed: the keys in the order of the output."""
    norm = float(np.linalg.norm(matrix, 2))
    return {
        "method": encoding.method,
        "qubits": encoding.circuit.qubits,
        "cx": encoding.cx,
        "depth": encoding.circuit.depth(),
        "alpha_ratio": encoding.alpha / norm if norm else 1.0,
        "error": measured_error(encoding, matrix),
        "seconds": round(seconds, 3),
        "qasm": str(qasm),
        "alpha": encoding.alpha,
        "row_qubits": list(encoding.row_qubits),
        "column_qubits": list(encoding.column_qubits),
    }


def write_qasm(encoding: BlockEncoding, path: Path) -> None:
    """Write the circuit, headed by where rows and columns lie; whole or not at all.

    Raises:
        UsageError: The file cannot be written.
    """
    head, rest = qasm3(encoding.circuit).split("\n", 1)
    notes = (
        f"// block encoding of a matrix {encoding.shape[0]} x {encoding.shape[1]}: alpha * <row|U|column>",
        f"// alpha {encoding.alpha!r}",
        f"// row qubits {list(encoding.row_qubits)}, column qubits {list(encoding.column_qubits)}, low bit first",
    )
    try:
        handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write("\n".join((head, *notes, rest)))
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise UsageError("the circuit cannot be written", where=str(path), why=str(error)) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("matrix", type=Path, help="a .npy file with a real matrix [M, N]")
    parser.add_argument(
        "--max-error", type=float, default=1e-6, help="relative, Frobenius norm (default 1e-6)"
    )
    parser.add_argument("--methods", help=f"comma-separated, of {', '.join(METHODS)} (default: all)")
    parser.add_argument("--time-limit", type=float, default=600.0, help="seconds (default 600)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--no-cache", action="store_true", help="neither read nor write the cache of circuits"
    )
    parser.add_argument("-o", "--output", type=Path, help="the QASM file (default: beside the matrix, .qasm)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Encode, write, print."""
    args = _arguments(arguments)
    try:
        start = time.perf_counter()
        matrix = load_matrix(args.matrix)
        encoding = encode(
            matrix,
            max_error=args.max_error,
            methods=args.methods.split(",") if args.methods else None,
            time_limit_s=args.time_limit,
            seed=args.seed,
            cache_dir=False if args.no_cache else None,
            progress=lambda text: print(text, file=sys.stderr, flush=True),
        )
        seconds = time.perf_counter() - start
        qasm = args.output or args.matrix.with_suffix(".qasm")
        write_qasm(encoding, qasm)
        found = report(encoding, matrix, seconds, qasm)
    except AccelcError as error:
        _stop(error.to_json() if args.json else None, str(error), error.exit_code)
    except MemoryError:
        _stop(None, "LimitError: out of memory", EXIT_LIMIT)
    except KeyboardInterrupt:
        _stop(None, "interrupted", EXIT_INTERRUPTED)
    if args.json:
        print(json.dumps(found))
        return
    for key, value in found.items():
        print(f"{key:<14} {value:.6g}" if isinstance(value, float) else f"{key:<14} {value}")


def _stop(data: dict[str, object] | None, text: str, code: int) -> NoReturn:
    if data is not None:
        print(json.dumps(data))
    print(text, file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
