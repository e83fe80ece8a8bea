-- Offsets that a sink refused, a row a flush that had any: a warm-up of what was seen leaves them out. Those past the horizon go.
CREATE TABLE refused_records (
    pipeline   text    NOT NULL,
    topic      text    NOT NULL,
    partition  integer NOT NULL,
    end_offset bigint  NOT NULL,                         -- of the flush, exclusive
    offsets    text    NOT NULL,                         -- "3-3,7-12"
    PRIMARY KEY (pipeline, topic, partition, end_offset)
);
