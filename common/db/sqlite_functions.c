/* Functions that PostgreSQL has and SQLite has not: nextval, greatest, least. */
#include "db/sqlite.h"

/* The next number of a sequence: here a table of one row, whose column has the name that PostgreSQL gives it. */
static void nextval(sqlite3_context *ctx, int n, sqlite3_value **args)
{
    (void)n;
    sqlite3_stmt *stmt = NULL;
    sqlite3 *conn = sqlite3_context_db_handle(ctx);
    char *sql = sqlite3_mprintf("UPDATE \"%w\" SET last_value = last_value + 1 RETURNING last_value",
                                sqlite3_value_text(args[0]));
    int rc = sql ? sqlite3_prepare_v2(conn, sql, -1, &stmt, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    int64_t value = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    if (rc == SQLITE_ROW)
        rc = sqlite3_step(stmt);
    (void)sqlite3_finalize(stmt); /* its error is rc */
    if (rc == SQLITE_DONE && value)
        sqlite3_result_int64(ctx, value);
    else if (rc == SQLITE_DONE)
        sqlite3_result_error(ctx, "no such sequence", -1);
    else
        sqlite3_result_error_code(ctx, rc);
}

/* Unlike max() and min() of SQLite these pass over NULL. The user data says which: it is not NULL for greatest. */
static void extreme(sqlite3_context *ctx, int n, sqlite3_value **args)
{
    bool greatest = sqlite3_user_data(ctx) != NULL, integers = true;
    int best = -1;
    for (int i = 0; i < n; i++)
        integers = integers &&
                   (sqlite3_value_type(args[i]) == SQLITE_INTEGER || sqlite3_value_type(args[i]) == SQLITE_NULL);
    for (int i = 0; i < n; i++) {
        if (sqlite3_value_type(args[i]) == SQLITE_NULL)
            continue;
        bool more = best < 0   ? false
                    : integers ? sqlite3_value_int64(args[i]) > sqlite3_value_int64(args[best])
                               : sqlite3_value_double(args[i]) > sqlite3_value_double(args[best]);
        bool less = best < 0   ? false
                    : integers ? sqlite3_value_int64(args[i]) < sqlite3_value_int64(args[best])
                               : sqlite3_value_double(args[i]) < sqlite3_value_double(args[best]);
        if (best < 0 || (greatest ? more : less))
            best = i;
    }
    if (best >= 0)
        sqlite3_result_value(ctx, args[best]);
}

int sqlite_functions_add(sqlite3 *conn)
{
    static const char is_greatest;
    const int pure = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
    int rc = sqlite3_create_function(conn, "nextval", 1, SQLITE_UTF8, NULL, nextval, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function(conn, "greatest", -1, pure, (void *)(uintptr_t)&is_greatest, extreme, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function(conn, "least", -1, pure, NULL, extreme, NULL, NULL);
    return rc;
}
