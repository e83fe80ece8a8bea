/* A database of a test's own: on the server that MM_TEST_PG names, or a file in MM_TEST_DIR. Anything that goes wrong ends
 * the program with words. */
#pragma once
#include "db/db.h"

struct testdb {
    char name[64];
    char *url;
    struct db_config cfg; /* of this database */
    struct db *db;
};
/* The driver of the databases to come; before the first: postgres. What only a server can do is in tests for postgres. */
void testdb_use(bool sqlite);
bool testdb_is_sqlite(void);
void testdb_open(struct testdb *t, bool migrate); /* the database is made when migrate is set, else only named */
void testdb_close(struct testdb *t);              /* and dropped */
char *testdb_url(const char *dbname, int port);   /* of another database; port 0: the server's own. mem_free */
int testdb_port(void);
void testdb_must(rc_t rc, const struct err *e, const char *what);
/* Runs sql without parameters on db; the first cell of the first row as a number (0: none). */
int64_t testdb_number(struct db *db, const char *sql);
void testdb_admin(const char *sql); /* on the server's own database */
/* Ends the backends of this database and waits until they are gone. */
void testdb_kill(const struct testdb *t);
