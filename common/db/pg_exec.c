/* PostgreSQL: one statement with bound parameters, prepared once a connection, binary both ways. */
#include <endian.h>
#include <limits.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "db/pg.h"

#define MAX_STATEMENTS 256 /* lists with filters make new texts: past this all are forgotten and made again */
#define MAX_PARAMS 4096

enum { /* types of PostgreSQL that never change */
       OID_BOOL = 16,
       OID_BYTEA = 17,
       OID_CHAR = 18,
       OID_NAME = 19,
       OID_INT8 = 20,
       OID_INT2 = 21,
       OID_INT4 = 23,
       OID_TEXT = 25,
       OID_OID = 26,
       OID_JSON = 114,
       OID_FLOAT4 = 700,
       OID_FLOAT8 = 701,
       OID_UNKNOWN = 705,
       OID_BPCHAR = 1042,
       OID_VARCHAR = 1043,
       OID_VOID = 2278,
       OID_JSONB = 3802,
};

struct params {
    Oid *types;
    const char **values;
    int *lengths, *formats;
    uint64_t *numbers; /* in network order */
};

static void params_done(struct params *p)
{
    mem_free(p->types);
    mem_free(p->values);
    mem_free(p->lengths);
    mem_free(p->formats);
    mem_free(p->numbers);
}

static uint64_t f64_bits(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return htobe64(bits);
}

static rc_t bind(struct params *p, const struct db_value *v, size_t i, struct err *e)
{
    static const Oid types[] = {[DB_NULL] = 0,        [DB_I64] = OID_INT8,  [DB_F64] = OID_FLOAT8,
                                [DB_BOOL] = OID_BOOL, [DB_TEXT] = OID_TEXT, [DB_BYTES] = OID_BYTEA};
    p->types[i] = types[v->type];
    p->formats[i] = 1;
    p->values[i] = (const char *)&p->numbers[i];
    p->lengths[i] = 8;
    switch (v->type) {
    case DB_NULL:
        p->values[i] = NULL;
        return OK;
    case DB_I64:
        p->numbers[i] = htobe64((uint64_t)v->i64);
        return OK;
    case DB_F64:
        p->numbers[i] = f64_bits(v->f64);
        return OK;
    case DB_BOOL:
        *(char *)&p->numbers[i] = v->b;
        p->lengths[i] = 1;
        return OK;
    case DB_TEXT:
        if (v->s.n && memchr(v->s.p, '\0', v->s.n))
            return err_set(e, E_INVALID, "text with a NUL byte in it (parameter %zu)", i + 1);
        break;
    case DB_BYTES:
        break;
    }
    if (v->s.n > INT_MAX / 2)
        return err_set(e, E_INVALID, "parameter %zu is too large", i + 1);
    p->values[i] = v->s.n ? v->s.p : "";
    p->lengths[i] = (int)v->s.n;
    return OK;
}

static rc_t bind_all(struct params *p, const struct db_value *values, size_t n, struct err *e)
{
    if (n > MAX_PARAMS)
        return err_set(e, E_INVALID, "more than %d parameters", MAX_PARAMS);
    *p = (struct params){
        .types = mem_array(n, sizeof *p->types),
        .values = mem_array(n, sizeof *p->values),
        .lengths = mem_array(n, sizeof *p->lengths),
        .formats = mem_array(n, sizeof *p->formats),
        .numbers = mem_array(n, sizeof *p->numbers),
    };
    rc_t rc = OK;
    for (size_t i = 0; i < n && !rc; i++)
        rc = bind(p, &values[i], i, e);
    return rc;
}

static rc_t forget_statements(struct pg *pg, struct err *e)
{
    map_done(&pg->statements);
    pg->statements = (struct map){0};
    return pg_script(pg, "DEALLOCATE ALL", e);
}

/* The types are part of the key: a NULL has none, and the server would settle on another for it. */
static rc_t prepare(struct pg *pg, const char *sql, const struct params *p, size_t n, char name[24], struct err *e)
{
    CLEANUP(buf_done) struct buf key = {0};
    buf_add(&key, p->types, n * sizeof *p->types);
    buf_addz(&key, sql);
    void *known = map_get(&pg->statements, buf_str(&key));
    size_t number = known ? (size_t)(uintptr_t)known : ++pg->n_statements;
    snprintf(name, 24, "s%zu", number);
    if (known)
        return OK;
    rc_t rc = pg->statements.len < MAX_STATEMENTS ? OK : forget_statements(pg, e);
    PGresult *res = NULL;
    if (!rc && !PQsendPrepare(pg->conn, name, sql, (int)n, p->types))
        rc = pg_lost(pg, NULL, e);
    else if (!rc)
        rc = pg_finish(pg, &res, e);
    PQclear(res);
    if (!rc)
        map_put(&pg->statements, buf_str(&key), (void *)(uintptr_t)number);
    return rc;
}

/* --- results --- */
static int64_t read_int(const char *p, int n)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++)
        v = v << 8 | (unsigned char)p[i];
    int drop = 64 - 8 * n; /* the sign comes along */
    return (int64_t)(v << drop) >> drop;
}

static double read_float(const char *p, int n)
{
    uint64_t bits = (uint64_t)read_int(p, n);
    uint32_t narrow = (uint32_t)bits;
    double wide;
    float single;
    memcpy(&wide, &bits, sizeof wide);
    memcpy(&single, &narrow, sizeof single);
    return n == 8 ? wide : (double)single;
}

static rc_t read_cell(const PGresult *res, int row, int col, struct db_value *v, struct err *e)
{
    if (PQgetisnull(res, row, col))
        return OK; /* a new cell is DB_NULL */
    const char *p = PQgetvalue(res, row, col);
    int n = PQgetlength(res, row, col);
    switch (PQftype(res, col)) {
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
        *v = DBV_I64(read_int(p, n));
        return OK;
    case OID_OID:
        *v = DBV_I64(read_int(p, n) & 0xffffffff);
        return OK;
    case OID_FLOAT4:
    case OID_FLOAT8:
        *v = DBV_F64(read_float(p, n));
        return OK;
    case OID_BOOL:
        *v = DBV_BOOL(*p != 0);
        return OK;
    case OID_BYTEA:
        *v = DBV_BYTES(((struct str){p, (size_t)n}));
        return OK;
    case OID_TEXT:
    case OID_VARCHAR:
    case OID_BPCHAR:
    case OID_CHAR:
    case OID_NAME:
    case OID_JSON:
    case OID_UNKNOWN:
        *v = DBV_TEXT(((struct str){p, (size_t)n}));
        return OK;
    case OID_JSONB: /* a version byte first */
        *v = DBV_TEXT(((struct str){p + 1, (size_t)n - 1}));
        return OK;
    case OID_VOID:
        return OK;
    default:
        return err_set(e, E_FATAL, "column %s has a type (%u) that is not read here", PQfname(res, col), PQftype(res, col));
    }
}

static void free_result(void *res)
{
    PQclear(res);
}

static rc_t read_rows(PGresult *res, struct db_rows **ret, struct err *e)
{
    int n = PQntuples(res), cols = PQnfields(res);
    CLEANUP(db_rows_freep) struct db_rows *rows = db_rows_new((size_t)n, (size_t)cols);
    rows->affected = *PQcmdTuples(res) ? strtoll(PQcmdTuples(res), NULL, 10) : 0;
    rc_t rc = OK;
    for (int i = 0; i < n && !rc; i++)
        for (int j = 0; j < cols && !rc; j++)
            rc = read_cell(res, i, j, &rows->cells[(size_t)i * rows->cols + (size_t)j], e);
    if (rc)
        return rc;
    rows->owner = res;
    rows->owner_free = free_result;
    *ret = rows;
    rows = NULL;
    return OK;
}

rc_t pg_exec(void *self, const char *sql, const struct db_value *params, size_t n, struct db_rows **ret_rows, struct err *e)
{
    struct pg *pg = self;
    CLEANUP(params_done) struct params p = {0};
    char name[24];
    rc_t rc = bind_all(&p, params, n, e);
    if (!rc)
        rc = prepare(pg, sql, &p, n, name, e);
    if (rc)
        return rc;
    PGresult *res = NULL;
    if (!PQsendQueryPrepared(pg->conn, name, (int)n, p.values, p.lengths, p.formats, 1))
        return pg_lost(pg, NULL, e);
    rc = pg_finish(pg, &res, e);
    if (!rc && ret_rows) {
        rc = read_rows(res, ret_rows, e);
        res = rc ? res : NULL;
    }
    PQclear(res);
    return rc;
}
