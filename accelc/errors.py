"""Every error a user can meet: one base class, one exit code each.

An error says what failed, where (the original node or file), why, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

EXIT_OK = 0
EXIT_NUMERICS = 1
EXIT_USAGE = 2
EXIT_INVALID_MODEL = 3
EXIT_UNSUPPORTED = 4
EXIT_LIMIT = 5
EXIT_FALLBACK = 6
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


class AccelcError(Exception):
    """Base of all errors that accelc raises on purpose.

    Args:
        what: One sentence naming what failed.
        where: Place in the model or on disk, for example ``node conv1 (Conv, opset 20)``.
        why: The reason, with expected and found values.
        fix: What the user can do about it.
    """

    exit_code: ClassVar[int] = EXIT_BUG

    def __init__(self, what: str, *, where: str | Sequence[str] = (), why: str = "", fix: str = "") -> None:
        self.what = what
        self.where: tuple[str, ...] = (where,) if isinstance(where, str) else tuple(where)
        self.why = why
        self.fix = fix
        super().__init__(what)

    def __str__(self) -> str:
        """Render as a headline and aligned ``where``/``why``/``fix`` lines."""
        lines = [f"{type(self).__name__}: {self.what}"]
        lines += [f"  where  {place}" for place in self.where if place]
        for label, text in (("why", self.why), ("fix", self.fix)):
            if text:
                lines.append(f"  {label:<5}  {text}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, object]:
        """The same content as a JSON-able dict."""
        return {
            "error": type(self).__name__,
            "what": self.what,
            "where": list(self.where),
            "why": self.why,
            "fix": self.fix,
            "exit_code": self.exit_code,
        }


class UsageError(AccelcError):
    """The call or the command line is wrong."""

    exit_code = EXIT_USAGE


class CallError(UsageError):
    """An executable was called with inputs it does not take: names input, expected and got."""


class InvalidModelError(AccelcError):
    """The model breaks ONNX's rules."""

    exit_code = EXIT_INVALID_MODEL


class UnsafeModelError(InvalidModelError):
    """The model tries to read or do what a data file must not (for example files outside its folder)."""


class UnsupportedError(AccelcError):
    """The model is valid, but accelc or the target cannot do it."""

    exit_code = EXIT_UNSUPPORTED


class LoweringError(UnsupportedError):
    """A target has no lowering for an op, dtype or attribute."""


class LimitError(AccelcError):
    """A limit on size, time, nesting or memory was reached."""

    exit_code = EXIT_LIMIT


class FallbackError(AccelcError):
    """``--strict``: an op has no kernel and would run on the reference."""

    exit_code = EXIT_FALLBACK


class NumericsError(AccelcError):
    """Compiled and reference results differ by more than the bound."""

    exit_code = EXIT_NUMERICS


class PassError(AccelcError):
    """A pass failed or left the graph invalid: a bug in that pass."""

    exit_code = EXIT_BUG


class MemoryFaultError(AccelcError):
    """``--sanitize``: a kernel wrote outside its results or read memory that holds no value: a bug in accelc."""

    exit_code = EXIT_BUG


class ArtifactError(AccelcError):
    """A saved artifact is truncated, edited, of another schema, or made for another CPU."""

    exit_code = EXIT_INVALID_MODEL
