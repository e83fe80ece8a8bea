-- PostgreSQL's 0009_access.sql says what the columns mean.
CREATE TABLE access_tokens (
    id           integer PRIMARY KEY AUTOINCREMENT,
    name         text   NOT NULL,
    hash         text   NOT NULL UNIQUE,
    scopes       text   NOT NULL,
    projects     text   NOT NULL,
    rate         bigint NOT NULL DEFAULT 0,
    created_us   bigint NOT NULL,
    created_by   text   NOT NULL DEFAULT '',
    expires_us   bigint,
    last_used_us bigint,
    revoked_us   bigint,
    revoked_by   text   NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX access_tokens_by_name ON access_tokens (name) WHERE revoked_us IS NULL;

CREATE TABLE access_version (
    id      integer PRIMARY KEY,
    version bigint  NOT NULL
);
INSERT INTO access_version VALUES (1, 1);

CREATE TABLE audit_log (
    id      integer PRIMARY KEY AUTOINCREMENT,
    at_us   bigint  NOT NULL,
    who     text    NOT NULL,
    address text    NOT NULL,
    action  text    NOT NULL,
    target  text    NOT NULL,
    project text    NOT NULL,
    status  integer NOT NULL
);
CREATE INDEX audit_log_by_time ON audit_log (at_us);
