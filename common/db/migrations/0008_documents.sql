-- MLRun's objects, kept as clients stored them: artifacts, functions, runs, feature sets and vectors, background tasks.
CREATE TABLE documents (
    id         bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    kind       text    NOT NULL,               -- artifact, function, run, feature-set, feature-vector, task
    name       text    NOT NULL,               -- an artifact's key
    uid        text    NOT NULL DEFAULT '',    -- which version: a function's hash, a run's uid
    tree       text    NOT NULL DEFAULT '',    -- of an artifact: the run or the process that made it
    iter       integer NOT NULL DEFAULT 0,
    type       text    NOT NULL DEFAULT '',    -- what the object says of itself: model, dataset; serving, job
    state      text    NOT NULL DEFAULT '',
    labels     text    NOT NULL DEFAULT '{}',  -- JSON object
    body       text    NOT NULL,               -- JSON object
    created_us bigint  NOT NULL,
    updated_us bigint  NOT NULL,
    UNIQUE (project_id, kind, name, uid, iter)
);
CREATE INDEX documents_by_update ON documents (project_id, kind, updated_us, id);
CREATE INDEX documents_by_uid ON documents (project_id, kind, uid);

CREATE TABLE document_tags (                   -- a tag names one version (of an iteration) and moves to the next
    project_id  integer NOT NULL,
    kind        text    NOT NULL,
    name        text    NOT NULL,
    iter        integer NOT NULL DEFAULT 0,
    tag         text    NOT NULL,
    document_id bigint  NOT NULL REFERENCES documents ON DELETE CASCADE,
    PRIMARY KEY (project_id, kind, name, iter, tag)
);
CREATE INDEX document_tags_by_document ON document_tags (document_id);
