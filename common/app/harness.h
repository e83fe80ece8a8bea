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

struct harness_case {
    const char *const *features, *const *labels;
    size_t n_features, n_labels;
    const double *rows; /* n_rows × (n_features + n_labels); NaN: missing */
    size_t n_rows;
    const struct reference *reference; /* NULL: none */
    const char *const *options;        /* "DRIFT_EDGES=mlrun", …, NULL; NULL: all defaults */
    int64_t start_us, end_us;          /* 0 0: ten minutes of 2025-01-01 */
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
