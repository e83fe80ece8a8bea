/* The PostgreSQL driver's own state and the steps its files share. */
#pragma once
#include <libpq-fe.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/map.h"
#include "db/driver.h"

struct pg {
    PQconninfoOption *options; /* the URL, read */
    char *app_name;
    int64_t connect_us, statement_us;
    PGconn *conn;       /* NULL: not connected */
    int64_t generation; /* of conn; grows */
    int64_t next_attempt_us, backoff_us;
    bool tried; /* the last call that needed a connection tried to make one, instead of waiting */
    char last_error[160];
    /* What this connection knows; forgotten with it. */
    struct map statements; /* parameter types + SQL → number of the prepared statement */
    size_t n_statements;
    struct map stages;     /* temporary tables that are there → the transaction that used each last */
    uint64_t transactions; /* ended so far, and one */
    struct map copies;     /* "table(columns)" → struct pg_copy */
    struct map locks;      /* advisory locks held */
    struct map days;       /* days whose partitions are there (true of the database, so kept) */
    struct buf out;        /* one chunk of COPY */
};

#define PG_GRACE_US USEC_PER_SEC /* the server's own time-out speaks first */
#define PG_OPTION_MAX 1024       /* bytes of one in the URL */
#define PG_SET ((void *)1)       /* value of a map that is a set */

/* Drops the connection and says so: E_AGAIN. The next attempt waits for the back-off. */
rc_t pg_lost(struct pg *pg, const char *doing, struct err *e);
/* Sends what is queued and waits for the last result of the command, or for the start of a COPY.
 * A lost connection is dropped: *ret is then not set. A result that is an error is answered by its SQLSTATE. */
rc_t pg_finish(struct pg *pg, PGresult **ret, struct err *e) MUST_CHECK;
/* Waits until the socket is readable, or writable if wanted, before the deadline. */
rc_t pg_wait(struct pg *pg, bool writable, int64_t deadline_us, struct err *e) MUST_CHECK;
int64_t pg_deadline(const struct pg *pg);
rc_t pg_exec(void *self, const char *sql, const struct db_value *params, size_t n, struct db_rows **ret_rows,
             struct err *e) MUST_CHECK;
rc_t pg_script(void *self, const char *sql, struct err *e) MUST_CHECK;
rc_t pg_copy(void *self, const char *table, const char *columns, const struct db_value *values, size_t n_rows,
             size_t n_cols, struct err *e) MUST_CHECK;
void pg_copies_forget(struct pg *pg);
/* The URL's options, to be freed with PQconninfoFree. E_INVALID: words that follow "DATABASE_URL: ". */
rc_t pg_address_parse(const char *url, PQconninfoOption **ret, struct err *e) MUST_CHECK;
/* Connects to another database of the same server; for making ours. */
PGconn *pg_connect_to(struct pg *pg, const char *dbname, struct err *e);
const char *pg_dbname(const struct pg *pg);
/* What a caller should do about an SQLSTATE. */
rc_t pg_state_rc(const char *state);
extern const struct db_dialect pg_dialect;
