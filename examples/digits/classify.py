"""Classify the held-out digits with a compiled model, and say how it compares with onnxruntime.

python examples/digits/classify.py            # the MLP
python examples/digits/classify.py cnn
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnxruntime as ort

import accelc

HERE = Path(__file__).parent


def main() -> None:
    """Compile one of the two models, run all 360 test rows through it at once."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", choices=("mlp", "cnn"), default="mlp")
    parser.add_argument("--target", default="cpu")
    args = parser.parse_args()

    path = HERE / f"{args.model}.onnx"
    with np.load(HERE / "digits_test.npz") as data:
        pixels, labels = data["pixels"].astype(np.float32), data["labels"]
    rows = pixels.reshape(-1, 1, 8, 8) if args.model == "cnn" else pixels

    exe = accelc.compile(path, target=args.target)
    feeds = {exe.inputs[0].name: rows}
    (ours,) = exe.run(None, feeds)
    (theirs,) = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)

    for name, probabilities in (("accelc", ours), ("onnxruntime", theirs)):
        print(f"{name:<12} {(probabilities.argmax(1) == labels).mean():.2%} of {len(labels)} rows right")
    print(f"largest difference of a probability: {np.abs(ours - theirs).max():.2e}")


if __name__ == "__main__":
    main()
