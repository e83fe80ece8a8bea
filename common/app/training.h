/* What an endpoint was trained on, as the services that count and compare read it: stored reference through the cache,
 * and the layout of slots that follows from a schema and a reference. */
#pragma once
#include "cache/cache.h"
#include "db/endpoint.h"
#include "lake/lake.h"
#include "stats/reference.h"
#include "stats/slot.h"

/* A version of an endpoint's reference; the caller's. Versions never change, so the cache may keep them. cache may be NULL.
 * E_NOTFOUND; E_AGAIN: the database is not there; E_INVALID: what is stored cannot be read. */
rc_t training_reference(struct db *db, struct cache *cache, const struct endpoint *ep, int version,
                        struct reference **ret, struct err *e) MUST_CHECK;
/* Columns of s, features first, against ref (NULL: none), which must outlive it. */
void training_layout(struct slot_layout *l, const struct schema *s, const struct reference *ref);
