"""Random binary networks as ONNX text."""

from __future__ import annotations

import numpy as np


def listed(values: np.ndarray) -> str:
    return "{" + ", ".join(str(value) for value in values.ravel()) + "}"


def binary_net(inputs: int, hidden: int, seed: int, batch: str = "1") -> str:
    """sign(v . sign(W x)), signs in, one sign out; ties are broken upwards by biases of 1."""
    rng = np.random.default_rng(seed)
    w, v = rng.choice([-1, 1], (inputs, hidden)), rng.choice([-1, 1], (hidden, 1))
    tie, last_tie = (inputs + 1) % 2, (hidden + 1) % 2
    return f"""g (float[{batch},{inputs}] x) => (float[{batch},1] y) <
        float[{inputs},{hidden}] w = {listed(w)}, float[{hidden},1] v = {listed(v)},
        float b = {{{tie}}}, float c = {{{last_tie}}}
    > {{
        a = MatMul(x, w)
        s = Add(a, b)
        k = Sign(s)
        d = Gemm(k, v)
        e = Add(d, c)
        y = Sign(e)
    }}"""
