/* Runs an app on rows in memory, without any server: for its unit tests, and for trying it on a file.
 *
 *     const double rows[] = {1, 2,  3, 4};
 *     struct harness_answer a = {0};
 *     rc = harness_run(&my_app, &(struct harness_case){.features = names, .n_features = 2, .rows = rows, .n_rows = 2,
 *                                                      .reference = ref, .options = options}, &a, &e);
 *     … harness_find(&a, "general_drift")->value …
 *     harness_done(&a); */
#pragma once
#include "app/app.h"
#include "app/output.h"

struct harness_earlier { /* a window before: what app_totals and app_earlier find there */
    int64_t start_us, end_us;
    struct app_totals totals;
    const double *rows; /* totals.rows × width, or NULL */
};

struct harness_case {
    const char *const *features, *const *labels;
    size_t n_features, n_labels;
    const double *rows;              /* n_rows × (n_features + n_labels); NaN: missing */
    const struct stat_value *values; /* instead of rows: of any type */
    size_t n_rows;
    const double *latency_us;  /* of each row, a request each; NULL: not known */
    const struct str *metrics; /* of each row: JSON, or empty; NULL: none */
    uint64_t errors;           /* requests that failed, beside n_rows that did not */
    const struct harness_earlier *earlier;
    size_t n_earlier;
    const struct reference *reference; /* NULL: none */
    const char *const *options;        /* "DRIFT_EDGES=mlrun", …, NULL; NULL: all defaults */
    int64_t start_us, end_us;          /* 0 0: ten minutes of 2025-01-01 */
    int64_t first_request_us;          /* of the endpoint; 0: not known */
};
struct harness_answer {
    struct arena mem;
    struct app_output out;
    struct str *events; /* what would go to the writer topic, one an item */
};
/* E_INVALID with words: options that cannot be, or what the app itself answered. */
rc_t harness_run(const struct app *app, const struct harness_case *c, struct harness_answer *ret, struct err *e) MUST_CHECK;
const struct app_item *harness_find(const struct harness_answer *a, const char *name); /* NULL: not answered */
void harness_done(struct harness_answer *a);                                           /* {0} is fine */

/* ---- harness_csv.c ---- */
/* A CSV or Parquet file, as lake/table.h reads it. Columns named in labels are the model's outputs; `latency` (µs), `metrics` (JSON)
 * and `error` (true, or any text: a failed request) are what the lake's columns of these names are. Everything the case points
 * to is in mem. */
struct harness_csv {
    struct arena mem;
    struct harness_case rows;
};
/* E_INVALID, E_LIMIT with the file, and the line where it is one; E_NOTFOUND: no such file. */
rc_t harness_read_csv(const char *path, struct str labels, struct harness_csv *ret, struct err *e) MUST_CHECK;
void harness_csv_done(struct harness_csv *c);
/* The reference that these rows make. */
rc_t harness_reference(const struct harness_csv *c, struct reference **ret, struct err *e) MUST_CHECK;

/* PROGRAM --try=ROWS.csv [--try-reference=TRAINING.csv] [--try-labels=a,b] [the app's options]: prints what the app answers, a line
 * an event. -1: argv asks for none of it; else the exit code. */
int harness_main(const struct app *app, int argc, char **argv);
