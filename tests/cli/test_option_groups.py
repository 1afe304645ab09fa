"""Groups of options: a verb takes one parameter, users see its options."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from accelc.cli.option_groups import Compiling, Feeding, grouped
from accelc.driver import resolve_target
from accelc.errors import UsageError

MLP = Path(__file__).parents[2] / "examples" / "digits" / "mlp.onnx"


def test_options_stand_where_the_group_stood() -> None:
    taken = []

    @grouped
    def verb(model: Path, *, feeding: Feeding, timing: bool = False) -> None:
        """What it does."""
        taken.append((model, feeding, timing))

    parameters = inspect.signature(verb).parameters
    assert list(parameters) == ["model", "inputs", "seed", "timing"]
    assert (parameters["seed"].default, verb.__doc__) == (0, "What it does.")
    verb(model=Path("m"), inputs=["a"], seed=3, timing=True)
    assert taken == [(Path("m"), Feeding(["a"], 3), True)]


def test_a_request_has_every_option() -> None:
    compiling = Compiling(level=1, passes="-cast-chains", dim=["batch=2"], threads=2, max_fold_bytes=7)
    request = compiling.request(MLP, verify=0)
    assert (request.dims, request.threads, request.limits.max_fold_bytes) == ({"batch": 2}, 2, 7)
    names = [str(step) for step in request.steps(resolve_target("cpu"))]
    assert "identity-ops" in names
    assert "cast-chains" not in names
    with pytest.raises(UsageError, match="there is no file nowhere"):
        compiling.request(Path("nowhere"))
