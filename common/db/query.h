/* A SELECT that is put together from filters: text with $1.. and the values that belong there. Not for other folders. */
#pragma once
#include "base/buf.h"
#include "db/driver.h"

#define QUERY_VALUES 1000 /* of all filters together */

struct query {
    struct buf sql;
    struct db_value values[QUERY_VALUES];
    size_t n;
    bool full; /* one more did not fit */
};
struct query *query_new(void); /* mem: it is large */
void query_free(struct query *q);
void query_freep(struct query **q);
size_t query_add(struct query *q, struct db_value v);                                   /* its number */
void query_in(struct query *q, const char *column, const struct str *values, size_t n); /* n 0: no condition */
void query_number(struct query *q, const char *condition, int64_t v);                   /* "mode =" */
void query_text(struct query *q, const char *condition, struct str v);                  /* empty: no condition */
void query_part(struct query *q, const char *column, struct str v); /* v is a part of it, of any case; empty: no condition */
/* "k=v": that value; "k": any. All must hold. The table has a column labels. */
void query_labels(struct query *q, const struct db_dialect *d, const struct str *labels, size_t n);
/* E_INVALID: too many values. */
rc_t query_run(struct query *q, struct db *db, struct db_rows **ret, struct err *e) MUST_CHECK;
