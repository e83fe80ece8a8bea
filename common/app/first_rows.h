/* The reference that an endpoint without one gets from its own first rows, read from the lake. */
#pragma once
#include <stdint.h>
#include "base/buf.h"
#include "base/rc.h"
#include "db/endpoint.h"
#include "lake/lake.h"

#define FIRST_ROWS_MAX 100000

struct first_rows {
    struct buf statistics, labels; /* as reference_put_first takes them */
    int64_t rows, until_us;        /* the time of the last of them */
};
void first_rows_done(struct first_rows *f);
/* Of the endpoint's rows before end_us the first n by their time, and all of the same time as the last: which they are does not
 * depend on files, partitions or the order of coming. The columns are the newest schema's. E_NOTFOUND: the lake has not so many. */
rc_t first_rows_read(struct lake_reader *r, struct db *db, const struct endpoint *ep, int64_t n, int64_t end_us,
                     struct first_rows *ret, struct err *e) MUST_CHECK;
