-- Who may ask, and who changed what.
CREATE TABLE access_tokens (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text   NOT NULL,
    hash         text   NOT NULL UNIQUE,      -- SHA-256 of the token, hex: the token itself is nowhere
    scopes       text   NOT NULL,             -- "ingest,read"
    projects     text   NOT NULL,             -- "shop,flowers", or "*"
    rate         bigint NOT NULL DEFAULT 0,   -- requests a second; 0: as ACCESS_RATE says
    created_us   bigint NOT NULL,
    created_by   text   NOT NULL DEFAULT '',
    expires_us   bigint,
    last_used_us bigint,                      -- to the minute
    revoked_us   bigint,
    revoked_by   text   NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX access_tokens_by_name ON access_tokens (name) WHERE revoked_us IS NULL;

CREATE TABLE access_version (                 -- goes up with each change of access_tokens, in their order
    id      integer PRIMARY KEY,
    version bigint  NOT NULL
);
INSERT INTO access_version VALUES (1, 1);

CREATE TABLE audit_log (                      -- rows are only added, and deleted when they are old
    id      bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_us   bigint  NOT NULL,
    who     text    NOT NULL,                 -- the token's name; "": nobody in particular
    address text    NOT NULL,
    action  text    NOT NULL,                 -- "PUT /api/v1/projects/{project}"
    target  text    NOT NULL,                 -- the path
    project text    NOT NULL,                 -- "": none
    status  integer NOT NULL
);
CREATE INDEX audit_log_by_time ON audit_log (at_us);
