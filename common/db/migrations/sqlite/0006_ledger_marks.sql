-- PostgreSQL's 0006_ledger_marks.sql says what the columns mean.
ALTER TABLE ledger ADD COLUMN generation integer NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN floor_offset bigint NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN end_offset bigint;
ALTER TABLE ledger ADD COLUMN mark_offset bigint;
ALTER TABLE ledger ADD COLUMN mark_us bigint;
ALTER TABLE ledger ADD COLUMN mark_print bigint;
ALTER TABLE ledger ADD COLUMN stopped text NOT NULL DEFAULT '';

ALTER TABLE dead_letters ADD COLUMN generation integer NOT NULL DEFAULT 0;

CREATE TABLE operator_actions (
    id           integer PRIMARY KEY AUTOINCREMENT,
    at_us        bigint  NOT NULL,
    who          text    NOT NULL,
    action       text    NOT NULL,
    pipeline     text    NOT NULL,
    topic        text    NOT NULL,
    partition    integer NOT NULL,
    from_offset  bigint,
    to_offset    bigint,
    letter_us    bigint,
    detail       text    NOT NULL DEFAULT ''
);
CREATE INDEX operator_actions_by_place ON operator_actions (pipeline, topic, partition, from_offset);
