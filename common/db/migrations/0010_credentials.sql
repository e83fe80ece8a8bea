-- What a project may connect to: profiles, secrets that are sealed, and which profiles its monitoring uses.
CREATE TABLE project_secrets (
    project_id integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    name       text    NOT NULL,
    key_id     text    NOT NULL,               -- which key has sealed it
    sealed     bytea   NOT NULL,               -- bound to project and name
    updated_us bigint  NOT NULL,
    PRIMARY KEY (project_id, name)
);

CREATE TABLE datastore_profiles (
    project_id integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    name       text    NOT NULL,
    type       text    NOT NULL,               -- kafka_stream, postgresql, s3, …
    object     text    NOT NULL,               -- JSON, its public part; the private one is the secret datastore-profiles.PROJECT.NAME
    updated_us bigint  NOT NULL,
    PRIMARY KEY (project_id, name)
);

CREATE TABLE monitoring_credentials (
    project_id     integer PRIMARY KEY REFERENCES projects ON DELETE CASCADE,
    stream_profile text    NOT NULL,           -- a profile's name; empty: none
    tsdb_profile   text    NOT NULL,           -- the same, or sqlite:///…
    updated_us     bigint  NOT NULL            -- moves whenever one of the profiles changes
);
