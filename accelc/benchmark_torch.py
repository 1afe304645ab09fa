"""PyTorch as a system to compare with: eager, and compiled by ``torch.compile``; on the GPU where accelc runs there.

The ONNX model becomes a module through onnx2torch, so that both sides run the same weights. NumPy goes in and comes
out as with accelc, so transfers to a GPU and back count on both sides.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from accelc.errors import UnsupportedError, UsageError

Call = Callable[[], Sequence[np.ndarray]]


def torch_call(
    model: str | Path | bytes,
    feeds: Mapping[str, np.ndarray],
    *,
    threads: int = 1,
    device: str = "cpu",
    compiled: bool = False,
) -> tuple[Call, str]:
    """The model as a PyTorch module.

    Args:
        model: The ONNX model, its path or bytes.
        feeds: Inputs by name.
        threads: Intra-op threads; PyTorch keeps one number for the whole process.
        device: ``cpu`` or ``cuda``.
        compiled: Through ``torch.compile`` with its default backend.

    Returns:
        One inference, and PyTorch's version.

    Raises:
        UsageError: PyTorch or onnx2torch is not installed.
        UnsupportedError: PyTorch sees no GPU.
    """
    try:
        import onnx2torch
        import torch
    except ImportError as error:
        raise UsageError(f"{error.name} is not installed", fix="pip install torch onnx2torch") from error
    if device == "cuda" and not torch.cuda.is_available():
        raise UnsupportedError(
            "PyTorch sees no GPU", why=f"torch {torch.__version__}", fix="install a CUDA build of torch"
        )
    module = onnx2torch.convert(_readable(model)).eval().to(device)
    if compiled:
        module = torch.compile(module)
    order = [name for name in _input_names(model) if name in feeds]
    arrays = [np.ascontiguousarray(feeds[name]) for name in order]

    def call() -> Sequence[np.ndarray]:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        with torch.inference_mode():
            found = module(*(torch.from_numpy(array).to(device) for array in arrays))
        results: Sequence[Any] = found if isinstance(found, list | tuple) else (found,)
        return [result.cpu().numpy() for result in results]

    return call, str(torch.__version__)


def _readable(model: str | Path | bytes) -> Any:
    """What onnx2torch takes: a path or a ModelProto."""
    import onnx

    return onnx.load(io.BytesIO(model)) if isinstance(model, bytes) else str(model)


def _input_names(model: str | Path | bytes) -> list[str]:
    """Inputs in the order of the graph, which is that of the module's arguments."""
    import onnx

    proto = onnx.load(io.BytesIO(model) if isinstance(model, bytes) else str(model), load_external_data=False)
    weights = {each.name for each in proto.graph.initializer}
    return [each.name for each in proto.graph.input if each.name not in weights]
