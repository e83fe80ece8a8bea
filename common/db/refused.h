/* Which records a sink has refused, complete over the horizon of duplicates (dead letters are sampled): a refused record does
 * not make the one that is sent again a duplicate. Every offset here, the ends and bounds too, is a ledger_key. */
#pragma once
#include "db/db.h"

/* Inside the flush's transaction: these offsets (in any order; sorted here) of the flush that ends at end_offset. Flushes that
 * ended before keep_from are forgotten. */
rc_t refused_add(struct db *db, const char *pipeline, const char *topic, int32_t partition, int64_t end_offset,
                 int64_t *offsets, size_t n, int64_t keep_from, struct err *e) MUST_CHECK;
/* Those from `from` on, ascending; *ret for mem_free. */
rc_t refused_list(struct db *db, const char *pipeline, const char *topic, int32_t partition, int64_t from,
                  int64_t **ret, size_t *n, struct err *e) MUST_CHECK;
