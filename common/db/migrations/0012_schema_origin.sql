-- From which record on a schema version holds: both pipelines, and a replay, read a row without names by the same one.
ALTER TABLE endpoint_schemas
    ADD COLUMN from_us         bigint  NOT NULL DEFAULT 0,  -- log time of that record; a client's version: from then on
    ADD COLUMN from_partition  integer NOT NULL DEFAULT -1, -- -1: not made by a record
    ADD COLUMN from_generation integer NOT NULL DEFAULT 0,
    ADD COLUMN from_offset     bigint  NOT NULL DEFAULT 0;
UPDATE endpoint_schemas SET from_us = created_us;
