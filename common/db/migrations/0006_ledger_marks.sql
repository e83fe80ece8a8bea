-- What a ledger row knows of the log it is in, why a partition stands still, and what operators decided.
ALTER TABLE ledger ADD COLUMN generation integer NOT NULL DEFAULT 0;    -- one more each time it went on elsewhere than where it was
ALTER TABLE ledger ADD COLUMN floor_offset bigint NOT NULL DEFAULT 0;   -- nothing below was read in this generation
ALTER TABLE ledger ADD COLUMN end_offset bigint;                        -- of the log when it was last looked at
ALTER TABLE ledger ADD COLUMN mark_offset bigint;                       -- a record that was read: a log that has
ALTER TABLE ledger ADD COLUMN mark_us bigint;                           -- another one there, or none, is another log
ALTER TABLE ledger ADD COLUMN mark_print bigint;
ALTER TABLE ledger ADD COLUMN stopped text NOT NULL DEFAULT '';         -- why it stands still until an operator decides; last_error says it in words

ALTER TABLE dead_letters ADD COLUMN generation integer NOT NULL DEFAULT 0;

CREATE TABLE operator_actions (
    id           bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_us        bigint  NOT NULL,
    who          text    NOT NULL,
    action       text    NOT NULL,                       -- ledger_skip, dead_letter_retry, dead_letter_drop
    pipeline     text    NOT NULL,
    topic        text    NOT NULL,
    partition    integer NOT NULL,
    from_offset  bigint,                                 -- ledger_skip: where it was; else the dead letter's offset
    to_offset    bigint,                                 -- ledger_skip: where it goes on; -1: the log's beginning, -2: its end
    letter_us    bigint,                                 -- the dead letter's at_us
    detail       text    NOT NULL DEFAULT ''
);
CREATE INDEX operator_actions_by_place ON operator_actions (pipeline, topic, partition, from_offset);
