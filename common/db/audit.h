/* Who changed what. Rows are only added, with the change where that is one transaction, and deleted when they are old. */
#pragma once
#include "db/db.h"

struct audit_row {
    int64_t id, at_us; /* id is set by audit_add */
    struct str who, address, action, target, project;
    int status;
};
rc_t audit_add(struct db *db, const struct audit_row *row, struct err *e) MUST_CHECK;

struct audit_filter {
    struct str who, project;  /* empty: any */
    int64_t since_us, before; /* before: an id; 0: from the newest on */
    int64_t limit;
};
/* The newest first. Strings borrowed from *ret_rows. */
rc_t audit_list(struct db *db, const struct audit_filter *f, struct audit_row **ret, size_t *n,
                struct db_rows **ret_rows, struct err *e) MUST_CHECK;
/* Some of those that are older; *ret: how many, as many as it takes at once when there are more. */
#define AUDIT_EXPIRE_MAX 10000
rc_t audit_expire(struct db *db, int64_t before_us, int64_t *ret, struct err *e) MUST_CHECK;
