/* Owns the putting together of filters. */
#include "db/query.h"

#include <string.h>
#include "base/mem.h"

struct query *query_new(void)
{
    return mem_alloc(sizeof(struct query));
}

void query_free(struct query *q)
{
    if (q)
        buf_done(&q->sql);
    mem_free(q);
}

void query_freep(struct query **q)
{
    query_free(*q);
}

size_t query_add(struct query *q, struct db_value v)
{
    if (q->n == QUERY_VALUES) {
        q->full = true;
        return q->n;
    }
    q->values[q->n++] = v;
    return q->n;
}

void query_in(struct query *q, const char *column, const struct str *values, size_t n)
{
    if (!n)
        return;
    buf_addf(&q->sql, " AND %s IN (", column);
    for (size_t i = 0; i < n; i++)
        buf_addf(&q->sql, "%s$%zu", i ? ", " : "", query_add(q, DBV_TEXT(values[i])));
    buf_addc(&q->sql, ')');
}

void query_number(struct query *q, const char *condition, int64_t v)
{
    buf_addf(&q->sql, " AND %s $%zu", condition, query_add(q, DBV_I64(v)));
}

void query_text(struct query *q, const char *condition, struct str v)
{
    if (v.n)
        buf_addf(&q->sql, " AND %s $%zu", condition, query_add(q, DBV_TEXT(v)));
}

void query_part(struct query *q, const char *column, struct str v)
{
    if (v.n)
        buf_addf(&q->sql, " AND REPLACE(LOWER(%s), LOWER($%zu), '') <> LOWER(%s)", column, query_add(q, DBV_TEXT(v)),
                 column);
}

void query_labels(struct query *q, const struct db_dialect *d, const struct str *labels, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *eq = labels[i].n ? memchr(labels[i].p, '=', labels[i].n) : NULL;
        struct str key = {labels[i].p, eq ? (size_t)(eq - labels[i].p) : labels[i].n};
        size_t at = query_add(q, DBV_TEXT(key));
        if (!eq) {
            buf_addf(&q->sql, " AND %s$%zu%s", d->labels.has[0], at, d->labels.has[1]);
            continue;
        }
        struct str value = {eq + 1, labels[i].n - key.n - 1};
        buf_addf(&q->sql, " AND %s$%zu%s$%zu%s", d->labels.is[0], at, d->labels.is[1], query_add(q, DBV_TEXT(value)),
                 d->labels.is[2]);
    }
}

rc_t query_run(struct query *q, struct db *db, struct db_rows **ret, struct err *e)
{
    return q->full ? err_set(e, E_INVALID, "more than %d values to filter by", QUERY_VALUES)
                   : db_exec(db, q->sql.data, q->values, q->n, ret, e);
}
