"""Trains classifiers with scikit-learn on a CSV file, and writes to a directory: each one as NAME.onnx, and NAME.csv with all rows
and its predictions in place of their labels; `expected.json`, with the classes and the probabilities of each row; and models that
must be refused. Usage: models.py DATASET DIRECTORY [TREES], where TREES is the number of trees of the random forest.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ID, LABEL = "Id", "Species"
FLOATS = {"zipmap": False}


def classifiers(trees):
    yield "forest", RandomForestClassifier(trees, random_state=0)
    yield "logistic", LogisticRegression(max_iter=1000)
    yield "scaled", make_pipeline(StandardScaler(), LogisticRegression())
    yield "boosted", GradientBoostingClassifier(random_state=0)


def write(directory, name, model, x):
    onnx = to_onnx(model, x[:1], options=FLOATS)
    (directory / f"{name}.onnx").write_bytes(onnx.SerializeToString())


def write_predictions(path, names, rows, predicted):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*names, LABEL], lineterminator="\n")
        writer.writeheader()
        for row, label in zip(rows, predicted):
            writer.writerow({**{column: row[column] for column in names}, LABEL: label})


def main(dataset, directory, trees):
    directory.mkdir(parents=True, exist_ok=True)
    with open(dataset, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name not in (ID, LABEL)]
    # The models compare 32-bit floats.
    x = np.array([[float(row[name]) for name in names] for row in rows], dtype=np.float32)
    y = np.array([row[LABEL] for row in rows])
    expected = {}
    for name, model in classifiers(trees):
        model.fit(x, y)
        write(directory, name, model, x)
        predicted = model.predict(x).tolist()
        expected[name] = {
            "classes": model.classes_.tolist(),
            "predicted": predicted,
            "probabilities": model.predict_proba(x).tolist(),
        }
        write_predictions(directory / f"{name}.csv", names, rows, predicted)
    (directory / "expected.json").write_text(json.dumps(expected), encoding="utf-8")

    small = RandomForestClassifier(3, random_state=0).fit(x, y)
    (directory / "zipmap.onnx").write_bytes(to_onnx(small, x[:1]).SerializeToString())
    double = to_onnx(small, initial_types=[("X", DoubleTensorType([None, len(names)]))], options=FLOATS)
    (directory / "double.onnx").write_bytes(double.SerializeToString())
    write(directory, "three-features", RandomForestClassifier(3, random_state=0).fit(x[:, :3], y), x[:, :3])
    _, numbers = np.unique(y, return_inverse=True)
    of_numbers = RandomForestClassifier(3, random_state=0).fit(x, numbers)
    write(directory, "numbers", of_numbers, x)
    predicted = np.unique(y)[of_numbers.predict(x)].tolist()
    write_predictions(directory / "numbers.csv", names, rows, predicted)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 100)
