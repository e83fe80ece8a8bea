/* Access tokens: hashed, never the token itself. Every change raises the version, so that readers see by one number whether there
 * is something new. */
#pragma once
#include "base/sha.h"
#include "db/db.h"

struct token {
    int64_t id;
    char *name, *scopes, *projects; /* "ingest,read"; "shop,flowers" or "*" */
    char hash[SHA256_TEXT];
    int64_t rate;                                             /* requests a second; 0: none of its own */
    int64_t created_us, expires_us, last_used_us, revoked_us; /* 0: never */
    char *created_by, *revoked_by;
};
void tokens_free(struct token *t, size_t n);

rc_t token_create(struct db *db, const struct token *in, struct err *e) MUST_CHECK; /* E_CONFLICT: the name is in use */
rc_t token_revoke(struct db *db, struct str name, struct str who, int64_t now_us, struct err *e) MUST_CHECK; /* E_NOTFOUND */
/* In the order of their making. Without those that are revoked unless all. */
rc_t tokens_list(struct db *db, bool all, struct token **ret, size_t *n, struct err *e) MUST_CHECK;
rc_t tokens_version(struct db *db, int64_t *ret, struct err *e) MUST_CHECK;
rc_t token_used(struct db *db, int64_t id, int64_t at_us, struct err *e) MUST_CHECK; /* no change: the version stays */
