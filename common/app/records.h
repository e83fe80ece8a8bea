/* Endpoint records through the cache: what the api reads a request, and an app for its windows. Nothing in it is true: a record is
 * kept for a TTL, and is not taken from the cache any more once a change of it is known here.
 *
 *   read      GET endpoint:DATABASE:PROJECT:UID; not there, or known to be older than a change: the database, then SET
 *   write     COMMIT, records_changed: not taken here any more; DEL, PUBLISH
 *   listen    a message is such a change; "you may have missed some" or silence: nothing is taken for a TTL
 *   follow    who reads the database's own list of changes (endpoints_changed) tells of them by records_note
 *
 * A reader that stores what it read before a change's COMMIT, after the DEL, does no harm to those that know of the change: they
 * distrust the key for two TTLs. Who does not know (its connection is broken, or the writer's was) reads what is a TTL old at most.
 * Request times in a record are as old as it is: they change each second and nobody is told.
 * One per process or thread; every function may be called by any thread. */
#pragma once
#include "cache/cache.h"
#include "db/endpoint.h"

#define RECORDS_TTL_US (INT64_C(5) * 1000000)
#define RECORDS_SEQ_ANY INT64_MAX /* a change whose change_seq is not known, or that ended the record */

struct records;
/* ttl_us: RECORDS_TTL_US, of every process the same. Takes nothing from the cache until a TTL after it began to listen, or after
 * records_distrust. */
struct records *records_new(int64_t ttl_us);
void records_free(struct records *r); /* NULL is fine */

/* endpoint_get, through the cache. r or cache may be NULL: from the database. */
rc_t records_get(struct records *r, struct db *db, struct cache *cache, int32_t project_id, struct str uid,
                 struct endpoint *ret, struct err *e) MUST_CHECK;
/* After the COMMIT (or when its answer was lost) of a change of that record; uid empty: of any in the project. */
void records_changed(struct records *r, struct db *db, struct cache *cache, int32_t project_id, struct str uid);
/* A change that the database told of. */
void records_note(struct records *r, struct db *db, int32_t project_id, struct str uid, int64_t change_seq);
/* Changes may have been missed: what is in the cache now is not taken. */
void records_distrust(struct records *r);
/* Hears what records_changed says elsewhere, while cache_poll is called. */
rc_t records_listen(struct records *r, struct cache *cache, struct err *e) MUST_CHECK;
