-- The spine: projects, endpoints, references, ledger, slots, windows, manifest, results, dead letters, outbox.
-- Times are int64 microseconds UTC. Keys are integers; a project is in every key. Time-keyed tables are
-- partitioned by day (db_days_ensure makes the days, the controller drops those past their retention).
-- segment is 0 until segments come.

CREATE TABLE projects (
    id              integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text    NOT NULL UNIQUE,
    artifact_path   text    NOT NULL DEFAULT '',
    base_period_us  bigint  NOT NULL DEFAULT 600000000,
    monitoring      boolean NOT NULL DEFAULT true,
    default_app     boolean NOT NULL DEFAULT true,
    document        text    NOT NULL DEFAULT '{}',   -- what a client stored, as it came
    created_us      bigint  NOT NULL,
    updated_us      bigint  NOT NULL
);

CREATE TABLE apps (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    name        text    NOT NULL,
    needs_rows  boolean NOT NULL DEFAULT false,      -- the window event waits for the lake and names its files
    active      boolean NOT NULL DEFAULT true,       -- window events are sent
    created_us  bigint  NOT NULL,
    UNIQUE (project_id, name)
);

CREATE TABLE endpoints (
    id                 bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
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
    labels             text    NOT NULL DEFAULT '{}', -- JSON object
    document           text    NOT NULL DEFAULT '{}', -- the rest of MLRun's record (model_path, model_tags, children, …)
    self_registered    boolean NOT NULL DEFAULT false,
    latest             boolean NOT NULL DEFAULT true, -- the one of its (project, name, function, tag)
    first_request_us   bigint,
    last_request_us    bigint,
    schema_version     integer NOT NULL DEFAULT 0,    -- newest row of endpoint_schemas, 0: none yet
    reference_version  integer NOT NULL DEFAULT 0,    -- newest row of endpoint_references, 0: none
    created_us         bigint  NOT NULL,
    updated_us         bigint  NOT NULL,
    change_seq         bigint  NOT NULL DEFAULT 0,    -- from change_seq, at every change a cache must see
    UNIQUE (project_id, uid)
) WITH (fillfactor = 80);                             -- last_request_us changes each second, in place
CREATE SEQUENCE change_seq;
CREATE INDEX endpoints_by_change ON endpoints (change_seq);
CREATE INDEX endpoints_by_name ON endpoints (project_id, name, function_name, function_tag);
CREATE UNIQUE INDEX endpoints_latest ON endpoints (project_id, name, function_name, function_tag)
    WHERE latest AND NOT self_registered;

CREATE TABLE endpoint_aliases (                       -- other uids of an endpoint: the 40-digit sha1 of older senders
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
    seq           bigint  GENERATED ALWAYS AS IDENTITY (START WITH 2) UNIQUE, -- what a ledger row pins: newer schemas
                                                        -- do not exist for a replay. In the order of commits; 1: none yet
    document      text    NOT NULL,                     -- {"features":[{"name","type"}],"labels":[…]}
    named         boolean NOT NULL,                     -- names were given, not made up (f0…, p0…)
    created_us    bigint  NOT NULL,
    PRIMARY KEY (project_id, endpoint_id, version),
    UNIQUE (endpoint_id, version)
);

CREATE TABLE endpoint_references (
    project_id    integer NOT NULL,
    endpoint_id   bigint  NOT NULL REFERENCES endpoints ON DELETE CASCADE,
    version       integer NOT NULL,
    statistics    text    NOT NULL,                     -- feature_stats, JSON, unpadded
    labels        text    NOT NULL DEFAULT '[]',        -- names of the columns that are outputs
    source        text    NOT NULL,                     -- record, api_rows, api_statistics, …
    created_us    bigint  NOT NULL,                     -- in force for windows that end after this, and for all before when it is the first
    PRIMARY KEY (project_id, endpoint_id, version),
    UNIQUE (endpoint_id, version)
);

-- One row per (pipeline, topic, partition): where it is, who owns it, what it has promised.
CREATE TABLE ledger (
    pipeline      text    NOT NULL,
    topic         text    NOT NULL,
    partition     integer NOT NULL,
    project_id    integer NOT NULL,
    next_offset   bigint,                               -- NULL: never started
    intent_end    bigint,                               -- a flush up to here was begun: a replay uses the same end
    schema_seq    bigint,                               -- … and no schema newer than this
    owner_epoch   bigint  NOT NULL DEFAULT 0,           -- the fence: one more at every assignment
    owner         text    NOT NULL DEFAULT '',
    frontier_us   bigint,                               -- all that was in the partition at this instant is handled
    last_error    text    NOT NULL DEFAULT '',
    attempts      integer NOT NULL DEFAULT 0,
    updated_us    bigint  NOT NULL DEFAULT 0,
    PRIMARY KEY (pipeline, topic, partition)
) WITH (fillfactor = 50);
CREATE INDEX ledger_by_project ON ledger (project_id, pipeline);

-- Append-only statistics: a row per flush. Readers sum; folding replaces the rows it read by one.
CREATE TABLE slots (
    project_id        integer  NOT NULL,
    endpoint_id       bigint   NOT NULL,
    slot_start_us     bigint   NOT NULL,
    slot_us           bigint   NOT NULL,                 -- its length
    segment           integer  NOT NULL DEFAULT 0,
    schema_version    integer  NOT NULL,                 -- with reference_version: stats_version
    reference_version integer  NOT NULL,
    topic             text     NOT NULL,
    partition         integer  NOT NULL,
    flush_offset      bigint   NOT NULL,                 -- next_offset after the flush: makes the key unique
    requests          bigint   NOT NULL,
    rows              bigint   NOT NULL,
    errors            bigint   NOT NULL,
    estimated         double precision NOT NULL,         -- predictions, sampling undone
    format            smallint NOT NULL,                 -- of body
    body              bytea    NOT NULL,
    PRIMARY KEY (project_id, endpoint_id, slot_start_us, segment, schema_version, reference_version,
                 topic, partition, flush_offset)
) PARTITION BY RANGE (slot_start_us);

-- Windows with rows that no revision has used yet; written by statistics in the transaction of the rows.
CREATE TABLE pending_windows (
    project_id       integer NOT NULL,
    endpoint_id      bigint  NOT NULL,
    window_start_us  bigint  NOT NULL,
    window_end_us    bigint  NOT NULL,
    rows             bigint  NOT NULL,
    last_handled_us  bigint  NOT NULL,                   -- when its newest row was handled
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
    rows              bigint   NOT NULL,                 -- in the slots when it was closed
    late_rows         bigint   NOT NULL DEFAULT 0,       -- came after max_lateness: in the lake, in no revision
    schema_version    integer  NOT NULL,
    reference_version integer  NOT NULL,                 -- in force at its end
    frontier_us       bigint   NOT NULL,                 -- the project's when it was closed
    closed_us         bigint   NOT NULL,
    folded            boolean  NOT NULL DEFAULT false,
    traceparent       text     NOT NULL DEFAULT '',
    PRIMARY KEY (project_id, endpoint_id, window_end_us, window_start_us, segment)
) PARTITION BY RANGE (window_end_us);
CREATE INDEX windows_by_close ON windows (project_id, closed_us);
CREATE INDEX windows_unfolded ON windows (project_id, closed_us) WHERE NOT folded;

-- Messages that a transaction has promised; the relay sends them and deletes the row after the acknowledgement.
CREATE TABLE outbox (
    id          bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
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
    end_offset     bigint  NOT NULL,                     -- exclusive
    schema_version integer NOT NULL,
    path           text    NOT NULL,                     -- below the project's lake folder
    rows           bigint  NOT NULL,
    bytes          bigint  NOT NULL,
    min_us         bigint  NOT NULL,                     -- event times in it
    max_us         bigint  NOT NULL,
    sha256         text    NOT NULL,
    created_us     bigint  NOT NULL,
    PRIMARY KEY (project_id, endpoint_id, hour_us, topic, partition, start_offset, schema_version)
) PARTITION BY RANGE (hour_us);

CREATE TABLE metrics (                                   -- names of results and metrics, interned
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  integer  NOT NULL,
    app_id      integer  NOT NULL REFERENCES apps ON DELETE CASCADE,
    type        smallint NOT NULL,                       -- 0 result, 1 metric
    name        text     NOT NULL,
    result_kind smallint,                                -- of results
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
    value           double precision,                    -- may be NaN or infinite
    status          smallint,                            -- of results
    extra           text     NOT NULL DEFAULT '',        -- result_extra_data, JSON
    traceparent     text     NOT NULL DEFAULT '',
    written_us      bigint   NOT NULL,
    PRIMARY KEY (project_id, endpoint_id, metric_id, window_end_us, window_start_us, segment)
) PARTITION BY RANGE (window_end_us);

CREATE TABLE app_statistics (                            -- current_stats, drift_measures, with history
    project_id      integer NOT NULL,
    endpoint_id     bigint  NOT NULL,
    app_id          integer NOT NULL,
    name            text    NOT NULL,
    window_start_us bigint  NOT NULL,
    window_end_us   bigint  NOT NULL,
    segment         integer NOT NULL DEFAULT 0,
    revision        integer NOT NULL,
    body            text    NOT NULL,                    -- JSON
    timestamp_us    bigint  NOT NULL,
    written_us      bigint  NOT NULL,
    PRIMARY KEY (project_id, endpoint_id, app_id, name, window_end_us, window_start_us, segment)
) PARTITION BY RANGE (window_end_us);
CREATE INDEX app_statistics_latest ON app_statistics (project_id, endpoint_id, name, window_end_us);

CREATE TABLE dead_letters (
    pipeline     text    NOT NULL,
    topic        text    NOT NULL,
    partition    integer NOT NULL,
    "offset"     bigint  NOT NULL,
    at_us        bigint  NOT NULL,                       -- the record's own timestamp: the same at a replay
    project_id   integer NOT NULL,
    endpoint_id  bigint  NOT NULL DEFAULT 0,             -- 0: not known
    reason       text    NOT NULL,
    field        text    NOT NULL DEFAULT '',
    position     bigint,
    error        text    NOT NULL,
    payload      bytea   NOT NULL,                       -- the first 64 KiB
    size         bigint  NOT NULL,
    PRIMARY KEY (topic, partition, "offset", at_us, pipeline)
) PARTITION BY RANGE (at_us);
CREATE INDEX dead_letters_by_project ON dead_letters (project_id, at_us);
