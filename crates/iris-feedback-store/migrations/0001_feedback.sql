-- One row for each record of the feedback topic, identified by where it was read from.
CREATE TABLE feedback (
    source_topic TEXT NOT NULL,
    source_partition BIGINT NOT NULL,
    source_offset BIGINT NOT NULL,
    -- When the record was created, in milliseconds since the epoch.
    created_ms BIGINT,
    -- What the record says, as far as it can be read.
    record_id TEXT,
    label TEXT,
    predicted TEXT,
    -- Where the prediction came from.
    model_version TEXT,
    input_partition BIGINT,
    input_offset BIGINT,
    votes TEXT,
    -- The record as it is, and what kept it from being read, if anything did.
    value TEXT NOT NULL,
    problem TEXT,
    PRIMARY KEY (source_topic, source_partition, source_offset)
);

-- For each partition the offset at which reading goes on; written with the rows, in one transaction.
CREATE TABLE feedback_offsets (
    source_topic TEXT NOT NULL,
    source_partition BIGINT NOT NULL,
    next_offset BIGINT NOT NULL,
    PRIMARY KEY (source_topic, source_partition)
);
