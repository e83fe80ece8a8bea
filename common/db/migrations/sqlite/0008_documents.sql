-- PostgreSQL's 0008_documents.sql says what the columns mean.
CREATE TABLE documents (
    id         integer PRIMARY KEY AUTOINCREMENT,
    project_id integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    kind       text    NOT NULL,
    name       text    NOT NULL,
    uid        text    NOT NULL DEFAULT '',
    tree       text    NOT NULL DEFAULT '',
    iter       integer NOT NULL DEFAULT 0,
    type       text    NOT NULL DEFAULT '',
    state      text    NOT NULL DEFAULT '',
    labels     text    NOT NULL DEFAULT '{}',
    body       text    NOT NULL,
    created_us bigint  NOT NULL,
    updated_us bigint  NOT NULL,
    UNIQUE (project_id, kind, name, uid, iter)
);
CREATE INDEX documents_by_update ON documents (project_id, kind, updated_us, id);
CREATE INDEX documents_by_uid ON documents (project_id, kind, uid);

CREATE TABLE document_tags (
    project_id  integer NOT NULL,
    kind        text    NOT NULL,
    name        text    NOT NULL,
    iter        integer NOT NULL DEFAULT 0,
    tag         text    NOT NULL,
    document_id bigint  NOT NULL REFERENCES documents ON DELETE CASCADE,
    PRIMARY KEY (project_id, kind, name, iter, tag)
);
CREATE INDEX document_tags_by_document ON document_tags (document_id);
