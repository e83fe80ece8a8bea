/* Refused records, as ranges of offsets in text. */
#include "db/refused.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"
#include "db/driver.h"

#define KEY "pipeline = $1 AND topic = $2 AND partition = $3"

/* offsets: ascending, the same one perhaps twice. */
static void print_ranges(const int64_t *offsets, size_t n, struct buf *out)
{
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && offsets[end] <= offsets[end - 1] + 1; end++)
            ;
        buf_addf(out, "%s%lld-%lld", i ? "," : "", (long long)offsets[i], (long long)offsets[end - 1]);
    }
}

struct offsets {
    int64_t *at;
    size_t n, cap;
};

static void add_range(struct offsets *to, int64_t first, int64_t last)
{
    for (int64_t k = first; k <= last; k++) {
        if (to->n == to->cap) {
            to->cap = to->cap ? to->cap * 2 : 64;
            to->at = mem_grow(to->at, to->cap, sizeof *to->at);
        }
        to->at[to->n++] = k;
    }
}

static void read_ranges(const char *text, int64_t from, struct offsets *to)
{
    while (*text) {
        char *end = NULL;
        int64_t first = strtoll(text, &end, 10), last = strtoll(end + (*end == '-'), &end, 10);
        add_range(to, first < from ? from : first, last);
        text = end + (*end == ',');
        if (*end != ',')
            return;
    }
}

rc_t refused_add(struct db *db, const char *pipeline, const char *topic, int32_t partition, int64_t end_offset,
                 int64_t *offsets, size_t n, int64_t keep_from, struct err *e)
{
    CLEANUP(buf_done) struct buf text = {0};
    qsort(offsets, n, sizeof *offsets, num_order_i64);
    print_ranges(offsets, n, &text);
    rc_t rc = db_run(db, "DELETE FROM refused_records WHERE " KEY " AND end_offset < $4",
                     DB_PARAMS(DBV_TEXTZ(pipeline), DBV_TEXTZ(topic), DBV_I64(partition), DBV_I64(keep_from)), NULL, e);
    return rc ? rc
              : db_run(db,
                       "INSERT INTO refused_records (pipeline, topic, partition, end_offset, offsets) "
                       "VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                       DB_PARAMS(DBV_TEXTZ(pipeline), DBV_TEXTZ(topic), DBV_I64(partition), DBV_I64(end_offset),
                                 DBV_TEXT(buf_str(&text))),
                       NULL, e);
}

rc_t refused_list(struct db *db, const char *pipeline, const char *topic, int32_t partition, int64_t from,
                  int64_t **ret, size_t *n, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(db, "SELECT offsets FROM refused_records WHERE " KEY " AND end_offset > $4",
                      DB_PARAMS(DBV_TEXTZ(pipeline), DBV_TEXTZ(topic), DBV_I64(partition), DBV_I64(from)), &rows, e);
    if (rc)
        return rc;
    struct offsets found = {.at = mem_array(1, sizeof *found.at), .cap = 1};
    for (size_t i = 0; i < db_rows_n(rows); i++) {
        CLEANUP(mem_freep) char *text = db_dup(rows, i, 0);
        read_ranges(text, from, &found);
    }
    qsort(found.at, found.n, sizeof *found.at, num_order_i64);
    *ret = found.at;
    *n = found.n;
    return OK;
}
