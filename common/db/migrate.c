/* Migrations: each applied once, in its own transaction, under a lock; and the check that binary and database agree. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/sha.h"

#include "db/driver.h"

#define MIGRATIONS_LOCK INT64_C(7305813000000000002)

static int newest(const struct db *db)
{
    const struct db_dialect *d = db->dialect;
    return *d->migrations_n ? d->migrations[*d->migrations_n - 1].version : 0;
}

static rc_t checksum_check(const struct migration *m, struct str applied, struct err *e)
{
    char sum[SHA256_TEXT];
    sha256_hex(m->sql, strlen(m->sql), sum);
    if (str_eqz(applied, sum))
        return OK;
    return err_set(e, E_AGAIN, "migration %s in the database is not the one this binary knows (checksum)", m->name);
}

/* *ret: the newest version in the database. Each known migration must be the one that was applied. */
static rc_t version_read(struct db *db, int *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    bool begun = false;
    rc_t rc = db->ops->ready(db->self, !db->in_tx, e);
    if (!rc)
        rc = db->dialect->has_table(db->self, "schema_migrations", &begun, e);
    if (rc)
        return rc;
    if (!begun) {
        *ret = 0;
        return OK;
    }
    rc = db_exec(db, "SELECT version, checksum FROM schema_migrations ORDER BY version", NULL, 0, &rows, e);
    int version = 0;
    for (size_t i = 0; i < db_rows_n(rows) && !rc; i++) {
        version = DB_I32(rows, i, 0);
        for (size_t j = 0; j < *db->dialect->migrations_n && !rc; j++)
            if (db->dialect->migrations[j].version == version)
                rc = checksum_check(&db->dialect->migrations[j], db_text(rows, i, 1), e);
    }
    if (!rc)
        *ret = version;
    return rc;
}

rc_t db_schema_check(struct db *db, struct err *e)
{
    int have = 0, want = newest(db);
    rc_t rc = version_read(db, &have, e);
    if (rc || have == want)
        return rc;
    return err_set(e, E_AGAIN, "database is at %d, this binary wants %d: %s", have, want,
                   have < want ? "migrate it" : "upgrade the binary");
}

static rc_t apply(struct db *db, const struct migration *m, struct err *e)
{
    char sum[SHA256_TEXT];
    sha256_hex(m->sql, strlen(m->sql), sum);
    rc_t rc = db_script(db, m->sql, e);
    if (!rc)
        rc = db_run(db, "INSERT INTO schema_migrations (version, name, checksum, applied_us) VALUES ($1, $2, $3, $4)",
                    DB_PARAMS(DBV_I64(m->version), DBV_TEXTZ(m->name), DBV_TEXTZ(sum), DBV_I64(clock_now_us())), NULL, e);
    return rc ? err_prefix(e, rc, "migration %s: ", m->name) : OK;
}

/* Under the lock, in one transaction: the next one that is missing. *ret_more: there may be more. */
static rc_t step(struct db *db, bool *ret_more, struct err *e)
{
    rc_t rc = db_tx_lock(db, MIGRATIONS_LOCK, e);
    if (!rc)
        rc = db_run(db,
                    "CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY, name text NOT NULL, "
                    "checksum text NOT NULL, applied_us bigint NOT NULL)",
                    NULL, 0, NULL, e);
    int have = 0;
    if (!rc)
        rc = version_read(db, &have, e);
    *ret_more = false;
    for (size_t i = 0; i < *db->dialect->migrations_n && !rc && !*ret_more; i++) {
        if (db->dialect->migrations[i].version <= have)
            continue;
        *ret_more = true;
        rc = apply(db, &db->dialect->migrations[i], e);
    }
    return rc;
}

rc_t db_migrate(struct db *db, struct err *e)
{
    rc_t rc = db->ops->ready(db->self, true, e);
    if (rc)
        rc = db->dialect->create(db->self, e);
    for (bool more = true; more && !rc;) {
        bool own = false;
        rc = db_scope_begin(db, &own, e);
        if (!rc)
            rc = db_scope_end(db, own, step(db, &more, e), e);
    }
    return rc ? rc : db_schema_check(db, e);
}

rc_t db_ready(struct db *db, struct err *e)
{
    return db->migrate ? db_migrate(db, e) : db_schema_check(db, e);
}

rc_t db_identity(struct db *db, int64_t *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_one(db, "SELECT applied_us FROM schema_migrations ORDER BY version LIMIT 1", NULL, 0, &rows, e);
    if (!rc)
        *ret = db_i64(rows, 0, 0);
    return rc;
}
