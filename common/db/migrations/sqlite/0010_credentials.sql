-- PostgreSQL's 0010_credentials.sql says what the columns mean.
CREATE TABLE project_secrets (
    project_id integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    name       text    NOT NULL,
    key_id     text    NOT NULL,
    sealed     blob    NOT NULL,
    updated_us bigint  NOT NULL,
    PRIMARY KEY (project_id, name)
);

CREATE TABLE datastore_profiles (
    project_id integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    name       text    NOT NULL,
    type       text    NOT NULL,
    object     text    NOT NULL,
    updated_us bigint  NOT NULL,
    PRIMARY KEY (project_id, name)
);

CREATE TABLE monitoring_credentials (
    project_id     integer PRIMARY KEY REFERENCES projects ON DELETE CASCADE,
    stream_profile text    NOT NULL,
    tsdb_profile   text    NOT NULL,
    updated_us     bigint  NOT NULL
);
