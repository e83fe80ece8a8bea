/* Labels: what was true of a request, told later. Written by statistics with its ledger, joined by who asks. */
#pragma once
#include "db/db.h"

struct label_row {
    int32_t project_id;
    struct str request_id, endpoint_uid /* empty: not said */, label;
    int64_t when_us; /* its day must be there: db_days_ensure */
};
rc_t labels_add(struct db *db, const struct label_row *rows, size_t n, int64_t now_us,
                struct err *e) MUST_CHECK; /* a repeat changes nothing */
/* Of one request, the latest first. Strings borrowed from *ret_rows; *ret for mem_free. */
rc_t labels_of(struct db *db, int32_t project_id, struct str request_id, struct label_row **ret, size_t *n,
               struct db_rows **ret_rows, struct err *e) MUST_CHECK;
