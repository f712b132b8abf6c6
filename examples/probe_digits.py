"""Trains on pictures without their labels, then asks how well a straight line in what each layer makes of them tells
the labels apart: the linear probe of iGPT (Chen et al., 2020, section 4.1), beside one on the pixels themselves.

python examples/probe_digits.py FOLDER [--run RUN] [--minutes 10] [--steps N]

FOLDER has a folder of pictures for each label. A fifth of them, by a hash of their names, is held out of everything.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import helicon
from helicon.data.split import hash_fraction
from helicon.formats.image import read_image

HELD_OUT = 0.2
CHOOSE = 0.36  # up to this hash: a fifth of the rest, on which the strength C is chosen
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
# 14 x 14 pixels of 16 colours are 196 tokens a picture; the layers have 1.6 M parameters
OPTIONS = {
    "data.size": 14, "data.colours": 16, "data.batch_size": 16, "data.val_split": HELD_OUT,
    "model.layers": 8, "model.width": 128, "model.heads": 4, "model.dropout": 0.05, "model.lr": 3e-3,
}  # fmt: skip


def main(folder: Path, run: Path | None, minutes: float, steps: int | None) -> None:
    """Trains unless there is a run, then prints how often each probe is right."""
    try:
        import sklearn  # noqa: F401  before the training, which takes longer
    except ImportError:
        sys.exit("the probe needs scikit-learn: python -m pip install scikit-learn")
    if run is None:
        options = [word for name, value in OPTIONS.items() for word in (f"--{name}", str(value))]
        run = helicon.train(folder, task="image", minutes=minutes, steps=steps, options=options, progress=sys.stderr)
    found = helicon.features(run, folder)
    if "" in found.labels:
        sys.exit(f"{folder}: a label is the name of a folder in it; {found.names[found.labels.index('')]} has none")

    labels, size = np.array(found.labels), found.layout.target.grid["column"]
    hashes = np.array([hash_fraction(name) for name in found.names])
    parts = np.where(found.val, "test", np.where(hashes < CHOOSE, "choose", "fit"))
    for part in ("fit", "choose", "test"):
        if len(set(labels[parts == part])) < 2:
            sys.exit(f"{folder}: too few pictures for a part to {part} on")
    print(f"{run}: {len(labels):,} pictures, {(parts == 'test').sum():,} to test on; right in %, C chosen on others")

    last = max(found.layers)
    pixels = np.stack([read_image(folder / name, size)[0].ravel() for name in found.names]) / 255
    rows = {f"pixels {size}x{size}": pixels}
    rows |= {f"layer {layer}": states for layer, states in found.layers.items()}
    scores = {}
    for name, values in rows.items():
        scores[name] = probe(values, labels, parts)
        chosen, tested = scores[name]
        print(f"{name:14} {100 * tested:6.1f}   ({100 * chosen:.1f} where C was chosen)", flush=True)
    middle = max((f"layer {layer}" for layer in range(1, last)), key=lambda name: scores[name][0])
    told = {f"best middle one, {middle}": middle, "last": f"layer {last}", "pixels": f"pixels {size}x{size}"}
    print(", ".join(f"{what}: {100 * scores[name][1]:.1f}" for what, name in told.items()))


def probe(values: np.ndarray, labels: np.ndarray, parts: np.ndarray) -> tuple[float, float]:
    """Share that a linear classifier tells right of the part that C was chosen on, and of the test."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def right(strength: float, fitted_on: np.ndarray, asked: np.ndarray) -> float:
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
        classifier.fit(values[fitted_on], labels[fitted_on])
        return float(classifier.score(values[asked], labels[asked]))

    chosen, best = max((right(c, parts == "fit", parts == "choose"), -c) for c in STRENGTHS)
    return chosen, right(-best, parts != "test", parts == "test")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--steps", type=int)
    args = parser.parse_args()
    main(args.folder, args.run, args.minutes, args.steps)
