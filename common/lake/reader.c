/* Reading rows back: files are grouped by how the wanted columns look in them, each group is one query that reads only
 * those columns, and only the row groups that can hold the time range. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/map.h"
#include "base/mem.h"
#include "lake/clear.h"
#include "lake/lake_duck.h"
#include "lake/lake_path.h"

#define UNIQUE_MAX 9 /* lake_file_names never needed more in a schema that a person made */

struct lake_reader {
    struct lake_config cfg;
    bool opened;
    struct duck duck;
};

/* What a wanted column is in a file. */
enum kind { KIND_MISSING, KIND_DOUBLE, KIND_TEXT };

struct wanted {
    const char *const *columns;
    size_t n;
    int64_t start_us, end_us;
    lake_batch_fn *fn;
    void *arg;
};

struct group { /* files that look the same */
    struct group *next;
    char *look;       /* "kind:name-in-file\n" a wanted column */
    struct buf paths; /* 'a', 'b' */
};

struct columns { /* of a batch, reused */
    struct lake_column *cols;
    double **num;
    struct str **text;
    unsigned char **missing;
};

rc_t lake_reader_open(struct lake_reader **ret, const struct lake_config *cfg, struct err *e)
{
    if (!cfg->root || !*cfg->root)
        return err_set(e, E_INVALID, "LAKE_DIR is empty");
    struct lake_reader *r = mem_alloc(sizeof *r);
    r->cfg = *cfg;
    r->cfg.root = mem_dupz(cfg->root);
    *ret = r;
    return OK;
}

void lake_reader_free(struct lake_reader *r)
{
    if (!r)
        return;
    if (r->opened)
        duck_close(&r->duck);
    mem_free(r->cfg.root);
    mem_free(r);
}

static rc_t open_once(struct lake_reader *r, struct err *e)
{
    if (r->opened)
        return OK;
    rc_t rc = duck_open(&r->duck, &r->cfg, e);
    r->opened = rc == OK;
    return rc;
}

static void add_path(struct buf *out, const struct lake_reader *r, const char *path)
{
    CLEANUP(buf_done) struct buf whole = {0};
    buf_addf(&whole, "%s/%s", r->cfg.root, path);
    if (out->len)
        buf_addz(out, ", ");
    duck_quote(out, whole.data, '\'');
}

/* Bytes that are no Parquet will not be better next time; want of memory and what the disk says (EIO, a file that is away) pass. */
static rc_t read_failed(struct err *e, const char *path, duckdb_error_type type, const char *words)
{
    bool passes = type == DUCKDB_ERROR_OUT_OF_MEMORY || type == DUCKDB_ERROR_IO;
    return err_set(e, passes ? E_AGAIN : E_INVALID, "reading %.120s: %s", path, words);
}

/* A column's kind by Parquet's type of it. */
static enum kind kind_of(const char *type)
{
    return strcmp(type, "DOUBLE") == 0 || strcmp(type, "INT64") == 0 || strcmp(type, "INT32") == 0 ||
                   strcmp(type, "BOOLEAN") == 0 || strcmp(type, "FLOAT") == 0
               ? KIND_DOUBLE
               : KIND_TEXT;
}

/* The columns of one file: name → its type's text. */
static rc_t load_schema(struct lake_reader *r, const char *path, struct map *ret, struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0}, quoted = {0};
    duckdb_result res;
    add_path(&quoted, r, path);
    buf_addf(&sql, "SELECT name, coalesce(type, '') FROM parquet_schema(%s)", quoted.data);
    if (duckdb_query(r->duck.con, sql.data, &res) == DuckDBError) {
        rc_t rc = read_failed(e, path, duckdb_result_error_type(&res), duckdb_result_error(&res));
        duckdb_destroy_result(&res);
        return rc;
    }
    for (idx_t row = 0, n = duckdb_row_count(&res); row < n; row++) {
        char *name = duckdb_value_varchar(&res, 0, row), *type = duckdb_value_varchar(&res, 1, row);
        mem_free(map_put(ret, str_of(name), mem_dupz(type)));
        duckdb_free(name);
        duckdb_free(type);
    }
    duckdb_destroy_result(&res);
    return OK;
}

static void add_look(struct buf *look, const struct map *schema, const char *column)
{
    char name[300];
    const char *type = map_get(schema, str_of(column));
    (void)snprintf(name, sizeof name, "%s", column);
    for (int k = 2; !type && k <= UNIQUE_MAX; k++) {
        (void)snprintf(name, sizeof name, "%.280s__%d", column, k);
        type = map_get(schema, str_of(name));
    }
    if (!type)
        buf_addf(look, "%d:\n", KIND_MISSING);
    else if (strcmp(name, column) == 0 || strlen(column) >= 280)
        buf_addf(look, "%d:%s\n", kind_of(type), column);
    else
        buf_addf(look, "%d:%s\n", kind_of(type), name);
}

static void schema_free(struct map *schema)
{
    struct map_iter it = {0};
    while (map_next(schema, &it))
        mem_free(it.value);
    map_done(schema);
}

rc_t lake_has_file(const struct lake_config *cfg, const char *path, bool *ret, struct err *e)
{
    CLEANUP(buf_done) struct buf whole = {0};
    if (!lake_is_below_root(str_of(path)))
        return err_set(e, E_INVALID, "no path of the lake: %.150s", path);
    buf_addf(&whole, "%s/%s", cfg->root, path);
    bool there = access(whole.data, R_OK) == 0;
    if (!there && errno != ENOENT && errno != ENOTDIR)
        return err_set(e, E_AGAIN, "%.200s: %s", path, strerror(errno));
    if (!there) { /* or is all of the lake away? */
        CLEANUP(mem_freep) char *project = mem_dup(path, strcspn(path, "/"));
        rc_t rc = lake_root_check(cfg->root, project, e);
        if (rc)
            return rc;
    }
    *ret = there;
    return OK;
}

static rc_t file_exists(const struct lake_reader *r, const char *path, struct err *e)
{
    bool there = false;
    rc_t rc = lake_has_file(&r->cfg, path, &there, e);
    return rc || there ? rc : err_set(e, E_NOTFOUND, "no file %.200s", path);
}

static rc_t group_file(struct lake_reader *r, const char *path, const struct wanted *want, struct group **groups,
                       struct err *e)
{
    CLEANUP(buf_done) struct buf look = {0};
    struct map schema = {0};
    rc_t rc = file_exists(r, path, e);
    if (!rc)
        rc = load_schema(r, path, &schema, e);
    for (size_t i = 0; !rc && i < want->n; i++)
        add_look(&look, &schema, want->columns[i]);
    schema_free(&schema);
    if (rc)
        return rc;
    buf_addz(&look, "");
    struct group **at = groups;
    while (*at && strcmp((*at)->look, look.data ? look.data : "") != 0)
        at = &(*at)->next;
    if (!*at) {
        *at = mem_alloc(sizeof **at);
        (*at)->look = mem_dupz(look.data ? look.data : "");
    }
    add_path(&(*at)->paths, r, path);
    return OK;
}

static void groups_free(struct group *g)
{
    while (g) {
        struct group *next = g->next;
        mem_free(g->look);
        buf_done(&g->paths);
        mem_free(g);
        g = next;
    }
}

/* SELECT of a group; kinds gets each wanted column's. */
static void make_query(const struct group *g, enum kind *kinds, struct buf *sql)
{
    const char *at = g->look;
    buf_addz(sql, "SELECT \"timestamp\"");
    for (size_t i = 0; *at; i++) {
        const char *end = strchr(at, '\n');
        CLEANUP(mem_freep) char *name = mem_dup(at + 2, (size_t)(end - at) - 2);
        kinds[i] = (enum kind)(at[0] - '0');
        if (kinds[i] != KIND_MISSING) {
            buf_addz(sql, ", CAST(");
            duck_quote(sql, name, '"');
            buf_addf(sql, " AS %s)", kinds[i] == KIND_DOUBLE ? "DOUBLE" : "VARCHAR");
        }
        at = end + 1;
    }
    buf_addf(sql, " FROM read_parquet([%s], hive_partitioning = false) WHERE \"timestamp\" >= $1 AND \"timestamp\" < $2",
             g->paths.data);
}

static struct columns columns_new(size_t n, size_t rows)
{
    struct columns c = {mem_array(n + 1, sizeof *c.cols), mem_array(n + 1, sizeof *c.num),
                        mem_array(n + 1, sizeof *c.text), mem_array(n + 1, sizeof *c.missing)};
    for (size_t i = 0; i < n; i++) {
        c.num[i] = mem_array(rows, sizeof **c.num);
        c.text[i] = mem_array(rows, sizeof **c.text);
        c.missing[i] = mem_array(rows, 1);
    }
    return c;
}

static void columns_done(struct columns *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        mem_free(c->num[i]);
        mem_free(c->text[i]);
        mem_free(c->missing[i]);
    }
    mem_free(c->cols);
    mem_free(c->num);
    mem_free(c->text);
    mem_free(c->missing);
}

static bool is_valid(const uint64_t *validity, idx_t row)
{
    return !validity || (validity[row / 64] >> (row % 64)) & 1;
}

static void take_numbers(struct columns *c, size_t i, duckdb_vector v, idx_t rows)
{
    const double *from = duckdb_vector_get_data(v);
    const uint64_t *validity = duckdb_vector_get_validity(v);
    for (idx_t k = 0; k < rows; k++) {
        c->missing[i][k] = !is_valid(validity, k);
        c->num[i][k] = c->missing[i][k] ? NAN : from[k];
    }
}

static void take_texts(struct columns *c, size_t i, duckdb_vector v, idx_t rows)
{
    duckdb_string_t *from = duckdb_vector_get_data(v);
    const uint64_t *validity = duckdb_vector_get_validity(v);
    for (idx_t k = 0; k < rows; k++) {
        c->missing[i][k] = !is_valid(validity, k);
        c->text[i][k] = c->missing[i][k] ? (struct str){"", 0}
                                         : (struct str){duckdb_string_t_data(&from[k]), duckdb_string_t_length(from[k])};
    }
}

static void take_missing(struct columns *c, size_t i, idx_t rows)
{
    memset(c->missing[i], 1, rows);
    for (idx_t k = 0; k < rows; k++)
        c->num[i][k] = NAN;
}

static rc_t give_batch(duckdb_data_chunk chunk, const struct wanted *want, const enum kind *kinds, struct columns *c,
                       struct err *e)
{
    idx_t rows = duckdb_data_chunk_get_size(chunk), at = 1;
    for (size_t i = 0; i < want->n; i++) {
        c->cols[i] = (struct lake_column){.missing = c->missing[i]};
        if (kinds[i] == KIND_TEXT) {
            take_texts(c, i, duckdb_data_chunk_get_vector(chunk, at++), rows);
            c->cols[i].type = COLUMN_STRING;
            c->cols[i].text = c->text[i];
            continue;
        }
        if (kinds[i] == KIND_DOUBLE)
            take_numbers(c, i, duckdb_data_chunk_get_vector(chunk, at++), rows);
        else
            take_missing(c, i, rows);
        c->cols[i].type = COLUMN_NUMBER;
        c->cols[i].num = c->num[i];
    }
    struct lake_batch b = {rows, want->n, c->cols, duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0))};
    return rows ? want->fn(want->arg, &b, e) : OK;
}

static rc_t fetch_all(duckdb_result res, const struct wanted *want, const enum kind *kinds, struct err *e)
{
    struct columns c = columns_new(want->n, duckdb_vector_size());
    rc_t rc = OK;
    for (duckdb_data_chunk chunk; !rc && (chunk = duckdb_fetch_chunk(res));) {
        rc = give_batch(chunk, want, kinds, &c, e);
        duckdb_destroy_data_chunk(&chunk);
    }
    const char *words = rc ? NULL : duckdb_result_error(&res);
    if (words && *words)
        rc = read_failed(e, "the lake", duckdb_result_error_type(&res), words);
    columns_done(&c, want->n);
    return rc;
}

static rc_t read_group(struct lake_reader *r, const struct group *g, const struct wanted *want, struct err *e)
{
    CLEANUP(buf_done) struct buf sql = {0};
    enum kind *kinds = mem_array(want->n + 1, sizeof *kinds);
    duckdb_prepared_statement st = NULL;
    duckdb_result res;
    make_query(g, kinds, &sql);
    rc_t rc = OK;
    if (duckdb_prepare(r->duck.con, sql.data, &st) == DuckDBError)
        rc = err_set(e, E_INVALID, "reading the lake: %s", duckdb_prepare_error(st));
    else if (duckdb_bind_timestamp_tz(st, 1, (duckdb_timestamp){want->start_us}) == DuckDBError ||
             duckdb_bind_timestamp_tz(st, 2, (duckdb_timestamp){want->end_us}) == DuckDBError)
        rc = err_set(e, E_AGAIN, "reading the lake: a time is refused");
    if (!rc) {
        if (duckdb_execute_prepared_streaming(st, &res) == DuckDBError)
            rc = read_failed(e, "the lake", duckdb_result_error_type(&res), duckdb_result_error(&res));
        else
            rc = fetch_all(res, want, kinds, e);
        duckdb_destroy_result(&res);
    }
    duckdb_destroy_prepare(&st);
    mem_free(kinds);
    return rc;
}

rc_t lake_read(struct lake_reader *r, const char *const *paths, size_t n_paths, const char *const *columns,
               size_t n_columns, int64_t start_us, int64_t end_us, lake_batch_fn *fn, void *arg, struct err *e)
{
    const struct wanted want = {columns, n_columns, start_us, end_us, fn, arg};
    struct group *groups = NULL;
    rc_t rc = open_once(r, e);
    for (size_t i = 0; i < n_paths && !rc; i++)
        rc = group_file(r, paths[i], &want, &groups, e);
    for (struct group *g = groups; g && !rc; g = g->next)
        rc = read_group(r, g, &want, e);
    groups_free(groups);
    return rc;
}
