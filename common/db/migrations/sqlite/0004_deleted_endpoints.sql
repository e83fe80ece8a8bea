-- Endpoints that are gone for everybody, whose rows and files still have to go: step by step, the controller's chore.
CREATE TABLE deleted_endpoints (
    endpoint_id bigint  PRIMARY KEY,
    project_id  integer NOT NULL,
    project     text    NOT NULL,                        -- its name: with uid the folder in the lake
    uid         text    NOT NULL,
    deleted_us  bigint  NOT NULL,
    step        integer NOT NULL DEFAULT 0,              -- 0: rows, 1: files, 2 and 3: once more, for what came late
    due_us      bigint  NOT NULL                         -- when the step is to be done
);
