"""The same work in Python with batches: BOOTSTRAP GROUP INPUT FEEDBACK TRAINING_CSV RECORDS.

confluent-kafka reads batches of 10,000 records, scikit-learn predicts a batch at once, and offsets are committed after
each batch is delivered: at least once. Prints records and seconds as JSON on standard error.
"""

import json
import sys
import time

import numpy as np
import pandas as pd
from confluent_kafka import Consumer, Producer
from sklearn.neighbors import KNeighborsClassifier

FEATURES = ["SepalLengthCm", "SepalWidthCm", "PetalLengthCm", "PetalWidthCm"]
BATCH = 10_000


def main(bootstrap, group, topic, feedback, csv, records):
    rows = pd.read_csv(csv)
    knn = KNeighborsClassifier(n_neighbors=5)
    knn.fit(rows[FEATURES].values, rows["Species"].values)
    producer = Producer({
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        "compression.type": "lz4",
        "linger.ms": 5,
    })
    consumer = Consumer({
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "queued.min.messages": 200_000,
        "fetch.queue.backoff.ms": 2,
    })
    consumer.subscribe([topic])
    started, count = None, 0
    while count < records:
        messages = [message for message in consumer.consume(BATCH, 0.1) if message.error() is None]
        if not messages:
            continue
        started = started or time.monotonic()
        values = [json.loads(message.value()) for message in messages]
        features = np.array([[value[feature] for feature in FEATURES] for value in values])
        for value, predicted in zip(values, knn.predict(features)):
            if predicted != value["Species"]:
                value["PredictedSpecies"] = predicted
                producer.produce(feedback, json.dumps(value))
        producer.flush()
        consumer.commit(asynchronous=True)
        count += len(messages)
    print(json.dumps({"records": count, "seconds": time.monotonic() - started}), file=sys.stderr)
    consumer.close()


if __name__ == "__main__":
    *names, limit = sys.argv[1:]
    main(*names, int(limit))
