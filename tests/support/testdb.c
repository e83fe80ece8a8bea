/* Databases for tests: made, named at random, dropped. */
#include "testdb.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

static char app_name[] = "modelmon-test";
static bool use_sqlite;

void testdb_use(bool sqlite)
{
    use_sqlite = sqlite;
}

bool testdb_is_sqlite(void)
{
    return use_sqlite;
}

static char *file_url(const char *name)
{
    const char *dir = getenv("MM_TEST_DIR");
    struct buf b = {0};
    buf_addf(&b, "sqlite://%s/%s.db", dir && *dir ? dir : "/tmp", name);
    return buf_take(&b);
}

/* The file, and what SQLite and the locks have put beside it. */
static void file_drop(const char *url)
{
    const char *path = url + strlen("sqlite://");
    CLEANUP(buf_done) struct buf pattern = {0};
    glob_t found;
    buf_addf(&pattern, "%s*", path);
    if (glob(pattern.data, 0, NULL, &found))
        return;
    for (size_t i = 0; i < found.gl_pathc; i++)
        (void)unlink(found.gl_pathv[i]);
    globfree(&found);
}

void testdb_must(rc_t rc, const struct err *e, const char *what)
{
    if (!rc)
        return;
    fprintf(stderr, "%s: %s: %s\n", what, rc_name(rc), e->text);
    abort();
}

static const char *base_url(void)
{
    const char *url = getenv("MM_TEST_PG");
    if (!url || !*url) {
        fprintf(stderr, "MM_TEST_PG is not set: a PostgreSQL server is needed\n");
        exit(1);
    }
    return url;
}

/* scheme://authority[/name][?options] with another name and port, or key=value words with more of them. */
char *testdb_url(const char *dbname, int port)
{
    const char *url = base_url(), *scheme = strstr(url, "://");
    struct buf b = {0};
    if (!scheme) {
        buf_addf(&b, "%s dbname=%s", url, dbname);
        if (port)
            buf_addf(&b, " port=%d", port);
        return buf_take(&b);
    }
    const char *authority = scheme + 3, *query = strchr(authority, '?');
    const char *end = authority + strcspn(authority, "/?"), *colon = memrchr(authority, ':', (size_t)(end - authority));
    if (colon && memchr(colon, '@', (size_t)(end - colon)))
        colon = NULL;
    if (port && colon)
        buf_addf(&b, "%.*s:%d", (int)(colon - url), url, port);
    else if (port)
        buf_addf(&b, "%.*s:%d", (int)(end - url), url, port);
    else
        buf_add(&b, url, (size_t)(end - url));
    buf_addf(&b, "/%s%s", dbname, query ? query : "");
    return buf_take(&b);
}

int testdb_port(void)
{
    struct db *db = NULL;
    struct err e;
    struct db_config cfg = {.url = (char *)base_url()};
    testdb_must(db_open(&db, &cfg, &e), &e, "opening MM_TEST_PG");
    int port = (int)testdb_number(db, "SELECT CAST(current_setting('port') AS integer)");
    db_free(db);
    return port;
}

int64_t testdb_number(struct db *db, const char *sql)
{
    struct err e;
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    testdb_must(db_exec(db, sql, NULL, 0, &rows, &e), &e, sql);
    return db_rows_n(rows) ? db_i64(rows, 0, 0) : 0;
}

void testdb_admin(const char *sql)
{
    struct db *db = NULL;
    struct err e;
    struct db_config cfg = {.url = (char *)base_url(), .app_name = app_name};
    testdb_must(db_open(&db, &cfg, &e), &e, "opening MM_TEST_PG");
    testdb_must(db_exec(db, sql, NULL, 0, NULL, &e), &e, sql);
    db_free(db);
}

void testdb_open(struct testdb *t, bool migrate)
{
    uint64_t number = 0;
    struct err e;
    if (getrandom(&number, sizeof number, 0) != sizeof number)
        abort();
    *t = (struct testdb){0};
    snprintf(t->name, sizeof t->name, "mmtest_%016llx", (unsigned long long)number);
    t->url = use_sqlite ? file_url(t->name) : testdb_url(t->name, 0);
    t->cfg = (struct db_config){
        .url = t->url, .connect_us = 3 * USEC_PER_SEC, .statement_us = 30 * USEC_PER_SEC, .app_name = app_name};
    testdb_must(db_open(&t->db, &t->cfg, &e), &e, "opening the test's database");
    if (migrate)
        testdb_must(db_migrate(t->db, &e), &e, "migrating the test's database");
}

void testdb_close(struct testdb *t)
{
    char sql[128];
    db_free(t->db);
    if (use_sqlite) {
        file_drop(t->url);
        mem_free(t->url);
        return;
    }
    snprintf(sql, sizeof sql, "DROP DATABASE IF EXISTS %s WITH (FORCE)", t->name);
    testdb_admin(sql);
    mem_free(t->url);
}

void testdb_kill(const struct testdb *t)
{
    char sql[256];
    struct db *db = NULL;
    struct err e;
    struct db_config cfg = {.url = (char *)base_url(), .app_name = app_name};
    testdb_must(db_open(&db, &cfg, &e), &e, "opening MM_TEST_PG");
    snprintf(sql, sizeof sql,
             "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE datname = '%s'", t->name);
    (void)testdb_number(db, sql);
    db_free(db);
}
