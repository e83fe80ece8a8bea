/* The simulated database: it plays the row "postgres" of drivers[]. The statements are real and run in SQLite, in memory; what PostgreSQL
 * does and SQLite does not is played on top: many transactions are open at once, each statement sees what is committed by then
 * (READ COMMITTED), rows that were changed or read FOR UPDATE / FOR SHARE are locked to the end, a statement that meets a lock waits.
 *
 * A transaction that others come between is taken out (ROLLBACK TO) and its statements are done again when it goes on; did they
 * do something else then, it is a serialisation failure. Connections break before, after and within a statement; the answer to a
 * COMMIT is lost with the transaction done, not done, or done a while later. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "db/db.h"

#define SIM_URL "sim:"

void sim_store_open(void); /* once; migrated */
void sim_store_begin(void);
void sim_store_end(void); /* as it was before sim_store_begin */
/* The server is killed: every connection and open transaction is gone, nobody can connect for so long. */
void sim_store_kill(int64_t down_us);
/* The connections of a process are gone; what they had open and locked the server notices later. */
struct proc;
void sim_store_cut(struct proc *p);
void sim_store_ended(struct proc *p);
/* What is committed. Rows for db_rows_free. */
struct db_rows *sim_store_read(const char *sql, const struct db_value *params, size_t n);
/* After each commit, and statement outside of a transaction, that changed one of these tables. */
enum sim_table {
    TABLE_LEDGER = 1,
    TABLE_WINDOWS = 2,
    TABLE_PENDING = 4,
    TABLE_OUTBOX = 8,
    TABLE_SLOTS = 16,
    TABLE_RESULTS = 32
};
void sim_store_on_commit(void (*fn)(unsigned tables));
int64_t sim_store_statements(void);
