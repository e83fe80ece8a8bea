/* The table of secrets. */
#include "db/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "db/driver.h"

const struct config_key secret_keys[] = {
    {.env = "SECRETS_KEY",
     .def = "",
     .type = CONFIG_STR,
     .flags = CONFIG_SECRET,
     .offset = offsetof(struct secret_config, keys),
     .check = seal_check,
     .help = "What projects' secrets are sealed with: 64 hex digits (openssl rand -hex 32), the same in all services. "
             "A new key is "
             "put before the old one. Empty: no secret is kept."},
    {.env = "SECRETS_KEY_MADE",
     .def = "",
     .type = CONFIG_STR,
     .offset = offsetof(struct secret_config, file),
     .help =
         "A file that SECRETS_KEY is read from when that is empty; it is made, with a new key, when it is not there."},
};
const size_t secret_keys_n = sizeof secret_keys / sizeof *secret_keys;

/* It is there whole or not at all: other services of the machine may be looking for it. */
static rc_t make_key(const char *path, struct err *e)
{
    CLEANUP(buf_done) struct buf text = {0}, temporary = {0};
    if (access(path, F_OK) == 0)
        return OK;
    buf_addf(&temporary, "%s.XXXXXX", path);
    int fd = mkostemp(temporary.data, O_CLOEXEC); /* 0600 */
    if (fd < 0)
        return err_set(e, E_FATAL, "SECRETS_KEY_MADE: cannot make %s: %s", path, strerror(errno));
    seal_key_make(&text);
    buf_addc(&text, '\n');
    bool whole = write(fd, text.data, text.len) == (ssize_t)text.len && fsync(fd) == 0 &&
                 (link(temporary.data, path) == 0 || errno == EEXIST);
    int why = errno;
    explicit_bzero(text.data, text.cap);
    (void)close(fd);              /* it is synced, or goes */
    (void)unlink(temporary.data); /* a name of its own: nobody else's */
    return whole ? OK : err_set(e, E_FATAL, "SECRETS_KEY_MADE: cannot write %s: %s", path, strerror(why));
}

static rc_t read_key(const char *path, struct seal **ret, struct err *e)
{
    char text[SEAL_KEYS_MAX * 80];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    rc_t rc = n < 0 ? err_set(e, E_FATAL, "SECRETS_KEY_MADE: cannot read %s: %s", path, strerror(errno)) : OK;
    text[n < 0 ? 0 : n] = '\0';
    if (rc == OK && (rc = seal_new(ret, text, e)) != OK)
        rc = err_prefix(e, rc, "SECRETS_KEY_MADE: %s: ", path);
    explicit_bzero(text, sizeof text);
    if (fd >= 0)
        (void)close(fd); /* only read */
    return rc;
}

rc_t secret_seal(const struct secret_config *cfg, struct seal **ret, struct err *e)
{
    if (*cfg->keys || !*cfg->file)
        return seal_new(ret, cfg->keys, e);
    rc_t rc = make_key(cfg->file, e);
    return rc == OK ? read_key(cfg->file, ret, e) : rc;
}

static void bind_to(int32_t project_id, struct str name, struct buf *out)
{
    buf_addf(out, "project %d secret %.*s", project_id, STR_FMT(name));
}

rc_t secret_put(struct db *db, const struct seal *seal, int32_t project_id, struct str name, struct str value, struct err *e)
{
    CLEANUP(buf_done) struct buf bound = {0}, sealed = {0};
    bind_to(project_id, name, &bound);
    rc_t rc = seal_close(seal, value, buf_str(&bound), &sealed, e);
    if (rc)
        return rc;
    return db_run(
        db,
        "INSERT INTO project_secrets (project_id, name, key_id, sealed, updated_us) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT (project_id, name) DO UPDATE SET key_id = EXCLUDED.key_id, sealed = EXCLUDED.sealed, "
        "updated_us = EXCLUDED.updated_us",
        DB_PARAMS(DBV_I64(project_id), DBV_TEXT(name), DBV_TEXTZ(seal_key_id(seal)), DBV_BYTES(buf_str(&sealed)),
                  DBV_I64(clock_now_us())),
        NULL, e);
}

rc_t secret_get(struct db *db, const struct seal *seal, int32_t project_id, struct str name, struct buf *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    CLEANUP(buf_done) struct buf bound = {0};
    rc_t rc = db_one(db, "SELECT sealed FROM project_secrets WHERE project_id = $1 AND name = $2",
                     DB_PARAMS(DBV_I64(project_id), DBV_TEXT(name)), &rows, e);
    if (rc)
        return rc == E_NOTFOUND ? OK : rc;
    bind_to(project_id, name, &bound);
    return seal_open(seal, db_text(rows, 0, 0), buf_str(&bound), ret, e);
}

rc_t secret_names(struct db *db, int32_t project_id, char ***ret, size_t *n, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(db, "SELECT name FROM project_secrets WHERE project_id = $1 ORDER BY name",
                      DB_PARAMS(DBV_I64(project_id)), &rows, e);
    if (rc)
        return rc;
    *n = db_rows_n(rows);
    *ret = mem_array(*n, sizeof **ret);
    for (size_t i = 0; i < *n; i++)
        (*ret)[i] = db_dup(rows, i, 0);
    return OK;
}

rc_t secret_delete(struct db *db, int32_t project_id, struct str name, struct err *e)
{
    return db_run(db, "DELETE FROM project_secrets WHERE project_id = $1 AND name = $2",
                  DB_PARAMS(DBV_I64(project_id), DBV_TEXT(name)), NULL, e);
}

static rc_t reseal_one(struct db *db, const struct seal *seal, int32_t project_id, struct str name, struct err *e)
{
    CLEANUP(buf_done) struct buf plain = {0};
    rc_t rc = secret_get(db, seal, project_id, name, &plain, e);
    if (rc == OK)
        rc = secret_put(db, seal, project_id, name, buf_str(&plain), e);
    if (plain.data)
        explicit_bzero(plain.data, plain.cap);
    return rc;
}

static rc_t reseal(struct db *db, const struct seal *seal, int64_t *ret_n, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    rc_t rc = db_exec(db, "SELECT project_id, name FROM project_secrets WHERE key_id <> $1 ORDER BY project_id, name FOR UPDATE",
                      DB_PARAMS(DBV_TEXTZ(seal_key_id(seal))), &rows, e);
    for (size_t i = 0; !rc && i < db_rows_n(rows); i++)
        rc = reseal_one(db, seal, DB_I32(rows, i, 0), db_text(rows, i, 1), e);
    if (!rc)
        *ret_n = (int64_t)db_rows_n(rows);
    return rc;
}

rc_t secrets_reseal(struct db *db, const struct seal *seal, int64_t *ret_n, struct err *e)
{
    bool own = false;
    int64_t n = 0;
    if (!*seal_key_id(seal))
        return err_set(e, E_NOTFOUND, "there is no key to seal with");
    rc_t rc = db_scope_begin(db, &own, e);
    rc = rc ? rc : db_scope_end(db, own, reseal(db, seal, &n, e), e);
    if (!rc)
        *ret_n = n;
    return rc;
}
