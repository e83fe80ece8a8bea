-- PostgreSQL's 0011_alerts.sql says what the columns mean.
CREATE TABLE alerts (
    id         integer PRIMARY KEY AUTOINCREMENT,
    project_id integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    name       text    NOT NULL,
    body       text    NOT NULL,
    active     boolean NOT NULL DEFAULT false,
    count      bigint  NOT NULL DEFAULT 0,
    created_us bigint  NOT NULL,
    updated_us bigint  NOT NULL,
    UNIQUE (project_id, name)
);

CREATE TABLE alert_activations (
    id               integer PRIMARY KEY AUTOINCREMENT,
    project_id       integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    alert_id         bigint  NOT NULL,
    name             text    NOT NULL,
    severity         text    NOT NULL,
    criteria         text    NOT NULL,
    entity_kind      text    NOT NULL,
    entity_id        text    NOT NULL,
    event_kind       text    NOT NULL,
    number_of_events bigint  NOT NULL,
    notifications    text    NOT NULL DEFAULT '[]',
    activation_us    bigint  NOT NULL,
    reset_us         bigint
);
CREATE INDEX alert_activations_by_time ON alert_activations (project_id, activation_us, id);

CREATE TABLE alert_events (
    id          integer PRIMARY KEY AUTOINCREMENT,
    project_id  integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    kind        text    NOT NULL,
    entity_kind text    NOT NULL,
    entity_id   text    NOT NULL,
    value       text    NOT NULL DEFAULT '{}',
    at_us       bigint  NOT NULL,
    received_us bigint  NOT NULL
);
CREATE INDEX alert_events_by_project ON alert_events (project_id, id);
