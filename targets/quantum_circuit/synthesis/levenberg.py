"""Angles of a template by the method of Levenberg and Marquardt, from several random starts in step.

Source: K. Levenberg 1944; D. Marquardt 1963; the damping rule of H. B. Nielsen, IMM-REP-1999-05.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from accelc.targets.quantum_circuit.circuit import Circuit
from accelc.targets.quantum_circuit.synthesis.blas_threads import one_blas_thread
from accelc.targets.quantum_circuit.synthesis.products import Products
from accelc.targets.quantum_circuit.synthesis.template import Template

_FIRST_DAMPING = 1e-2
_LEAST_DAMPING, _MOST_DAMPING = 1e-15, 1e9
# Errors below which vectors that the target does not shorten are held to their length.
TIGHT = 1e-4
# The normal equations of large templates are formed and solved in float32 above this error: half the time, and
# the steps far from the solution are not less good. The residuals stay in float64.
_COARSE, _COARSE_SIZE = 1e-2, 256


@dataclass(frozen=True)
class Fitted:
    """Angles of a template and what they reach.

    Args:
        template: The circuit.
        angles: float64 [template.size].
        error: ``||block - target|| / ||target||`` in the Frobenius norm.
    """

    template: Template
    angles: np.ndarray
    error: float

    def circuit(self) -> Circuit:
        """The gates."""
        return self.template.circuit(self.angles)


@dataclass(frozen=True)
class Effort:
    """How long to look for angles.

    Args:
        max_error: Relative Frobenius error at which the search ends.
        deadline: On the clock of ``time.monotonic``.
        draws: Random starts in all, at least.
        starts: How many of them are stepped together.
        patience: A start is given up when this many steps did not bring its error down to ``progress`` times what
            it was.
        progress: See ``patience``.
    """

    max_error: float
    deadline: float
    draws: int = 8
    starts: int = 1
    patience: int = 50
    progress: float = 0.9


@one_blas_thread()
def fit(
    template: Template,
    target: np.ndarray,
    effort: Effort,
    rng: np.random.Generator,
    warm: np.ndarray | None = None,
) -> Fitted:
    """Angles with which the leading block of the template's unitary is ``target``.

    The best found is given if the error is not reached.

    Args:
        template: The circuit.
        target: float64 [M, N], M and N at most 2**qubits.
        effort: When to stop.
        rng: Draws the starts.
        warm: Angles [template.size] to go on from; no random starts are drawn then.
    """
    starts = 1 if warm is not None else effort.starts
    angles = warm[None].copy() if warm is not None else _drawn(rng, starts, template)
    search = _Search(template, target, angles, tight=effort.max_error < TIGHT)
    draws = starts
    best = Fitted(template, search.angles[0], float(search.errors()[0]))
    mark, age = search.errors(), np.zeros(starts, np.int64)
    while True:
        errors = search.errors()
        at = int(errors.argmin())
        if errors[at] < best.error:
            best = Fitted(template, search.angles[at].copy(), float(errors[at]))
        if best.error <= effort.max_error or time.monotonic() > effort.deadline:
            return best
        moved = errors < effort.progress * mark
        mark, age = np.where(moved, errors, mark), np.where(moved, 0, age + 1)
        stuck = (age > effort.patience) | (search.damping > _MOST_DAMPING)
        if stuck.any():
            draws += int(stuck.sum())
            if warm is not None or draws > max(effort.draws, starts):
                return best
            search.replace(stuck, _drawn(rng, int(stuck.sum()), template))
            mark, age = np.where(stuck, np.inf, mark), np.where(stuck, 0, age)
        search.step()


def _drawn(rng: np.random.Generator, count: int, template: Template) -> np.ndarray:
    return rng.uniform(-np.pi, np.pi, (count, template.size))


class _Search:
    """Several starts, each with its own damping, stepped together."""

    def __init__(self, template: Template, target: np.ndarray, angles: np.ndarray, tight: bool) -> None:
        self.products = Products(template, target, len(angles), tight=tight)
        self.scale = float(np.linalg.norm(target)) or 1.0
        self.angles = angles
        self.damping = np.full(len(angles), _FIRST_DAMPING)
        self.growth = np.full(len(angles), 2.0)
        self._evaluate()

    def replace(self, which: np.ndarray, angles: np.ndarray) -> None:
        """Put new starts in place of those of the mask ``which``."""
        self.angles = self.angles.copy()
        self.angles[which] = angles
        self.damping[which], self.growth[which] = _FIRST_DAMPING, 2.0
        self._evaluate()

    def _evaluate(self) -> None:
        block = self.products.forward(self.angles)
        self.loss, self.squares = self.products.squares(block)
        self._linearise(block)

    def _linearise(self, block: np.ndarray) -> None:
        jacobian, residuals = self.products.linear(block)
        self.gradient = (jacobian @ residuals[:, :, None])[:, :, 0]
        is_coarse = jacobian.shape[1] >= _COARSE_SIZE and self.errors().min() > _COARSE
        rough = jacobian.astype(np.float32) if is_coarse else jacobian
        # One start at a time: then BLAS takes the product for a symmetric one, at half the work.
        self.normal = np.stack([one @ one.T for one in rough])
        self.size = np.trace(self.normal, axis1=1, axis2=2) / self.normal.shape[1]

    def errors(self) -> np.ndarray:
        """Relative Frobenius errors of all starts."""
        found: np.ndarray = np.sqrt(self.squares) / self.scale
        return found

    def step(self) -> None:
        """One trial step of each start; those that lower the loss are taken."""
        moves = _solve(self.normal, self.gradient, self.damping * self.size)
        trial = self.angles + moves
        block = self.products.forward(trial)
        loss, squares = self.products.squares(block)
        expected = (moves * (self.damping[:, None] * self.size[:, None] * moves - self.gradient)).sum(1)
        gain = (self.loss - loss) / np.maximum(expected, 1e-300)
        better = loss < self.loss
        shrink = np.maximum(1 / 5, 1 - (2 * np.clip(gain, 0, 1) - 1) ** 3)
        damping = np.where(better, self.damping * shrink, self.damping * self.growth)
        self.damping = np.clip(damping, _LEAST_DAMPING, 2 * _MOST_DAMPING)
        self.growth = np.where(better, 2.0, np.minimum(self.growth * 2, 1e9))
        if not better.any():
            return
        if better.all():
            self.angles, self.loss, self.squares = trial, loss, squares
        else:
            self.angles = np.where(better[:, None], trial, self.angles)
            self.loss = np.where(better, loss, self.loss)
            self.squares = np.where(better, squares, self.squares)
            block = self.products.forward(self.angles)
        self._linearise(block)


def _solve(normal: np.ndarray, gradient: np.ndarray, damping: np.ndarray) -> np.ndarray:
    """The damped steps; none where rounding made a system singular: the damping then grows.

    By NumPy alone: SciPy brings a second pool of BLAS threads, and two that wait for each other on few cores
    made a step 10 to 100 times as long.
    """
    damped = normal.copy()
    diagonal = np.arange(normal.shape[1])
    damped[:, diagonal, diagonal] += damping[:, None].astype(normal.dtype)
    try:
        moves = np.linalg.solve(damped, -gradient[:, :, None].astype(normal.dtype))[:, :, 0]
        return moves.astype(np.float64)
    except np.linalg.LinAlgError:
        return np.zeros_like(gradient)
