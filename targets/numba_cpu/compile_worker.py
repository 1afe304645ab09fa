"""A process that compiles kernels for its parent.

Reads one JSON task a line on stdin, answers with one JSON object a line on stdout, ends at end of file. Numba
holds one lock while it compiles, so several kernels at once need several processes.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from typing import Any, TextIO

from accelc.errors import AccelcError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import KernelSource


def answer(task: dict[str, Any]) -> dict[str, Any]:
    """Compile one task: ``{"code": base64}`` or ``{"error": [what, why]}``."""
    from accelc.targets.numba_cpu.compile_kernel import compile_kernel

    try:
        code = compile_kernel(KernelSource(task["name"], task["text"]), Isa(*task["isa"]))
    except AccelcError as error:
        return {"error": [error.what, error.why]}
    except Exception as error:
        return {"error": [f"kernel {task['name']} does not compile", f"{type(error).__name__}: {error}"]}
    return {"code": base64.b64encode(code).decode()}


def serve(tasks: TextIO, answers: TextIO) -> None:
    """Answer tasks until there are no more."""
    for line in tasks:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
        answers.flush()


def main() -> None:
    """Serve on the process's own streams."""
    # Ctrl-C goes to the whole group; the parent decides, and closes our stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever else prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
