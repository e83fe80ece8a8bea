/* What a pipeline knows of endpoints: record, schema, reference. Read from the database (references through the cache),
 * kept in memory, read again when they change. And the mapping of an event's columns to the endpoint's.
 * Thread rule: a registry belongs to one pipeline. */
#pragma once
#include "base/map.h"
#include "cache/cache.h"
#include "columns.h"
#include "db/endpoint.h"
#include "event/inference.h"
#include "pipeline/pipeline.h"
#include "stream.h"

/* One schema version of an endpoint against one reference version: fixed once made, alive as long as the registry. */
struct shape {
    struct shape *next;
    struct columns *columns; /* shared with other endpoints */
    int64_t seq;             /* of the schema */
    struct schema_from from; /* where it begins */
    int reference_version;   /* 0: none, or not wanted */
};

struct project_info {
    int32_t id;
    char *name;
    int64_t base_period_us, slot_us;
};

struct known {
    struct endpoint ep;
    struct project_info *project;
    int reference_version; /* that its shapes are wanted with; 0: without */
    struct shape *shape;   /* of the newest schema */
    struct shape *shapes;  /* newest schema first; of older references too */
    bool complete;         /* every schema is among them, with that reference */
    bool stale;
    bool by_name; /* its events bring a made uid, which is not the record's */
    struct known *next_gone;
    void *recent; /* the statistics sink's accumulator of the last event */
};

struct registry;
struct registry *registry_new(struct stream *st, struct cache *cache, bool with_references);
void registry_free(struct registry *r);
/* Once a second: what changed is read again at its next use. */
rc_t registry_refresh(struct registry *r, struct db *db, struct err *e) MUST_CHECK;

/* The event's place in its endpoint: values in the order of the shape's columns. Borrowed until the next resolve. */
struct resolved {
    struct known *known;
    struct shape *shape;
    const struct value *inputs;  /* n_rows x shape's features */
    const struct value *outputs; /* n_rows x shape's labels */
};
/* OK; E_INVALID: *why says it (a dead letter); E_NOTFOUND: its project was deleted; E_AGAIN: the database is not there. Makes
 * the endpoint and its schema when they are new. A row without names is read by the newest schema that began at or before its
 * record, one with names by the newest of those that fits: what a record means depends on the log and the endpoint's schemas, not
 * on what this process has seen. */
rc_t registry_resolve(struct registry *r, struct db *db, const struct pipeline_record *record,
                      const struct inference_event *ev, struct resolved *ret, struct reject *why, struct err *e) MUST_CHECK;
/* Nothing that was accumulated points to an endpoint any more: the deleted ones are freed. Not within a resolve's borrowing. */
void registry_let_go(struct registry *r);
