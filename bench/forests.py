"""Writes the accuracies of scikit-learn's random forests to `crates/iris-contract/tests/reference/forests.json`, for the test
`forests.rs`. Needs scikit-learn and numpy.

The datasets are those of `reference.py`, which writes `digits.csv`. Each is split as by default, and each accuracy is the mean of
forests with different seeds.
"""

import json
import math

from reference import REFERENCE, ROOT, read
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

SEEDS = 20
TREES = 100


def accuracies(x, y, min_samples_leaf, max_depth):
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.2, random_state=42)
    scores = []
    for seed in range(SEEDS):
        forest = RandomForestClassifier(
            n_estimators=TREES,
            min_samples_leaf=min_samples_leaf,
            max_depth=max_depth,
            max_features=int(math.log2(x.shape[1])) + 1,
            oob_score=True,
            random_state=seed,
        )
        forest.fit(train_x, train_y)
        scores.append((forest.score(test_x, test_y), forest.oob_score_))
    return [sum(values) / SEEDS for values in zip(*scores)]


def main():
    datasets = {
        "iris": read(ROOT / "data/iris.csv", "Id", "Species"),
        "wine": read(ROOT / "data/wine.csv", "Bottle", "Cultivar"),
        "digits": read(REFERENCE / "digits.csv", "Id", "Digit"),
    }
    cases = []
    for dataset, (x, y) in datasets.items():
        for min_samples_leaf, max_depth in ((1, None), (3, None), (1, 4)):
            held_out, out_of_bag = accuracies(x, y, min_samples_leaf, max_depth)
            cases.append(
                {
                    "dataset": dataset,
                    "trees": TREES,
                    "min_samples_leaf": min_samples_leaf,
                    "max_depth": max_depth or 0,
                    "held_out": round(held_out, 4),
                    "out_of_bag": round(out_of_bag, 4),
                }
            )
    lines = ",\n".join(json.dumps(case) for case in cases)
    (REFERENCE / "forests.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
