/* The same places as in run.c, from the outside. */
#include "kept.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"

static rc_t place(const struct kept_options *o, struct arena *a, const char **ret_url, struct err *e)
{
    if (*o->database_url) {
        *ret_url = o->database_url;
        return OK;
    }
    char *whole = realpath(o->data_dir, NULL);
    const char *file = arena_printf(a, "%s/modelmon.db", whole ? whole : o->data_dir);
    free(whole);
    if (access(file, R_OK) != 0)
        return err_set(e, E_NOTFOUND, "%s: %s: set DATA_DIR to the folder of `modelmon run`, or DATABASE_URL and LAKE_DIR",
                       file, strerror(errno));
    *ret_url = arena_printf(a, "sqlite://%s", file);
    return OK;
}

rc_t kept_open(const struct kept_options *o, struct arena *a, struct db **ret_db, struct lake_config *ret_lake,
               struct err *e)
{
    const char *url = NULL;
    struct db *db = NULL;
    rc_t rc = place(o, a, &url, e);
    if (rc)
        return rc;
    const struct db_config cfg = {.url = arena_printf(a, "%s", url),
                                  .connect_us = 3 * USEC_PER_SEC,
                                  .statement_us = 30 * USEC_PER_SEC,
                                  .app_name = (char *)(uintptr_t) "modelmon"};
    rc = db_open(&db, &cfg, e);
    if (rc == OK)
        rc = db_ready(db, e); /* it does not migrate */
    if (rc) {
        db_free(db);
        return rc;
    }
    *ret_lake = (struct lake_config){.root = *o->lake_dir ? arena_printf(a, "%s", o->lake_dir)
                                                          : arena_printf(a, "%s/lake", o->data_dir)};
    char *whole = realpath(ret_lake->root, NULL);
    if (whole)
        ret_lake->root = arena_dup(a, whole, strlen(whole));
    free(whole);
    *ret_db = db;
    return OK;
}
