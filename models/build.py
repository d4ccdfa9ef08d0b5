"""Builds the demo models from data that ships with scikit-learn: models, settings, samples.

    python models/build.py [--only cancer|digits] [--out DIR]

Lives for one build; never downloads, and never writes outside the folder it is given. The
same libraries on the same kind of processor give the same bytes: the split and every
learner are seeded, and the linear algebra runs on one thread.
"""

import argparse
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils import Bunch
from threadpoolctl import threadpool_limits

from graphs import Dense, Tree, boosted_trees, fold, network

SEED = 7
HELD_OUT_RATIO = 0.25
QUANTILES = 64
SAMPLE_ROWS = 8

Rows = NDArray[np.float32]
Labels = NDArray[np.int64]
Weights = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Split:
    """One data set, cut once: no learner sees the held-out rows."""

    features: tuple[str, ...]
    train: Rows
    train_labels: Labels
    held_out: Rows
    held_out_labels: Labels


@dataclass(frozen=True, slots=True)
class Recipe:
    """What makes one version of a model."""

    version: str
    description: str
    learn: Callable[[Split], onnx.ModelProto]


@dataclass(frozen=True, slots=True)
class Metrics:
    """How a version does on the held-out rows."""

    accuracy: float
    log_loss: float


def load_cancer_split() -> Split:
    return _split(load_breast_cancer())


def load_digits_split() -> Split:
    return _split(load_digits())


def learn_cancer_logistic(split: Split) -> onnx.ModelProto:
    scaler = StandardScaler().fit(split.train)
    learner = LogisticRegression(max_iter=1000, random_state=SEED)
    learner.fit(scaler.transform(split.train), split.train_labels)
    # Two logits half the log-odds away from zero: their softmax is the sigmoid.
    halves = np.array([-0.5, 0.5])
    layer = Dense(learner.coef_.T * halves, learner.intercept_ * halves)
    return network([fold(*_affine(scaler), layer)], "cancer_logistic")


def learn_cancer_trees(split: Split) -> onnx.ModelProto:
    learner = GradientBoostingClassifier(
        n_estimators=200, max_depth=2, subsample=0.5, max_features=0.3, random_state=SEED
    )
    learner.fit(split.train, split.train_labels)
    benign_ratio = float(learner.init_.class_prior_[1])
    trees = [
        Tree(
            tree.children_left,
            tree.children_right,
            tree.feature,
            tree.threshold,
            learner.learning_rate * tree.value[:, 0, 0],
        )
        for tree in (stage[0].tree_ for stage in learner.estimators_)
    ]
    log_odds = float(np.log(benign_ratio / (1.0 - benign_ratio)))
    return boosted_trees(trees, len(split.features), log_odds, "cancer_trees")


def learn_digits_small(split: Split) -> onnx.ModelProto:
    return _learn_digits(split, hidden=(32,), epochs=100, name="digits_small")


def learn_digits_large(split: Split) -> onnx.ModelProto:
    return _learn_digits(split, hidden=(256, 128), epochs=40, name="digits_large")


CATALOGUE: Mapping[str, tuple[Callable[[], Split], tuple[Recipe, ...]]] = {
    "cancer": (
        load_cancer_split,
        (
            Recipe(
                "1",
                "Logistic regression: is a breast mass malignant (0) or benign (1)?",
                learn_cancer_logistic,
            ),
            Recipe(
                "2",
                "Gradient-boosted trees: is a breast mass malignant (0) or benign (1)?",
                learn_cancer_trees,
            ),
        ),
    ),
    "digits": (
        load_digits_split,
        (
            Recipe(
                "1",
                "A neural net of 64-32-10 that reads a handwritten digit of 8 by 8 pixels.",
                learn_digits_small,
            ),
            Recipe(
                "2",
                "A neural net of 64-256-128-10 that reads a handwritten digit of 8 by 8 pixels.",
                learn_digits_large,
            ),
        ),
    ),
}


def build(model: str, out: Path) -> None:
    """Write every version of `model`, and its samples, under `out/model`."""
    load, recipes = CATALOGUE[model]
    split = load()
    for recipe in recipes:
        folder = out / model / recipe.version
        folder.mkdir(parents=True, exist_ok=True)
        with threadpool_limits(1):  # sums do not depend on how many cores there are
            graph = recipe.learn(split).SerializeToString(deterministic=True)
        (folder / "model.onnx").write_bytes(graph)
        (folder / "model.toml").write_text(settings(recipe, measure(graph, split)))
        (folder / "profile.json").write_text(profile(model, recipe.version, split))
    samples = out / model / "samples"
    samples.mkdir(exist_ok=True)
    (samples / "request.json").write_text(infer_request(split.held_out[:1]))
    (samples / "batch.json").write_text(infer_request(split.held_out[:SAMPLE_ROWS]))


def predict(graph: bytes, rows: Rows) -> tuple[Labels, Rows]:
    """Return (label [rows], scores [rows, classes]) as ONNX Runtime gives them."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    label, scores = session.run(["label", "scores"], {"x": rows})
    return label, scores


def measure(graph: bytes, split: Split) -> Metrics:
    """Return the metrics of the file that is shipped, not of the learner it came from."""
    label, scores = predict(graph, split.held_out)
    told = scores[np.arange(len(scores)), split.held_out_labels].astype(np.float64)
    return Metrics(
        accuracy=float(np.mean(label == split.held_out_labels)),
        log_loss=float(-np.mean(np.log(np.maximum(told, np.finfo(np.float32).tiny)))),
    )


def settings(recipe: Recipe, metrics: Metrics) -> str:
    """Return the text of model.toml."""
    return (
        f"description = {json.dumps(recipe.description)}\n\n"
        "[batching]\n"
        "max_batch_size = 1024 # rows of one request\n\n"
        "[metrics] # on the held-out rows\n"
        f"accuracy = {metrics.accuracy:.4f}\n"
        f"log_loss = {metrics.log_loss:.4f}\n"
    )


def profile(model: str, version: str, split: Split) -> str:
    """Return the text of profile.json: what the training rows looked like, by feature.

    Quantile i of 64 is the one at i / 63, so the first is the least and the last the greatest
    value; `count` leaves out the `missing` (NaN).
    """
    levels = np.linspace(0.0, 1.0, QUANTILES)
    features = []
    for name, column in zip(split.features, split.train.T, strict=True):
        present = column[~np.isnan(column)]
        features.append(
            {
                "name": name,
                "count": len(present),
                "missing": len(column) - len(present),
                "quantiles": _short(np.quantile(present, levels).astype(np.float32)),
            }
        )
    lines = ",\n".join(json.dumps(feature, separators=(",", ":")) for feature in features)
    head = json.dumps({"profile": 1, "model": model, "version": version, "rows": len(split.train)})
    return f'{head[:-1]}, "features": [\n{lines}\n]}}\n'


def infer_request(rows: Rows) -> str:
    """Return the text of a V2 inference request for these rows."""
    tensor = {"name": "x", "shape": rows.shape, "datatype": "FP32", "data": _short(rows.ravel())}
    return json.dumps({"inputs": [tensor]}, separators=(",", ":")) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the demo models.")
    parser.add_argument("--only", choices=CATALOGUE, help="build this model alone")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR")
    arguments = parser.parse_args()
    for model in [arguments.only] if arguments.only else CATALOGUE:
        build(model, arguments.out)


def _split(bundle: Bunch) -> Split:
    train, held_out, train_labels, held_out_labels = train_test_split(
        bundle.data.astype(np.float32),  # as requests carry them
        bundle.target.astype(np.int64),
        test_size=HELD_OUT_RATIO,
        stratify=bundle.target,
        random_state=SEED,
    )
    features = tuple(str(name) for name in bundle.feature_names)
    return Split(features, train, train_labels, held_out, held_out_labels)


def _learn_digits(split: Split, hidden: tuple[int, ...], epochs: int, name: str) -> onnx.ModelProto:
    scaler = MinMaxScaler().fit(split.train)
    learner = MLPClassifier(
        hidden,
        alpha=1e-3,
        batch_size=64,
        learning_rate_init=2e-3,
        max_iter=epochs,
        n_iter_no_change=epochs,
        random_state=SEED,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the epochs are the rule to stop
        learner.fit(scaler.transform(split.train), split.train_labels)
    first, *others = map(Dense, learner.coefs_, learner.intercepts_)
    return network([fold(*_affine(scaler), first), *others], name)


def _affine(scaler: StandardScaler | MinMaxScaler) -> tuple[Weights, Weights]:
    """Return (gain, offset) with `scaler.transform(x) == x * gain + offset`, by feature."""
    probe = np.vstack([np.zeros(scaler.n_features_in_), np.ones(scaler.n_features_in_)])
    offset, at_one = scaler.transform(probe)
    return at_one - offset, offset


def _short(values: Rows) -> list[float]:
    """Return the shortest numbers that read back as the same float32s."""
    return [int(value) if value.is_integer() else float(str(value)) for value in values]


if __name__ == "__main__":
    main()
