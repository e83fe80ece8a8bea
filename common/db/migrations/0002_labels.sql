-- The truth about predictions, as it was told afterwards; joined by request id, and by endpoint where it was said.
CREATE TABLE labels (
    project_id   integer NOT NULL,
    request_id   text    NOT NULL,
    endpoint_uid text    NOT NULL DEFAULT '',            -- '': not said, request ids are the project's
    when_us      bigint  NOT NULL,                       -- of two for one request the later one counts
    label        text    NOT NULL,                       -- a JSON value; of a request with many rows a list of as many
    written_us   bigint  NOT NULL,
    PRIMARY KEY (project_id, request_id, endpoint_uid, when_us)
) PARTITION BY RANGE (when_us);
