/* Secrets of projects, sealed (base/seal.h) and bound to their project and name: who can read the table, or moves a row, learns nothing. */
#pragma once
#include "base/buf.h"
#include "base/seal.h"
#include "db/db.h"

struct secret_config {
    char *keys; /* SECRETS_KEY */
    char *file; /* SECRETS_KEY_MADE */
};
extern const struct config_key secret_keys[];
extern const size_t secret_keys_n;

/* The ring that is configured, perhaps without a key; a key is made when it says so. */
rc_t secret_seal(const struct secret_config *cfg, struct seal **ret, struct err *e) MUST_CHECK;

#define SECRET_VALUE_MAX (64 << 10)

/* Makes or replaces one. E_NOTFOUND: no key. */
rc_t secret_put(struct db *db, const struct seal *seal, int32_t project_id, struct str name, struct str value,
                struct err *e) MUST_CHECK;
/* Appends it to *ret; nothing when there is none. E_NOTFOUND: its key was not given. */
rc_t secret_get(struct db *db, const struct seal *seal, int32_t project_id, struct str name, struct buf *ret,
                struct err *e) MUST_CHECK;
/* Names in their order; each is for mem_free, and the array. */
rc_t secret_names(struct db *db, int32_t project_id, char ***ret, size_t *n, struct err *e) MUST_CHECK;
rc_t secret_delete(struct db *db, int32_t project_id, struct str name, struct err *e) MUST_CHECK; /* OK: it was not there */
/* All whose key is another than the ring's first are sealed with that. In one transaction. E_NOTFOUND: a key is missing. */
rc_t secrets_reseal(struct db *db, const struct seal *seal, int64_t *ret_n, struct err *e) MUST_CHECK;
