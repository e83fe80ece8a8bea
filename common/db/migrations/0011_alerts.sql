-- Alerts as clients store them, the events that clients report, and when an alert was active.
CREATE TABLE alerts (
    id         bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    name       text    NOT NULL,
    body       text    NOT NULL,                 -- JSON object, without the secret parameters of its notifications
    active     boolean NOT NULL DEFAULT false,
    count      bigint  NOT NULL DEFAULT 0,       -- how often it has become active
    created_us bigint  NOT NULL,
    updated_us bigint  NOT NULL,
    UNIQUE (project_id, name)
);

CREATE TABLE alert_activations (
    id               bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id       integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    alert_id         bigint  NOT NULL,           -- of an alert that may be deleted since
    name             text    NOT NULL,           -- this and the next: of the alert as it was then
    severity         text    NOT NULL,
    criteria         text    NOT NULL,           -- JSON object
    entity_kind      text    NOT NULL,
    entity_id        text    NOT NULL,
    event_kind       text    NOT NULL,
    number_of_events bigint  NOT NULL,
    notifications    text    NOT NULL DEFAULT '[]', -- JSON: how each kind was delivered
    activation_us    bigint  NOT NULL,
    reset_us         bigint                      -- NULL: still active
);
CREATE INDEX alert_activations_by_time ON alert_activations (project_id, activation_us, id);

CREATE TABLE alert_events (                      -- the newest of each project
    id          bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    kind        text    NOT NULL,
    entity_kind text    NOT NULL,
    entity_id   text    NOT NULL,
    value       text    NOT NULL DEFAULT '{}',   -- JSON object
    at_us       bigint  NOT NULL,                -- when it happened
    received_us bigint  NOT NULL
);
CREATE INDEX alert_events_by_project ON alert_events (project_id, id);
