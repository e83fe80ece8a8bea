-- What the table and its columns mean is said in PostgreSQL's 0002_labels.sql.
CREATE TABLE labels (
    project_id   integer NOT NULL,
    request_id   text    NOT NULL,
    endpoint_uid text    NOT NULL DEFAULT '',
    when_us      bigint  NOT NULL,
    label        text    NOT NULL,
    written_us   bigint  NOT NULL,
    PRIMARY KEY (project_id, request_id, endpoint_uid, when_us)
);
CREATE INDEX labels_by_day ON labels (when_us);
