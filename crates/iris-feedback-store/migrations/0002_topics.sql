-- For each feedback topic the id that it had when its first record was stored. A recreated topic has another id; the rows of
-- its records have the source topic `name@id`, because their partitions and offsets begin again.
CREATE TABLE feedback_topics (
    source_topic TEXT NOT NULL PRIMARY KEY,
    topic_id TEXT NOT NULL
);
