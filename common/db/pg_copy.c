/* PostgreSQL: bulk load by binary COPY, built in one buffer and streamed in chunks. */
#include <endian.h>
#include <string.h>

#include "base/mem.h"
#include "db/pg.h"

#define CHUNK ((size_t)64 << 10)

/* Widths that the table's columns have on the wire; asked once a connection. */
struct pg_copy {
    size_t n;
    int width[64]; /* of integers and floats; 0: as long as the value is */
};

void pg_copies_forget(struct pg *pg)
{
    struct map_iter it = {0};
    while (map_next(&pg->copies, &it))
        mem_free(it.value);
    map_done(&pg->copies);
    pg->copies = (struct map){0};
}

static rc_t widths(struct pg *pg, const char *table, const char *columns, const struct pg_copy **ret, struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0};
    buf_addf(&sql, "SELECT %s FROM %s LIMIT 0", columns, table);
    struct pg_copy *known = map_get(&pg->copies, buf_str(&sql));
    if (known) {
        *ret = known;
        return OK;
    }
    PGresult *res = NULL;
    if (!PQsendQuery(pg->conn, sql.data))
        return pg_lost(pg, NULL, e);
    rc_t rc = pg_finish(pg, &res, e);
    if (rc)
        return rc;
    known = mem_alloc(sizeof *known);
    known->n = (size_t)PQnfields(res);
    for (size_t i = 0; i < known->n && i < 64; i++)
        known->width[i] = PQfsize(res, (int)i) > 0 ? PQfsize(res, (int)i) : 0;
    PQclear(res);
    map_put(&pg->copies, buf_str(&sql), known);
    *ret = known;
    return OK;
}

static void add_number(struct buf *b, uint64_t v, int width)
{
    struct {
        uint32_t length;
        unsigned char bytes[8];
    } field = {.length = htobe32((uint32_t)width)};
    uint64_t wire = htobe64(v << (64 - 8 * width));
    memcpy(field.bytes, &wire, 8);
    buf_add(b, &field, 4 + (size_t)width);
}

static rc_t add_int(struct buf *b, int64_t v, int width, struct err *e)
{
    int spare = 64 - 8 * width;
    if ((int64_t)((uint64_t)v << spare) >> spare != v)
        return err_set(e, E_INVALID, "%lld does not fit into a column of %d bytes", (long long)v, width);
    add_number(b, (uint64_t)v, width);
    return OK;
}

static rc_t add_cell(struct buf *b, const struct db_value *v, int width, struct err *e)
{
    uint64_t bits;
    uint32_t length;
    switch (v->type) {
    case DB_NULL:
        length = UINT32_MAX;
        buf_add(b, &length, 4);
        return OK;
    case DB_I64:
        if (width != 2 && width != 4 && width != 8)
            return err_set(e, E_FATAL, "an integer for a column that is none");
        return add_int(b, v->i64, width, e);
    case DB_F64:
        if (width != 8)
            return err_set(e, E_FATAL, "a float for a column that is none");
        memcpy(&bits, &v->f64, 8);
        add_number(b, bits, 8);
        return OK;
    case DB_BOOL:
        if (width != 1)
            return err_set(e, E_FATAL, "a boolean for a column that is none");
        add_number(b, v->b, 1);
        return OK;
    case DB_TEXT:
        if (v->s.n && memchr(v->s.p, '\0', v->s.n))
            return err_set(e, E_INVALID, "text with a NUL byte in it");
        break;
    case DB_BYTES:
        break;
    }
    if (width != 0 || v->s.n > INT32_MAX / 2)
        return err_set(e, width ? E_FATAL : E_INVALID, "text for a column that is none, or too large");
    length = htobe32((uint32_t)v->s.n);
    buf_add(b, &length, 4);
    if (v->s.n)
        buf_add(b, v->s.p, v->s.n);
    return OK;
}

/* Hands the chunk over and waits until the socket has taken it, reading what the server says meanwhile. */
static rc_t put(struct pg *pg, int64_t deadline_us, struct err *e)
{
    int put = 0;
    while ((put = PQputCopyData(pg->conn, pg->out.data, (int)pg->out.len)) == 0) {
        rc_t rc = pg_wait(pg, true, deadline_us, e);
        if (rc)
            return rc;
    }
    if (put < 0)
        return pg_lost(pg, NULL, e);
    buf_clear(&pg->out);
    int unsent;
    while ((unsent = PQflush(pg->conn)) == 1) {
        rc_t rc = pg_wait(pg, true, deadline_us, e);
        if (rc)
            return rc;
    }
    return unsent < 0 ? pg_lost(pg, NULL, e) : OK;
}

static rc_t send_rows(struct pg *pg, const struct pg_copy *shape, const struct db_value *values, size_t n_rows,
                      struct err *e)
{
    static const char head[19] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0";
    int64_t deadline = pg_deadline(pg);
    uint16_t count = htobe16((uint16_t)shape->n), end = UINT16_MAX;
    buf_clear(&pg->out);
    buf_add(&pg->out, head, sizeof head);
    for (size_t i = 0; i < n_rows; i++) {
        buf_add(&pg->out, &count, 2);
        for (size_t j = 0; j < shape->n; j++) {
            rc_t rc = add_cell(&pg->out, values++, shape->width[j], e);
            if (rc)
                return rc;
        }
        rc_t rc = pg->out.len < CHUNK ? OK : put(pg, deadline, e);
        if (rc)
            return rc;
    }
    buf_add(&pg->out, &end, 2);
    return put(pg, deadline, e);
}

static rc_t finish(struct pg *pg, rc_t rc, struct err *e)
{
    if (!pg->conn)
        return rc;
    int ended;
    int64_t deadline = pg_deadline(pg);
    while ((ended = PQputCopyEnd(pg->conn, rc ? "the sender gave up" : NULL)) == 0) {
        rc_t waited = pg_wait(pg, true, deadline, e);
        if (waited)
            return waited;
    }
    if (ended < 0)
        return pg_lost(pg, NULL, e);
    PGresult *res = NULL;
    struct err later;
    rc_t end = pg_finish(pg, &res, rc ? &later : e);
    PQclear(res);
    return rc ? rc : end; /* what was wrong first is what the caller should know */
}

rc_t pg_copy(void *self, const char *table, const char *columns, const struct db_value *values, size_t n_rows,
             size_t n_cols, struct err *e)
{
    struct pg *pg = self;
    const struct pg_copy *shape = NULL;
    rc_t rc = widths(pg, table, columns, &shape, e);
    if (rc)
        return rc;
    if (shape->n != n_cols || n_cols > 64)
        return err_set(e, E_FATAL, "%zu values a row for the %zu columns of %s", n_cols, shape->n, table);
    CLEANUP(buf_done) struct buf sql = {0};
    buf_addf(&sql, "COPY %s (%s) FROM STDIN (FORMAT binary)", table, columns);
    if (!PQsendQuery(pg->conn, sql.data))
        return pg_lost(pg, NULL, e);
    PGresult *res = NULL;
    rc = pg_finish(pg, &res, e);
    bool open = !rc && PQresultStatus(res) == PGRES_COPY_IN;
    PQclear(res);
    if (!open)
        return rc ? rc : err_set(e, E_FATAL, "COPY did not start");
    return finish(pg, send_rows(pg, shape, values, n_rows, e), e);
}
