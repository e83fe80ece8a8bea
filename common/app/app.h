/* The SDK: a monitoring app is one file with one struct app and a main of one line.
 *
 *   window event (bus or POST /) ──▶ endpoint record, reference, counts of the window (slots; recounted from the lake
 *   when the reference changed) ──▶ app.track() ──▶ results, metrics, statistics ──▶ writer topic, acknowledged ──▶ ledger
 *
 * An app is a pure function of its window: the same input gives the same bytes, so a replay changes nothing. What it reads of
 * earlier windows is as they are known when it runs.
 *
 * One that crashes or hangs on a window loses that window alone: a dead letter `app_failed`, a result `app_failed` of the
 * endpoint, and the process begins anew. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/rc.h"
#include "config/config.h"
#include "db/endpoint.h"
#include "event/result.h"
#include "lake/lake.h"
#include "stats/drift.h"
#include "stats/reference.h"
#include "stats/slot.h"

struct service_def;
struct app_input {
    struct str project, application;
    const struct endpoint *endpoint;
    int64_t start_us, end_us; /* [start, end) */
    int revision;
    const struct reference *reference; /* NULL: none in force */
    const struct slot *window;         /* the sum of the window's slots under this reference; rows may be 0 */
    const struct slot_layout *layout;  /* its columns */
    int64_t rows_missing;    /* counted under another schema or reference, and not in the lake: not in window */
    const struct str *files; /* Parquet files of the window below the lake's root, when needs_rows */
    size_t n_files;
    struct arena *arena;       /* for whatever the app makes; gone after track */
    struct app_source *source; /* behind app_rows, app_totals and app_earlier */
};

/* ---- read when asked for; what they fail with, track answers ---- */
/* The window's rows, batch by batch (lake.h): features and labels by name, and the lake's own columns (latency, metrics,
 * request_id, …). An app with needs_rows gets all of them; without it those that are in the lake by now. */
rc_t app_rows(const struct app_input *in, const char *const *columns, size_t n, lake_batch_fn *fn, void *arg,
              struct err *e) MUST_CHECK;
/* Of another span of time, whole slots: cheap. */
struct app_totals {
    int64_t requests, rows, errors;
    double estimated;
};
rc_t app_totals(const struct app_input *in, int64_t start_us, int64_t end_us, struct app_totals *ret,
                struct err *e) MUST_CHECK;
/* The counts of another window under the same layout; slot_free. */
rc_t app_earlier(const struct app_input *in, int64_t start_us, int64_t end_us, struct slot **ret, struct err *e) MUST_CHECK;

/* What the app answers; everything is copied. */
struct app_output;
void app_result(struct app_output *out, const char *name, double value, enum result_kind kind, int status,
                struct str extra_json);
void app_metric(struct app_output *out, const char *name, double value);
void app_statistics(struct app_output *out, const char *name, struct str json, int64_t timestamp_us);
/* A JSON object of the app's own, kept by name with the window: a table, a figure's data. */
void app_artifact(struct app_output *out, const struct app_input *in, const char *name, struct str json);

/* Where a value becomes a detection. NAN: no such line. detected < potential: small values are the bad ones. */
struct app_thresholds {
    double potential, detected;
};
/* NaN: irrelevant; so is any value when neither line is drawn. A value on the line is past it. */
enum result_status app_judge(double value, const struct app_thresholds *t);
/* Options of a share where large is bad: 0 < potential <= detected <= 1, else E_INVALID. */
rc_t app_check_shares(double potential, double detected, struct err *e);
/* A result with the status that the thresholds give it; both are written into its extra data, before those members (a JSON
 * object, or empty). */
void app_result_judged(struct app_output *out, const char *name, double value, enum result_kind kind,
                       const struct app_thresholds *t, struct str extra_json);

struct app {
    const char *name, *version, *summary; /* name: as in the topic, default of APP_NAME */
    /* Windows then close when the lake has caught up with them, and the event names the files. Every app of the project waits
     * with it (the controller's README says so): for apps that judge texts or single rows. */
    bool needs_rows;
    bool wants_empty;     /* windows without rows too: errors alone, or nothing at all (controller's EMPTY_REACH) */
    const char *projects; /* default of APP_PROJECTS; NULL: all */
    const struct config_key *keys; /* its own options, bound to an opts struct of opts_size */
    size_t n_keys, opts_size;
    const struct config_rule *rules; /* of these options; target: NULL, the opts struct is put there */
    size_t n_rules;
    rc_t (*track)(const void *opts, const struct app_input *in, struct app_output *out, struct err *e);
};

/* track answers OK; E_AGAIN: something it needs is down, the window comes again; anything else: this window is a dead
 * letter `app_failed` with e's words, and the next one is handled. A name that is no metric name counts as a failure.
 *
 * The whole program (--try=ROWS.csv: harness.h): configuration, bus, ledger, HTTP form, health, drain. Returns the exit code. */
int app_main(const struct app *app, int argc, char **argv);
/* The same, to be run with others in one process (service_set). scope: put before the names of its own options, so that several
 * apps can be of one process: OPERATIONS_APP_TIMEOUT. */
struct service_def *app_service(const struct app *app, struct arena *a);
struct service_def *app_service_scoped(const struct app *app, const char *scope, struct arena *a);
/* The app's rules, about the options at opts; scope: as above, or NULL. */
const struct config_rule *app_rules(const struct app *app, const void *opts, const char *scope, struct arena *a);
/* Of one made by app_service, before it runs: the app gets no window. Each fails with these words at once (a dead letter, a result
 * app_failed), /readyz has them too. They live as long as the process. */
void app_set_aside(struct service_def *def, const char *words);
