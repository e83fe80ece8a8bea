/* How each stage between an event and its results is, from what is kept: ledger, pending windows, outbox, dead letters and the
 * topics' ends. Whether its process runs or not makes no difference to the reading. */
#pragma once
#include <stdbool.h>
#include "base/arena.h"
#include "bus/bus.h"
#include "db/db.h"

struct stage {
    const char *name;  /* a pipeline's, "controller", "outbox" */
    const char *state; /* ok, behind, stalled, stopped, failing, unserved, apart */
    int64_t lag;       /* records, windows or rows that wait; -1: not known */
    int64_t oldest_us; /* of the oldest that waits, or not later than it; 0: none waits, or not known */
    const char *error; /* the last one; NULL: none that is kept */
    int64_t error_us;  /* 0: not known */
    const char *next;  /* what to do; NULL: nothing */
    bool hand;         /* it needs one */
};

struct stages_from {
    struct db *db;
    const struct bus_config *bus; /* NULL: the ends are those that the ledger last saw */
    int64_t patience_us;          /* how long something may wait for a stage that does not move; 0: each stage's own */
};
/* All in the order in which an event passes them; strings in the arena. *ret_bus: why the topics' ends are not known; empty when they are. */
rc_t stages_load(const struct stages_from *from, struct arena *a, struct stage **ret, size_t *n, struct err *ret_bus,
                 struct err *e) MUST_CHECK;
