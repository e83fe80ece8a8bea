-- The spine in SQLite's words. What the tables and columns mean is said in PostgreSQL's 0001_spine.sql: the columns, their
-- order, keys and defaults are the same here. Differences: days are no partitions but an index on the time, which deleting
-- goes by; a sequence is a table of one row; AUTOINCREMENT, so that a number is never given twice.

CREATE TABLE projects (
    id              integer PRIMARY KEY AUTOINCREMENT,
    name            text    NOT NULL UNIQUE,
    artifact_path   text    NOT NULL DEFAULT '',
    base_period_us  bigint  NOT NULL DEFAULT 600000000,
    monitoring      boolean NOT NULL DEFAULT true,
    default_app     boolean NOT NULL DEFAULT true,
    document        text    NOT NULL DEFAULT '{}',
    created_us      bigint  NOT NULL,
    updated_us      bigint  NOT NULL
);

CREATE TABLE apps (
    id          integer PRIMARY KEY AUTOINCREMENT,
    project_id  integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    name        text    NOT NULL,
    needs_rows  boolean NOT NULL DEFAULT false,
    active      boolean NOT NULL DEFAULT true,
    created_us  bigint  NOT NULL,
    UNIQUE (project_id, name)
);

CREATE TABLE endpoints (
    id                 integer  PRIMARY KEY AUTOINCREMENT,
    project_id         integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    uid                text    NOT NULL,
    name               text    NOT NULL,
    function_name      text    NOT NULL DEFAULT '',
    function_tag       text    NOT NULL DEFAULT '',
    function_uri       text    NOT NULL DEFAULT '',
    model_name         text    NOT NULL DEFAULT '',
    model_class        text    NOT NULL DEFAULT '',
    model_uri          text    NOT NULL DEFAULT '',
    endpoint_type      smallint NOT NULL DEFAULT 1,
    mode               smallint NOT NULL DEFAULT 0,
    monitoring_mode    text    NOT NULL DEFAULT 'enabled',
    sampling_percentage double precision NOT NULL DEFAULT 100,
    labels             text    NOT NULL DEFAULT '{}',
    document           text    NOT NULL DEFAULT '{}',
    self_registered    boolean NOT NULL DEFAULT false,
    latest             boolean NOT NULL DEFAULT true,
    first_request_us   bigint,
    last_request_us    bigint,
    schema_version     integer NOT NULL DEFAULT 0,
    reference_version  integer NOT NULL DEFAULT 0,
    created_us         bigint  NOT NULL,
    updated_us         bigint  NOT NULL,
    change_seq         bigint  NOT NULL DEFAULT 0,
    UNIQUE (project_id, uid)
);
CREATE TABLE change_seq (last_value bigint NOT NULL);
INSERT INTO change_seq VALUES (0);
CREATE INDEX endpoints_by_change ON endpoints (change_seq);
CREATE INDEX endpoints_by_name ON endpoints (project_id, name, function_name, function_tag);
CREATE UNIQUE INDEX endpoints_latest ON endpoints (project_id, name, function_name, function_tag)
    WHERE latest AND NOT self_registered;

CREATE TABLE endpoint_aliases (
    project_id  integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    alias       text    NOT NULL,
    endpoint_id bigint  NOT NULL REFERENCES endpoints ON DELETE CASCADE,
    PRIMARY KEY (project_id, alias)
);
CREATE INDEX endpoint_aliases_by_endpoint ON endpoint_aliases (endpoint_id);

CREATE TABLE endpoint_schemas (
    project_id    integer NOT NULL,
    endpoint_id   bigint  NOT NULL REFERENCES endpoints ON DELETE CASCADE,
    version       integer NOT NULL,
    seq           integer PRIMARY KEY AUTOINCREMENT,
    document      text    NOT NULL,
    named         boolean NOT NULL,
    created_us    bigint  NOT NULL,
    UNIQUE (project_id, endpoint_id, version),
    UNIQUE (endpoint_id, version)
);
INSERT INTO sqlite_sequence VALUES ('endpoint_schemas', 1);

CREATE TABLE endpoint_references (
    project_id    integer NOT NULL,
    endpoint_id   bigint  NOT NULL REFERENCES endpoints ON DELETE CASCADE,
    version       integer NOT NULL,
    statistics    text    NOT NULL,
    labels        text    NOT NULL DEFAULT '[]',
    source        text    NOT NULL,
    created_us    bigint  NOT NULL,
    PRIMARY KEY (project_id, endpoint_id, version),
    UNIQUE (endpoint_id, version)
);

CREATE TABLE ledger (
    pipeline      text    NOT NULL,
    topic         text    NOT NULL,
    partition     integer NOT NULL,
    project_id    integer NOT NULL,
    next_offset   bigint,
    intent_end    bigint,
    schema_seq    bigint,
    owner_epoch   bigint  NOT NULL DEFAULT 0,
    owner         text    NOT NULL DEFAULT '',
    frontier_us   bigint,
    last_error    text    NOT NULL DEFAULT '',
    attempts      integer NOT NULL DEFAULT 0,
    updated_us    bigint  NOT NULL DEFAULT 0,
    PRIMARY KEY (pipeline, topic, partition)
);
CREATE INDEX ledger_by_project ON ledger (project_id, pipeline);

CREATE TABLE slots (
    project_id        integer  NOT NULL,
    endpoint_id       bigint   NOT NULL,
    slot_start_us     bigint   NOT NULL,
    slot_us           bigint   NOT NULL,
    segment           integer  NOT NULL DEFAULT 0,
    schema_version    integer  NOT NULL,
    reference_version integer  NOT NULL,
    topic             text     NOT NULL,
    partition         integer  NOT NULL,
    flush_offset      bigint   NOT NULL,
    requests          bigint   NOT NULL,
    rows              bigint   NOT NULL,
    errors            bigint   NOT NULL,
    estimated         double precision NOT NULL,
    format            smallint NOT NULL,
    body              bytea    NOT NULL,
    PRIMARY KEY (project_id, endpoint_id, slot_start_us, segment, schema_version, reference_version,
                 topic, partition, flush_offset)
);
CREATE INDEX slots_by_day ON slots (slot_start_us);

CREATE TABLE pending_windows (
    project_id       integer NOT NULL,
    endpoint_id      bigint  NOT NULL,
    window_start_us  bigint  NOT NULL,
    window_end_us    bigint  NOT NULL,
    rows             bigint  NOT NULL,
    last_handled_us  bigint  NOT NULL,
    traceparent      text    NOT NULL DEFAULT '',
    PRIMARY KEY (project_id, endpoint_id, window_end_us, window_start_us)
);
CREATE INDEX pending_windows_due ON pending_windows (project_id, window_end_us);

CREATE TABLE windows (
    project_id        integer  NOT NULL,
    endpoint_id       bigint   NOT NULL,
    window_start_us   bigint   NOT NULL,
    window_end_us     bigint   NOT NULL,
    segment           integer  NOT NULL DEFAULT 0,
    revision          integer  NOT NULL,
    rows              bigint   NOT NULL,
    late_rows         bigint   NOT NULL DEFAULT 0,
    schema_version    integer  NOT NULL,
    reference_version integer  NOT NULL,
    frontier_us       bigint   NOT NULL,
    closed_us         bigint   NOT NULL,
    folded            boolean  NOT NULL DEFAULT false,
    traceparent       text     NOT NULL DEFAULT '',
    PRIMARY KEY (project_id, endpoint_id, window_end_us, window_start_us, segment)
);
CREATE INDEX windows_by_day ON windows (window_end_us);
CREATE INDEX windows_by_close ON windows (project_id, closed_us);
CREATE INDEX windows_unfolded ON windows (project_id, closed_us) WHERE NOT folded;

CREATE TABLE outbox (
    id          integer  PRIMARY KEY AUTOINCREMENT,
    project_id  integer NOT NULL,
    topic       text    NOT NULL,
    key         text    NOT NULL,
    payload     text    NOT NULL,
    traceparent text    NOT NULL DEFAULT '',
    created_us  bigint  NOT NULL
);

CREATE TABLE manifest (
    project_id     integer NOT NULL,
    endpoint_id    bigint  NOT NULL,
    hour_us        bigint  NOT NULL,
    topic          text    NOT NULL,
    partition      integer NOT NULL,
    start_offset   bigint  NOT NULL,
    end_offset     bigint  NOT NULL,
    schema_version integer NOT NULL,
    path           text    NOT NULL,
    rows           bigint  NOT NULL,
    bytes          bigint  NOT NULL,
    min_us         bigint  NOT NULL,
    max_us         bigint  NOT NULL,
    sha256         text    NOT NULL,
    created_us     bigint  NOT NULL,
    PRIMARY KEY (project_id, endpoint_id, hour_us, topic, partition, start_offset, schema_version)
);
CREATE INDEX manifest_by_day ON manifest (hour_us);

CREATE TABLE metrics (
    id          integer PRIMARY KEY AUTOINCREMENT,
    project_id  integer  NOT NULL,
    app_id      integer  NOT NULL REFERENCES apps ON DELETE CASCADE,
    type        smallint NOT NULL,
    name        text     NOT NULL,
    result_kind smallint,
    UNIQUE (project_id, app_id, type, name)
);

CREATE TABLE results (
    project_id      integer  NOT NULL,
    endpoint_id     bigint   NOT NULL,
    metric_id       integer  NOT NULL,
    window_start_us bigint   NOT NULL,
    window_end_us   bigint   NOT NULL,
    segment         integer  NOT NULL DEFAULT 0,
    revision        integer  NOT NULL,
    value           double precision,
    status          smallint,
    extra           text     NOT NULL DEFAULT '',
    traceparent     text     NOT NULL DEFAULT '',
    written_us      bigint   NOT NULL,
    PRIMARY KEY (project_id, endpoint_id, metric_id, window_end_us, window_start_us, segment)
);
CREATE INDEX results_by_day ON results (window_end_us);

CREATE TABLE app_statistics (
    project_id      integer NOT NULL,
    endpoint_id     bigint  NOT NULL,
    app_id          integer NOT NULL,
    name            text    NOT NULL,
    window_start_us bigint  NOT NULL,
    window_end_us   bigint  NOT NULL,
    segment         integer NOT NULL DEFAULT 0,
    revision        integer NOT NULL,
    body            text    NOT NULL,
    timestamp_us    bigint  NOT NULL,
    written_us      bigint  NOT NULL,
    PRIMARY KEY (project_id, endpoint_id, app_id, name, window_end_us, window_start_us, segment)
);
CREATE INDEX app_statistics_by_day ON app_statistics (window_end_us);
CREATE INDEX app_statistics_latest ON app_statistics (project_id, endpoint_id, name, window_end_us);

CREATE TABLE dead_letters (
    pipeline     text    NOT NULL,
    topic        text    NOT NULL,
    partition    integer NOT NULL,
    "offset"     bigint  NOT NULL,
    at_us        bigint  NOT NULL,
    project_id   integer NOT NULL,
    endpoint_id  bigint  NOT NULL DEFAULT 0,
    reason       text    NOT NULL,
    field        text    NOT NULL DEFAULT '',
    position     bigint,
    error        text    NOT NULL,
    payload      bytea   NOT NULL,
    size         bigint  NOT NULL,
    PRIMARY KEY (topic, partition, "offset", at_us, pipeline)
);
CREATE INDEX dead_letters_by_day ON dead_letters (at_us);
CREATE INDEX dead_letters_by_project ON dead_letters (project_id, at_us);
