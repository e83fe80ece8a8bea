/* The controller's parts and what they share. One thread (tick.c) owns all of it; the HTTP form only queues a request.
 *
 *   wake ──▶ leader? ──▶ close due windows ──▶ outbox ──▶ relay ──▶ app topics
 *                   └──▶ chores: sweep, fold, partitions, retention
 *
 * A window is closed in the transaction that writes its outbox rows, and taking its pending row is what makes
 * it once: two live leaders close it once. The lock only saves the second one's work. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/map.h"
#include "bus/bus.h"
#include "db/db.h"
#include "db/deletion.h"
#include "db/endpoint.h"
#include "db/project.h"
#include "db/window.h"
#include "lake/clear.h"
#include "lake/expire.h"
#include "lake/lake.h"
#include "metrics/metrics.h"
#include "pipeline/identity.h"
#include "service/service.h"
#include "service/worker.h"

struct controller_options {
    struct identity id;
    int64_t lateness_us, max_lateness_us, tick_us, empty_reach_us;
    int64_t close_batch, close_max;
    int64_t sweep_us, fold_after_us, fold_max;
    int64_t relay_inflight;
    int64_t deleted_again_us;
    int64_t retention_slots_us, retention_results_us, retention_dead_letters_us, retention_lake_us, retention_audit_us;
    char *lake_dir;
    int64_t reference_auto;
};
extern const struct config_key controller_keys[];
extern const size_t controller_keys_n;

enum {
    M_WINDOWS,
    M_LATE_ROWS,
    M_EVENTS,
    M_RELAYED,
    M_OUTBOX_ROWS,
    M_OUTBOX_AGE,
    M_TICK_SECONDS,
    M_FRONTIER_LAG,
    M_WAITING,
    M_LEADER,
    M_CHORES,
    M_REFERENCES,
};
enum { WINDOW_FIRST, WINDOW_REVISION, WINDOW_SILENT };
enum { CHORE_SWEPT, CHORE_FOLDED, CHORE_DAYS_DROPPED, CHORE_FILES_DELETED, CHORE_ENDPOINTS_CLEARED };
enum { REFERENCE_MADE, REFERENCE_FAILED };
enum { RELAY_SENT, RELAY_FAILED, RELAY_REFUSED };
extern struct metric_set controller_metrics;

/* What a tick did: answered by POST /. */
struct tick_report {
    bool leader;
    int64_t projects, closed, revisions, late_rows, silent, waiting, events;
    int64_t swept, folded, days_dropped, files_deleted, endpoints_cleared;
};

/* What one closing pass over a project needs to know. */
struct close_scope {
    const struct project *project;
    const struct app_row *apps; /* active ones of the project */
    size_t n_apps;
    bool needs_rows;     /* one of them does */
    bool wants_empty;    /* one of them is told of windows without rows */
    int64_t frontier_us; /* statistics */
    int64_t lake_us;     /* the lake's; INT64_MAX: the project has no lake */
    int64_t now_us;
};

struct frontiers {       /* frontier.c: projects whose frontier stands still, for /readyz */
    struct map projects; /* id as 4 bytes ⇒ struct standing */
    struct buf words;    /* of this tick */
    size_t n_still, n_failed;
    int64_t round;
};
void frontiers_begin(struct frontiers *f);
/* This tick's frontier of a project; asks for the partition that holds it back when it has not moved for long. */
rc_t frontiers_note(struct frontiers *f, struct db *db, const struct project *p, int64_t frontier_us,
                    struct err *e) MUST_CHECK;
void frontiers_failed(struct frontiers *f, const struct project *p, rc_t rc, const struct err *e);
void frontiers_end(struct frontiers *f, struct health_dep *health);
void frontiers_done(struct frontiers *f);

struct closer { /* close.c, known.c */
    const struct controller_options *opts;
    struct map endpoints; /* id as 8 bytes ⇒ struct endpoint, dropped when its record changes or is deleted */
    int64_t change_seq;
    struct gone_watch gone;
    struct map days;            /* days whose partitions are there */
    struct map empties;         /* project's id as 4 bytes ⇒ int64_t: empty windows are pending up to there */
    struct lake_reader *reader; /* learn.c, as the next two; opened at first need */
    struct map failed;          /* id as 8 bytes ⇒ int64_t: no look into the lake before (monotonic) */
    int64_t learn_until_us;     /* monotonic: of this tick */
};
void closer_done(struct closer *c);
void closer_forget_days(struct closer *c); /* after partitions were dropped */
/* Closes what is due, at most close_max windows; *ret_more: some are left. Adds to *r. */
rc_t close_project(struct closer *c, struct db *db, const struct close_scope *s, struct tick_report *r, bool *ret_more,
                   struct err *e) MUST_CHECK;
/* Makes windows pending in which nothing came, up to what the frontier lets close. */
rc_t close_find_empty(struct closer *c, struct db *db, const struct close_scope *s, struct err *e) MUST_CHECK;
/* Takes note of changed endpoint records. Once a tick, before close_project. */
rc_t close_refresh(struct closer *c, struct db *db, struct err *e) MUST_CHECK;

bool close_lake_behind(const struct close_scope *s, const struct closer *c, const struct pending_window *w);

/* How many first rows make a reference in this project; 0: none is made, or there is no LAKE_DIR. */
int64_t learn_rows(const struct closer *c, const struct project *p);
void learn_begin(struct closer *c); /* once a tick */
void learn_done(struct closer *c);
/* Before a due window is closed, outside of a transaction: makes the endpoint's reference if it has none and there are enough
 * rows. *ret_wait: there are, but the lake has not caught up with the window, or the tick's time is used up. */
rc_t learn_reference(struct closer *c, struct db *db, const struct close_scope *s, const struct pending_window *w,
                     bool *ret_wait, struct err *e) MUST_CHECK;

/* Borrowed until the next close_refresh. E_NOTFOUND: deleted. */
rc_t closer_endpoint(struct closer *c, struct db *db, int64_t id, const struct endpoint **ret, struct err *e) MUST_CHECK;
/* The days that these windows end on have their partitions. */
rc_t closer_days(struct closer *c, struct db *db, const struct pending_window *w, size_t n, struct err *e) MUST_CHECK;

struct relay; /* relay.c: outbox ⇒ bus, in order a key, at least once */
struct relay *relay_new(const struct controller_options *opts, struct bus_producer *p, struct worker *wake);
void relay_free(struct relay *r); /* after the producer was freed: no callback comes any more */
/* Settles a batch that has come back and sends the next one. Never waits for the bus. *ret_busy: more to do at the next wake. */
rc_t relay_step(struct relay *r, struct db *db, bool *ret_busy, struct err *e) MUST_CHECK;
void relay_reset(struct relay *r); /* no longer the leader: what is in flight is not deleted by us */

struct deleted { /* deleted.c: how far the rows and the files of the deleted endpoint in turn are gone */
    struct deletion_cursor rows;
    struct lake_clearing files;
    int64_t files_of; /* its id; 0: none */
};
/* Rows and files of deleted endpoints, until deadline_us (monotonic); *ret_again: soon again. */
rc_t deleted_clear(struct deleted *at, const struct controller_options *opts, struct db *db, int64_t deadline_us,
                   struct tick_report *r, bool *ret_again, struct err *e) MUST_CHECK;

struct chores { /* chores.c */
    int64_t next_sweep_us, next_fold_us, next_days_us, next_retention_us, next_audit_us,
        next_lake_us; /* monotonic; 0: at once */
    int64_t next_deleted_us;
    bool swept; /* all of the reach, once since the start */
    struct lake_expiry lake;
    struct deleted deleted;
};
/* Everything that is due, a bounded piece of it. */
rc_t chores_run(struct chores *ch, const struct controller_options *opts, struct closer *closer, struct db *db,
                const struct project *projects, size_t n, struct tick_report *r, struct err *e) MUST_CHECK;

struct controller {
    struct controller_options opts;
    struct bus_config bus;
    struct db_config db_cfg;
    struct service *service;
    struct health_dep *health_db, *health_bus, *health_leader, *health_frontiers;
    struct db *lock, *db; /* the lock lives as long as its connection: it has one of its own */
    struct bus_producer *producer;
    struct relay *relay;
    struct closer closer;
    struct frontiers frontiers;
    struct chores chores;
    struct worker worker;
    bool leader, db_ready;
    int64_t answered_us; /* monotonic: when the lock's connection last answered */
    int64_t opened_us;   /* monotonic */
    bool bus_seen;       /* a broker has answered once */
    int64_t depth_due_us;

    pthread_mutex_t mutex; /* over the requests */
    struct http_request **requests;
    size_t n_requests, cap_requests;
    bool closed; /* no more requests are taken */
};
void controller_run(struct worker *w, void *arg); /* tick.c: the thread */
void controller_request(struct http_request *r, void *arg);
