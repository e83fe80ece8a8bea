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
/* A page, by request id, of the latest of each request among those that name no endpoint or one of these uids; after: the last request
 * id of the page before, "" first. Two of one time may both be there. Strings as below. */
#define LABEL_UIDS 3
rc_t labels_page(struct db *db, int32_t project_id, const struct str uids[LABEL_UIDS], struct str after, size_t limit,
                 struct label_row **ret, size_t *n, struct db_rows **ret_rows, struct err *e) MUST_CHECK;
/* Of one request, the latest first. Strings borrowed from *ret_rows; *ret for mem_free. */
rc_t labels_of(struct db *db, int32_t project_id, struct str request_id, struct label_row **ret, size_t *n,
               struct db_rows **ret_rows, struct err *e) MUST_CHECK;
