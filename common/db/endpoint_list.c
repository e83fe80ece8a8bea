/* Lists of endpoint records: by filters, and by what has changed. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "db/endpoint_rows.h"
#include "db/query.h"

#define GONE_SETTLE_US (3 * USEC_PER_SEC) /* a change is committed so soon after its number was drawn */

static void build(struct query *q, const struct db_dialect *d, const struct endpoint_filter *f)
{
    buf_addf(&q->sql, "SELECT " ENDPOINT " FROM endpoints WHERE project_id = $%zu", query_add(q, DBV_I64(f->project_id)));
    query_in(q, "name", f->names, f->n_names);
    query_in(q, "uid", f->uids, f->n_uids);
    query_in(q, "function_name", f->function_names, f->n_function_names);
    query_in(q, "function_tag", f->function_tags, f->n_function_tags);
    query_in(q, "model_name", f->model_names, f->n_model_names);
    query_labels(q, d, f->labels, f->n_labels);
    if (f->model_uri_part.n)
        buf_addf(&q->sql, " AND REPLACE(model_uri, $%zu, '') <> model_uri", query_add(q, DBV_TEXT(f->model_uri_part)));
    if (f->mode >= 0)
        query_number(q, "mode =", f->mode);
    if (f->top_level)
        buf_addz(&q->sql, " AND endpoint_type IN (1, 2, 4, 5)");
    if (f->latest_only)
        buf_addz(&q->sql, " AND latest");
    if (f->created_from_us)
        query_number(q, "created_us >=", f->created_from_us);
    if (f->created_to_us)
        query_number(q, "created_us <=", f->created_to_us);
    if (f->after_id)
        query_number(q, "id >", f->after_id);
    buf_addz(&q->sql, " ORDER BY id");
    if (f->limit)
        buf_addf(&q->sql, " LIMIT $%zu", query_add(q, DBV_I64((int64_t)f->limit)));
}

static void read_all(const struct db_rows *rows, struct endpoint **ret, size_t *n)
{
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = endpoint_read(rows, i);
}

rc_t endpoints_list(struct db *db, const struct endpoint_filter *f, struct endpoint **ret, size_t *n, struct err *e)
{
    CLEANUP(query_freep) struct query *q = query_new();
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    build(q, db->dialect, f);
    rc_t rc = query_run(q, db, &rows, e);
    if (!rc)
        read_all(rows, ret, n);
    return rc;
}

rc_t endpoints_changed(struct db *db, int64_t *inout_seq, struct endpoint **ret, size_t *n, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(db, "SELECT " ENDPOINT " FROM endpoints WHERE change_seq > $1 ORDER BY change_seq",
                      DB_PARAMS(DBV_I64(*inout_seq)), &rows, e);
    if (rc)
        return rc;
    read_all(rows, ret, n);
    if (*n)
        *inout_seq = (*ret)[*n - 1].change_seq;
    return OK;
}

rc_t change_seq_last(struct db *db, int64_t *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db, "SELECT last_value FROM change_seq", NULL, 0, &rows, e);
    if (!rc)
        *ret = db_i64(rows, 0, 0);
    return rc;
}

rc_t gone_watch_due(struct gone_watch *w, struct db *db, bool *ret, struct err *e)
{
    int64_t seq = 0;
    rc_t rc = change_seq_last(db, &seq, e);
    if (rc)
        return rc;
    if (seq != w->seq)
        w->until_us = clock_mono_us() + GONE_SETTLE_US;
    w->seq = seq;
    *ret = clock_mono_us() <= w->until_us;
    return OK;
}

static rc_t gone_each(struct db *db, const int64_t *ids, size_t n, int64_t **ret, size_t *ret_n, struct err *e)
{
    CLEANUP(mem_freep) int64_t *gone = mem_array(n + 1, sizeof *gone);
    size_t n_gone = 0;
    for (size_t i = 0; i < n; i++) {
        CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
        rc_t rc = db_one(db, "SELECT 1 FROM endpoints WHERE id = $1", DB_PARAMS(DBV_I64(ids[i])), &rows, e);
        if (rc == E_NOTFOUND)
            gone[n_gone++] = ids[i];
        else if (rc)
            return rc;
    }
    *ret = gone;
    *ret_n = n_gone;
    gone = NULL;
    return OK;
}

/* sql: of $1, an array of ids, those that it answers. */
static rc_t ids_of(struct db *db, const char *sql, const int64_t *ids, size_t n, int64_t **ret, size_t *ret_n, struct err *e)
{
    CLEANUP(buf_done) struct buf list = {0};
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    buf_addc(&list, '{');
    for (size_t i = 0; i < n; i++)
        buf_addf(&list, "%s%lld", i ? "," : "", (long long)ids[i]);
    buf_addc(&list, '}');
    rc_t rc = db_exec(db, sql, DB_PARAMS(DBV_TEXT(buf_str(&list))), &rows, e);
    if (rc)
        return rc;
    *ret_n = db_rows_n(rows);
    *ret = mem_array(*ret_n + 1, sizeof **ret);
    for (size_t i = 0; i < *ret_n; i++)
        (*ret)[i] = db_i64(rows, i, 0);
    return OK;
}

rc_t endpoints_gone(struct db *db, const int64_t *ids, size_t n, int64_t **ret, size_t *ret_n, struct err *e)
{
    if (!db->dialect->arrays)
        return gone_each(db, ids, n, ret, ret_n, e);
    return ids_of(db,
                  "SELECT u.id FROM unnest(CAST($1 AS bigint[])) AS u (id) "
                  "WHERE NOT EXISTS (SELECT 1 FROM endpoints e WHERE e.id = u.id)",
                  ids, n, ret, ret_n, e);
}

/* In the order of their ids; a deletion waits for the locks, what only changes a record does not. */
rc_t endpoints_hold(struct db *db, const int64_t *ids, size_t n, int64_t **ret, size_t *ret_n, struct err *e)
{
    CLEANUP(mem_freep) int64_t *there = NULL, *gone = mem_array(n + 1, sizeof *gone);
    size_t n_there = 0, n_gone = 0;
    if (!db->dialect->arrays) /* nobody else writes in this transaction's time */
        return gone_each(db, ids, n, ret, ret_n, e);
    rc_t rc = n == 0
                  ? OK
                  : ids_of(db, "SELECT id FROM endpoints WHERE id = ANY (CAST($1 AS bigint[])) ORDER BY id FOR KEY SHARE",
                           ids, n, &there, &n_there, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < n; i++)
        if (!n_there || !bsearch(&ids[i], there, n_there, sizeof *there, num_order_i64))
            gone[n_gone++] = ids[i];
    *ret = gone;
    *ret_n = n_gone;
    gone = NULL;
    return OK;
}
