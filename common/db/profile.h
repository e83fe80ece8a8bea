/* Datastore profiles of projects: what MLRun's clients register to be connected to; and which of them a project's monitoring uses.
 * A profile's private part is a secret (secret.h) of the name profile_secret_name gives. */
#pragma once
#include "base/buf.h"
#include "db/db.h"

struct profile {
    char *name, *type, *object; /* object: JSON, each value base64 of its Python text */
};
void profile_done(struct profile *p);
void profiles_free(struct profile *p, size_t n);

#define PROFILE_SECRETS "datastore-profiles."
void profile_secret_name(const char *project, struct str profile, struct buf *out); /* as MLRun's functions look for it */

/* The writes belong into the caller's transaction. */
rc_t profile_put(struct db *db, int32_t project_id, const struct profile *p, struct err *e) MUST_CHECK;
rc_t profile_get(struct db *db, int32_t project_id, struct str name, struct profile *ret, struct err *e) MUST_CHECK; /* E_NOTFOUND */
rc_t profiles_list(struct db *db, int32_t project_id, struct profile **ret, size_t *n, struct err *e) MUST_CHECK; /* by name */
rc_t profile_delete(struct db *db, int32_t project_id, struct str name, struct err *e) MUST_CHECK; /* E_NOTFOUND */

struct credentials {
    int32_t project_id;
    char *stream, *tsdb; /* profiles' names, "": none; tsdb: or sqlite:///… */
    int64_t updated_us;
};
void credentials_done(struct credentials *c);
rc_t credentials_get(struct db *db, int32_t project_id, struct credentials *ret, struct err *e) MUST_CHECK; /* E_NOTFOUND */
rc_t credentials_put(struct db *db, const struct credentials *c, struct err *e) MUST_CHECK; /* updated_us: now */

/* A project whose stream is on the Kafka of a profile. */
struct stream_wish {
    int32_t project_id;
    char *project, *profile;
    int64_t updated_us; /* another one: the profile has changed */
};
rc_t stream_wishes_list(struct db *db, struct stream_wish **ret, size_t *n, struct err *e) MUST_CHECK; /* those that are monitored */
void stream_wishes_free(struct stream_wish *w, size_t n);
/* What carries the project's events; "": nothing, it is the same Kafka. */
rc_t credentials_bridge(struct db *db, int32_t project_id, const char *pipeline, struct err *e) MUST_CHECK;
