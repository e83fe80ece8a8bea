/* Where an app's rows and earlier windows come from: database and lake (input.c), or the harness's memory.
 * What app_rows, app_totals and app_earlier call; an app itself never sees it. */
#pragma once
#include "app/app.h"

struct app_source {
    rc_t (*rows)(struct app_source *s, const struct app_input *in, const char *const *columns, size_t n,
                 lake_batch_fn *fn, void *arg, struct err *e);
    rc_t (*totals)(struct app_source *s, int64_t start_us, int64_t end_us, struct app_totals *ret, struct err *e);
    rc_t (*earlier)(struct app_source *s, const struct app_input *in, int64_t start_us, int64_t end_us,
                    struct slot **ret, struct err *e);
};
