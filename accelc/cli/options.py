"""Options that several verbs share, and how their text becomes values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from accelc.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
TargetName = Annotated[str, typer.Option("--target", "-t", help="Target: see `accelc targets`.")]
Level = Annotated[int, typer.Option("-O", min=0, max=3, help="How much to optimise.")]
PassesText = Annotated[
    str | None, typer.Option("--passes", help="a,b runs just these; -c leaves one out; +d adds one.")
]
PassFrom = Annotated[list[str] | None, typer.Option("--pass-from", help="FILE.py:Class, run before fusion.")]
Dims = Annotated[list[str] | None, typer.Option("--dim", help="Size of a symbolic dim, as N=1.")]
Shapes = Annotated[list[str] | None, typer.Option("--shape", help="Shape of an input, as x=1,3,224,224.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Threads of one call.")]
Precision = Annotated[str, typer.Option("--precision", help="f32, tf32, bf16 or f16.")]
CacheDir = Annotated[Path | None, typer.Option("--cache-dir", help="Folder of compiled kernels.")]
VectorBits = Annotated[int | None, typer.Option("--vector-bits", help="SIMD width of CPU kernels.")]
KeepFunctions = Annotated[
    bool, typer.Option("--keep-functions", help="Target onnx: leave fused kernels, as local functions.")
]
MemLimit = Annotated[
    str | None,
    typer.Option("--mem-limit", help="Most memory of a call's arena, as 80MB: cheap values are recomputed."),
]
Sanitize = Annotated[
    bool, typer.Option("--sanitize", help="Target cpu: watch every step's reads and writes (slow).")
]
Shots = Annotated[
    int | None,
    typer.Option("--shots", min=0, help="Target quantum: measurements for each row or patch; 0: none."),
]
EncodingError = Annotated[
    float,
    typer.Option("--encoding-error", min=0, help="Target quantum: error allowed to a circuit's matrix."),
]
EncodingSeconds = Annotated[
    float,
    typer.Option("--encoding-seconds", min=0, help="Target quantum: time to search for a layer's circuits."),
]
AllowLinks = Annotated[
    Path | None, typer.Option("--allow-links", help="External data may be links into this folder.")
]
MaxFoldBytes = Annotated[
    int | None, typer.Option("--max-fold-bytes", min=0, help="Largest constant that folding may make.")
]
TimeLimit = Annotated[float | None, typer.Option("--time-limit", min=0, help="Seconds the compile may take.")]
MaxRewrites = Annotated[
    int | None, typer.Option("--max-rewrites", min=0, help="Stop changing the graph after so many rewrites.")
]
Inputs = Annotated[
    list[str] | None, typer.Option("--input", "-i", help="NAME=FILE.npy or .pb, or FILE.npz with all inputs.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of random inputs.")]


def verb(help: str | None = None) -> typer.Typer:
    """The command line of one verb; ``help`` for a verb that has verbs of its own."""
    return typer.Typer(
        help=help, add_completion=False, no_args_is_help=help is not None, rich_markup_mode=None
    )


def parse_dims(texts: Sequence[str] | None) -> dict[str, int]:
    """``["N=1"]`` as ``{"N": 1}``.

    Raises:
        UsageError: An item is not NAME=NUMBER.
    """
    dims: dict[str, int] = {}
    for text in texts or ():
        name, equals, number = text.rpartition("=")
        if not equals or not name or not number.isdecimal():
            raise UsageError(f"cannot read --dim {text}", fix="write --dim NAME=NUMBER, as in --dim batch=1")
        dims[name] = int(number)
    return dims


def parse_shapes(texts: Sequence[str] | None) -> dict[str, tuple[int | str, ...]]:
    """``["x=1,3,H,W"]`` as ``{"x": (1, 3, "H", "W")}``; ``x=`` is a scalar.

    Raises:
        UsageError: An item is not NAME=DIM,DIM,...
    """
    shapes: dict[str, tuple[int | str, ...]] = {}
    for text in texts or ():
        name, equals, list_text = text.rpartition("=")
        dims = [part.strip() for part in list_text.split(",")] if list_text.strip() else []
        if not equals or not name or not all(dim.isdecimal() or dim.isidentifier() for dim in dims):
            fix = "write --shape NAME=DIM,DIM, as in --shape x=1,3,224,224"
            raise UsageError(f"cannot read --shape {text}", fix=fix)
        shapes[name] = tuple(int(dim) if dim.isdecimal() else dim for dim in dims)
    return shapes


def parse_verify(text: str) -> int:
    """``off`` is 0, a number is itself.

    Raises:
        UsageError: Anything else.
    """
    if text == "off":
        return 0
    if text.isdecimal():
        return int(text)
    raise UsageError(f"cannot read --verify {text}", fix="write --verify off or --verify NUMBER")


def missing(model: Path) -> NoReturn:
    """Say that ``model`` is no file.

    Raises:
        UsageError: Always.
    """
    if model.is_dir():
        raise UsageError(f"{model} is a folder", fix="give the .onnx file that it was made from")
    raise UsageError(f"there is no file {model}", fix="give an .onnx file")


def read_inputs(texts: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Arrays of ``--input``; NumPy files are read without pickles.

    Raises:
        UsageError: A file is missing or cannot be read.
    """
    import numpy as np

    feeds: dict[str, np.ndarray] = {}
    for text in texts or ():
        name, equals, file = text.rpartition("=")
        path = Path(file)
        try:
            if path.suffix == ".npz":
                with np.load(path, allow_pickle=False) as archive:
                    feeds.update({key: archive[key] for key in archive.files})
            elif not equals:
                raise UsageError(f"cannot read --input {text}", fix="write --input NAME=FILE.npy or FILE.npz")
            else:
                feeds[name] = _read_array(path)
        except (OSError, ValueError, EOFError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise UsageError(f"input file {path} cannot be read", why=why) from error
    return feeds


def _read_array(path: Path) -> np.ndarray:
    import numpy as np

    if path.suffix != ".pb":
        return np.asarray(np.load(path, allow_pickle=False))
    import onnx
    from onnx import numpy_helper

    tensor = onnx.TensorProto()
    try:
        tensor.ParseFromString(path.read_bytes())
        return np.asarray(numpy_helper.to_array(tensor))
    except OSError:
        raise
    except Exception as error:  # protobuf has its own error classes
        raise ValueError(f"not a TensorProto: {error}") from error


def is_artifact(path: Path) -> bool:
    """Whether ``path`` should be read as an artifact: any folder."""
    return path.is_dir()
