"""The paper's consumer, record by record: BOOTSTRAP GROUP INPUT FEEDBACK TRAINING_CSV RECORDS.

Handles each record as the paper's notebook does: deserialise it, predict one row with scikit-learn, print the result,
and for a misprediction send and flush. Two things differ: the topic, the number of records and the training rows are
parameters, and all partitions are read at once instead of one after the other. Prints records and seconds as JSON on
standard error, because the predictions go to standard output.
"""

import json
import sys
import time

import pandas as pd
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from sklearn.neighbors import KNeighborsClassifier

FEATURES = ["SepalLengthCm", "SepalWidthCm", "PetalLengthCm", "PetalWidthCm"]


def main(bootstrap, group, topic, feedback, csv, records):
    rows = pd.read_csv(csv)
    knn = KNeighborsClassifier(n_neighbors=5)
    knn.fit(rows[FEATURES].values, rows["Species"].values)
    producer = KafkaProducer(bootstrap_servers=bootstrap, value_serializer=lambda value: json.dumps(value).encode("utf-8"))
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        consumer_timeout_ms=10000,
        value_deserializer=lambda value: json.loads(value.decode("utf-8")),
        group_id=group,
    )
    partitions = consumer.partitions_for_topic(topic)
    consumer.assign([TopicPartition(topic, partition) for partition in partitions])
    started, count = None, 0
    for message in consumer:
        started = started or time.monotonic()
        value = message.value
        predicted = knn.predict([[value[feature] for feature in FEATURES]])[0]
        truth = value["Species"]
        print(f"Partition: {message.partition}, Predicted Species: {predicted}, True Species: {truth}")
        if predicted != truth:
            value["PredictedSpecies"] = predicted
            producer.send(feedback, value=value)
            producer.flush()
            print(f"Feedback: {value}")
        count += 1
        if count == records:
            break
    print(json.dumps({"records": count, "seconds": time.monotonic() - started}), file=sys.stderr)


if __name__ == "__main__":
    *names, limit = sys.argv[1:]
    main(*names, int(limit))
