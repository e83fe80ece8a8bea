/* Columns of files into references and counts. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/num.h"
#include "json/doc.h"
#include "lake/table.h"

#define STATISTICS_MAX (64u << 20)

void files_split(const char *list, struct arena *a, struct str **ret, size_t *n)
{
    size_t most = 1;
    for (const char *c = list ? list : ""; *c; c++)
        most += *c == ',';
    *ret = arena_array(a, most, sizeof **ret);
    *n = 0;
    for (const char *at = list ? list : ""; *at;) {
        size_t len = strcspn(at, ",");
        if (len)
            (*ret)[(*n)++] = (struct str){arena_dup(a, at, len), len};
        at += len + (at[len] == ',');
    }
}

rc_t files_read(const char *path, size_t max, struct buf *ret, struct err *e)
{
    char block[65536];
    FILE *f = fopen(path, "rbe");
    if (f == NULL)
        return err_set(e, E_NOTFOUND, "%s: %s", path, strerror(errno));
    for (size_t n; ret->len <= max && (n = fread(block, 1, sizeof block, f)) > 0;)
        buf_add(ret, block, n);
    bool bad = ferror(f) != 0;
    (void)fclose(f); /* only read */
    if (bad)
        return err_set(e, E_INVALID, "%s: cannot be read", path);
    return ret->len > max ? err_set(e, E_LIMIT, "%s: more than %zu MiB", path, max >> 20) : OK;
}

/* ---- training sets ---- */
struct values {
    double *num;          /* a column of numbers */
    struct stat_value *v; /* any other */
    size_t n, cap;
};

struct gathering {
    const struct lake_table_column *columns;
    size_t n;
    struct values *values;
    struct arena *mem; /* of texts */
    bool guessed;      /* types are a CSV's */
    int64_t bytes;
    size_t rows;
    const char *path;
};

static bool is_infinite(struct str s, double *ret)
{
    bool minus = s.n && s.p[0] == '-';
    struct str word = {s.p + (minus || (s.n && s.p[0] == '+')), s.n - (minus || (s.n && s.p[0] == '+'))};
    *ret = minus ? -INFINITY : INFINITY;
    return str_eqz(word, "inf") || str_eqz(word, "Inf") || str_eqz(word, "Infinity");
}

/* A value of a text column; where types were guessed a number is a number. */
static struct stat_value value_of(struct str text, bool missing, bool guessed)
{
    struct stat_value v = {.kind = missing ? STAT_MISSING : STAT_TEXT, .text = text};
    if (!missing && guessed && (num_f64(text, &v.num) == OK || is_infinite(text, &v.num)))
        v.kind = STAT_NUMBER;
    return v;
}

static void make_room(struct values *to, size_t more, bool numbers)
{
    if (to->n + more <= to->cap)
        return;
    to->cap = to->cap ? 2 * to->cap : 8192;
    if (numbers)
        to->num = mem_grow(to->num, to->cap, sizeof *to->num);
    else
        to->v = mem_grow(to->v, to->cap, sizeof *to->v);
}

static rc_t gather(void *arg, const struct lake_batch *b, struct err *e)
{
    struct gathering *g = arg;
    for (size_t i = 0; i < b->n_cols; i++) {
        struct values *to = &g->values[i];
        bool numbers = g->columns[i].type == COLUMN_NUMBER;
        make_room(to, b->n_rows, numbers);
        g->bytes += (int64_t)(b->n_rows * (numbers ? sizeof *to->num : sizeof *to->v));
        if (numbers) {
            memcpy(to->num + to->n, b->cols[i].num, b->n_rows * sizeof *to->num);
            to->n += b->n_rows;
            continue;
        }
        for (size_t k = 0; k < b->n_rows; k++) {
            struct stat_value *v = &to->v[to->n++];
            if (g->columns[i].type == COLUMN_BOOL) {
                *v = (struct stat_value){.kind = b->cols[i].missing[k] ? STAT_MISSING : STAT_BOOL,
                                         .num = b->cols[i].num[k]};
                continue;
            }
            *v = value_of(b->cols[i].text[k], b->cols[i].missing[k], g->guessed);
            v->text = v->kind == STAT_TEXT ? arena_str(g->mem, v->text) : (struct str){0};
            g->bytes += (int64_t)v->text.n;
        }
    }
    g->rows += b->n_rows;
    if (g->bytes > FILES_ROOM)
        return err_set(e, E_LIMIT, "%s: a training set of more than %lld MiB of values; a part of its rows says the same",
                       g->path, (long long)(FILES_ROOM >> 20));
    return OK;
}

static void values_free(struct values *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        mem_free(v[i].num);
        mem_free(v[i].v);
    }
    mem_free(v);
}

static bool is_label(const struct training_file *t, struct str name)
{
    for (size_t i = 0; i < t->n_labels; i++)
        if (str_eq(t->labels[i], name))
            return true;
    return false;
}

static rc_t make_reference(struct training_file *t, const struct gathering *g, bool percentiles, struct err *e)
{
    rc_t rc = OK;
    for (size_t i = 0; rc == OK && i < g->n; i++) {
        struct str name = str_of(g->columns[i].name);
        const struct values *v = &g->values[i];
        bool label = is_label(t, name);
        if (g->columns[i].type != COLUMN_NUMBER)
            rc = reference_add_values(t->reference, name, label, v->v, v->n, e);
        else if (percentiles)
            rc = reference_add_f64(t->reference, name, label, v->num, v->n, e);
        else
            rc = reference_add_bins(t->reference, name, label, v->num, v->n, e);
    }
    return rc;
}

static rc_t check_labels(const struct training_file *t, const char *path, struct err *e)
{
    for (size_t i = 0; i < t->n_labels; i++)
        if (reference_find(t->reference, t->labels[i]) == NULL)
            return err_set(e, E_INVALID, "%s: there is no column %.*s", path, STR_FMT(t->labels[i]));
    return OK;
}

/* What was read is the caller's, if it is right. */
static rc_t settle(rc_t rc, struct training_file *t, const char *path, struct training_file *ret, struct err *e)
{
    if (rc == OK)
        rc = check_labels(t, path, e);
    if (rc)
        training_file_done(t);
    else
        *ret = *t;
    return rc;
}

static rc_t read_training(struct training_file *t, struct lake_table *table, const char *path, bool percentiles,
                          struct err *e)
{
    struct arena texts = {0};
    struct gathering g = {.mem = &texts, .guessed = lake_table_is_csv(table), .path = path};
    g.n = lake_table_columns(table, &g.columns);
    g.values = mem_array(g.n + 1, sizeof *g.values);
    rc_t rc = lake_table_read(table, gather, &g, e);
    if (rc == OK && g.rows == 0)
        rc = err_set(e, E_INVALID, "%s: there are no rows", path);
    if (rc == OK)
        rc = make_reference(t, &g, percentiles, e);
    t->rows = g.rows;
    values_free(g.values, g.n);
    arena_done(&texts);
    return rc;
}

rc_t files_open_table(struct lake_table **ret, const char *path, struct err *e)
{
    static const char *const index[] = {"Unnamed: 0", "column0", "__index_level_0__"}; /* column0: a CSV's without a name */
    const struct lake_table_column *columns;
    rc_t rc = lake_table_open(ret, path, e);
    size_t n = rc ? 0 : lake_table_columns(*ret, &columns);
    for (size_t i = 0; i < sizeof index / sizeof *index; i++)
        for (size_t k = 0; k < n; k++)
            if (strcmp(columns[k].name, index[i]) == 0 && (k == 0 || i == 2))
                (void)fprintf(stderr,
                              "warning: %s: the column %s looks like the index of pandas, which is no feature: "
                              "write the file with index=False\n",
                              path, index[i]);
    return rc;
}

rc_t training_file_read(struct training_file *ret, const char *path, const char *labels, bool percentiles, struct err *e)
{
    struct training_file t = {0};
    struct lake_table *table = NULL;
    files_split(labels, &t.mem, &t.labels, &t.n_labels);
    rc_t rc = files_open_table(&table, path, e);
    for (bool again = rc == OK; again;) {
        reference_free(t.reference);
        t.reference = reference_new();
        rc = read_training(&t, table, path, percentiles, e);
        again = rc == E_AGAIN; /* once: the types of its columns are known then */
    }
    lake_table_free(table);
    return settle(rc, &t, path, ret, e);
}

rc_t training_file_statistics(struct training_file *ret, const char *path, const char *labels, struct err *e)
{
    CLEANUP(buf_done) struct buf text = {0};
    CLEANUP(json_freep) struct json *j = NULL;
    const struct json_limits limits = {.values = 8000000,
                                       .bytes = STATISTICS_MAX,
                                       .string_bytes = 1u << 20,
                                       .keys = REFERENCE_FEATURES_MAX,
                                       .accept_nan = true};
    struct training_file t = {0};
    files_split(labels, &t.mem, &t.labels, &t.n_labels);
    rc_t rc = files_read(path, STATISTICS_MAX, &text, e);
    if (rc == OK && (rc = json_parse(&j, text.data ? text.data : "", text.len, &limits, e)) != OK)
        rc = err_prefix(e, rc, "%s: ", path);
    const struct json *stats = rc == OK && json_get(j, "feature_stats") ? json_get(j, "feature_stats") : j;
    if (rc == OK && (json_type(stats) != JSON_OBJECT || json_len(stats) == 0))
        rc = err_set(e, E_INVALID, "%s: an object of features is wanted: {\"age\": {\"count\": …, \"hist\": […]}}", path);
    if (rc == OK && (rc = reference_from_json(&t.reference, stats, t.labels, t.n_labels, e)) != OK)
        rc = err_prefix(e, rc, "%s: ", path);
    return settle(rc, &t, path, ret, e);
}

static bool is_object(const char *path)
{
    char block[4096];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe nobody writes into would be waited for */
    bool regular = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    ssize_t n = regular ? read(fd, block, sizeof block) : 0, i = 0;
    if (fd >= 0)
        (void)close(fd); /* only read */
    while (i < n && strchr(" \t\r\n", block[i]))
        i++;
    return i < n && block[i] == '{';
}

rc_t training_file_any(struct training_file *ret, const char *path, const char *labels, bool percentiles, struct err *e)
{
    return is_object(path) ? training_file_statistics(ret, path, labels, e)
                           : training_file_read(ret, path, labels, percentiles, e);
}

void training_file_done(struct training_file *t)
{
    reference_free(t->reference);
    arena_done(&t->mem);
    *t = (struct training_file){0};
}

/* ---- samples ---- */
struct counting {
    struct sample_file *to;
    const struct reference *ref;
    size_t *index; /* of each column in the reference; ref->n: not there */
    bool guessed;
};

static rc_t count(void *arg, const struct lake_batch *b, struct err *e)
{
    const struct counting *c = arg;
    (void)e; /* every value is counted as something */
    for (size_t i = 0; i < b->n_cols; i++) {
        size_t at = c->index[i];
        if (at == c->ref->n)
            continue;
        const struct feature_ref *f = &c->ref->features[at];
        struct feature_counts *to = &c->to->counts[at];
        const struct lake_column *col = &b->cols[i];
        if (col->type == COLUMN_NUMBER) {
            counts_add_column(to, f, col->num, b->n_rows);
            continue;
        }
        for (size_t k = 0; k < b->n_rows; k++) {
            struct stat_value v = {.kind = col->missing[k] ? STAT_MISSING : STAT_BOOL};
            if (col->type == COLUMN_BOOL)
                v.num = col->num[k];
            else
                v = value_of(col->text[k], col->missing[k], c->guessed && f->kind == FEATURE_NUMERIC);
            counts_add_value(to, f, &v);
        }
    }
    c->to->rows += b->n_rows;
    return OK;
}

static void bind_columns(struct sample_file *s, const struct reference *ref, const struct lake_table *table, size_t *index)
{
    const struct lake_table_column *columns;
    size_t n = lake_table_columns(table, &columns);
    s->others = arena_array(&s->mem, n + 1, sizeof *s->others);
    s->n_others = 0;
    for (size_t i = 0; i < n; i++) {
        struct str name = str_of(columns[i].name);
        index[i] = reference_index(ref, name);
        if (index[i] == ref->n)
            s->others[s->n_others++] = arena_str(&s->mem, name);
        else
            s->present[index[i]] = true;
    }
}

static rc_t count_table(struct sample_file *s, const struct reference *ref, struct lake_table *table, struct err *e)
{
    const struct lake_table_column *columns;
    size_t n = lake_table_columns(table, &columns);
    struct counting c = {
        .to = s, .ref = ref, .index = mem_array(n + 1, sizeof *c.index), .guessed = lake_table_is_csv(table)};
    s->rows = 0;
    for (size_t i = 0; i < ref->n; i++)
        counts_clear(&s->counts[i]);
    bind_columns(s, ref, table, c.index);
    rc_t rc = lake_table_read(table, count, &c, e);
    mem_free(c.index);
    return rc;
}

rc_t sample_file_read(struct sample_file *ret, const struct reference *ref, const char *path, struct err *e)
{
    struct sample_file s = {.n = ref->n};
    struct lake_table *table = NULL;
    rc_t rc = files_open_table(&table, path, e);
    if (rc)
        return rc;
    s.counts = mem_array(ref->n + 1, sizeof *s.counts);
    s.present = arena_array(&s.mem, ref->n + 1, sizeof *s.present);
    for (size_t i = 0; i < ref->n; i++)
        counts_init(&s.counts[i], &ref->features[i], NULL);
    do
        rc = count_table(&s, ref, table, e);
    while (rc == E_AGAIN); /* once: the types of its columns are known then */
    lake_table_free(table);
    if (rc)
        sample_file_done(&s);
    else
        *ret = s;
    return rc;
}

void sample_file_done(struct sample_file *s)
{
    for (size_t i = 0; i < s->n && s->counts; i++)
        counts_done(&s->counts[i]);
    mem_free(s->counts);
    arena_done(&s->mem);
    *s = (struct sample_file){0};
}
