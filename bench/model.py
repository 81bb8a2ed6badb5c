"""Measures the predictions per second of scikit-learn's k-nearest neighbours by training rows and features, for `make
bench-model`. Uses one core, batches of 10,000 queries and single queries, and rows like those of the Rust benchmark.
"""

import os
import time

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np  # noqa: E402
from sklearn.neighbors import KNeighborsClassifier  # noqa: E402

CLASSES = 3
BATCH = 10_000
SINGLE = 500
SECONDS = 1.0


def rows(rng, count, width):
    labels = np.arange(count) % CLASSES
    noise = (rng.random((count, width, 4)) - 0.5).sum(axis=2)
    return labels[:, None] * 1.5 + noise, labels


def rate(predict, queries):
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        predict(queries)
        done += len(queries)
    return done / (time.perf_counter() - started)


def main():
    print(f"{'features':>8} {'rows':>8} {'batches, 1/s':>14} {'one by one, 1/s':>16}")
    for width in (4, 13, 30):
        for count in (120, 1_000, 10_000, 100_000):
            rng = np.random.default_rng(42)
            features, labels = rows(rng, count, width)
            model = KNeighborsClassifier(n_neighbors=5).fit(features, labels)
            queries, _ = rows(rng, BATCH, width)
            single = [queries[i : i + 1] for i in range(SINGLE)]
            batches = rate(model.predict, queries)
            one_by_one = rate(lambda asked: [model.predict(query) for query in asked], single)
            print(f"{width:>8} {count:>8} {batches:>14,.0f} {one_by_one:>16,.0f}")


if __name__ == "__main__":
    main()
