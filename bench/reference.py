"""Writes scikit-learn's predictions with every combination of scale, weights and metric to
`crates/iris-contract/tests/reference/neighbors.json`, for the test `reference.rs`. Needs scikit-learn and numpy.

The datasets are iris and wine of `data`, and the first 360 of scikit-learn's 8x8 images of digits, which are written to the same
directory as `digits.csv`. A prediction is `null` where it depends on the order of rows at the same distance, or where two
classes have the same sum of weights up to rounding.
"""

import csv
import itertools
import json
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "crates/iris-contract/tests/reference"
NEIGHBORS = 5
DIGITS = 360
TOLERANCE = 1e-9


def read(path, row_id, label):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    features = [name for name in rows[0] if name not in (row_id, label)]
    x = np.array([[float(row[name]) for name in features] for row in rows])
    return x, np.array([row[label] for row in rows])


def write_digits(path):
    x, y = load_digits(return_X_y=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["Id", *(f"p{n}" for n in range(x.shape[1])), "Digit"])
        for number, (row, digit) in enumerate(zip(x[:DIGITS], y[:DIGITS])):
            writer.writerow([number, *(int(value) for value in row), digit])


def predictions(x, y, scale, weights, metric):
    train, _ = train_test_split(np.arange(len(x)), test_size=0.2, random_state=42)
    if scale == "standard":
        x = StandardScaler().fit(x[train]).transform(x)
    model = KNeighborsClassifier(n_neighbors=NEIGHBORS, weights=weights, metric=metric)
    model.fit(x[train], y[train])
    distances, _ = model.kneighbors(x, n_neighbors=NEIGHBORS + 1)
    shares = np.sort(model.predict_proba(x), axis=1)
    last, following = distances[:, -2], distances[:, -1]
    determined = following - last > TOLERANCE * (1.0 + following)
    if weights == "distance":
        determined &= shares[:, -1] - shares[:, -2] > TOLERANCE
        # If there are rows at distance 0, only these vote.
        determined |= (distances[:, 0] == 0.0) & (last > 0.0)
    classes = model.classes_.tolist()
    found = [classes.index(label) for label in model.predict(x)]
    return classes, [answer if known else None for answer, known in zip(found, determined)]


def main():
    write_digits(REFERENCE / "digits.csv")
    datasets = {
        "iris": read(ROOT / "data/iris.csv", "Id", "Species"),
        "wine": read(ROOT / "data/wine.csv", "Bottle", "Cultivar"),
        "digits": read(REFERENCE / "digits.csv", "Id", "Digit"),
    }
    cases = []
    for (dataset, (x, y)), scale, weights, metric in itertools.product(
        datasets.items(), ("none", "standard"), ("uniform", "distance"), ("euclidean", "manhattan")
    ):
        classes, predicted = predictions(x, y, scale, weights, metric)
        cases.append(
            {
                "dataset": dataset,
                "scale": scale,
                "weights": weights,
                "metric": metric,
                "classes": classes,
                "predicted": predicted,
            }
        )
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (REFERENCE / "neighbors.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
