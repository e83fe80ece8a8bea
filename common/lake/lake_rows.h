/* Rows held in memory for one file: a (partition, endpoint, hour, schema). Internal to this folder.
 * A cell is 8 bytes: a double, or where a string stands in the file's text. Cells lie row after row. */
#pragma once
#include "base/buf.h"
#include "base/rc.h"
#include "event/inference.h"
#include "lake/lake.h"

struct text_at { /* in lake_file.text; TEXT_NONE: null */
    uint32_t at, n;
};
#define TEXT_NONE ((struct text_at){UINT32_MAX, UINT32_MAX})

union cell {
    double num;
    uint64_t bits; /* CELL_NULL: no value. A NaN that no decoder makes */
    struct text_at text;
};
#define CELL_NULL UINT64_C(0x7ff8deadbeef0001)

struct lake_event { /* what the rows of one event share */
    int64_t offset, when_us, latency_us, first_request_us;
    double sample_count, prediction_count; /* of the whole event */
    struct text_at request_id, labels, metrics;
    uint32_t n_rows;
};

struct lake_file {
    struct lake_file *next; /* of the same partition */
    int32_t project_id;
    int64_t endpoint_id, hour_us;
    int endpoint_type;
    char *project, *uid, *name, *function_uri, *model_class;
    struct schema schema;
    size_t n_cols; /* features and labels */
    struct lake_event *events;
    size_t n_events, cap_events;
    union cell *cells;
    size_t n_rows, cap_rows;
    char **names;           /* lake_file_names, once others are kept */
    struct text_at *others; /* cap_rows: a row's modelmon_other; NULL: no row has any */
    struct buf text;
    int64_t min_us, max_us;
};

struct lake_file *lake_file_new(const struct lake_endpoint *ep, int64_t hour_us);
void lake_file_free(struct lake_file *f);
int64_t lake_file_bytes(const struct lake_file *f);
/* E_LIMIT: the file's text is at 4 GiB: flush first. */
rc_t lake_file_add(struct lake_file *f, const struct inference_event *ev, int64_t offset, int64_t first_request_us,
                   size_t *ret_nulled, struct err *e) MUST_CHECK;
static inline struct str lake_text(const struct lake_file *f, struct text_at t)
{
    return (struct str){f->text.data + t.at, t.n};
}
static inline bool text_is_none(struct text_at t)
{
    return t.at == UINT32_MAX && t.n == UINT32_MAX;
}
