/* The sum of a window's slots. A slot that has rows of another schema or reference than the one in force is counted again
 * from the lake, whole: its requests, errors and latencies come from the slots, its columns from the Parquet rows. */
#include <stdlib.h>
#include "app/input.h"
#include "base/mem.h"
#include "log/log.h"

struct span { /* a slot that is counted from the lake */
    int64_t start_us, end_us, rows;
};

struct recount {
    const struct window_source *src;
    struct slot *into;
    const struct span *spans; /* ascending */
    size_t n;
    int64_t counted;
};

static bool in_force(const struct window_source *s, const struct slot_row *r)
{
    return r->schema_version == s->schema_version && r->reference_version == s->reference_version;
}

static int compare_spans(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    return x->start_us < y->start_us ? -1 : x->start_us > y->start_us;
}

/* all: every slot, whatever its version. */
static size_t find_spans(const struct window_source *s, bool all, struct span *ret)
{
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < s->n_rows; i++) {
        const struct slot_row *r = &s->rows[i];
        if (all || !in_force(s, r))
            ret[n++] = (struct span){r->slot_start_us, r->slot_start_us + r->slot_us, 0};
    }
    if (n)
        qsort(ret, n, sizeof *ret, compare_spans);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || ret[kept - 1].start_us != ret[i].start_us)
            ret[kept++] = ret[i];
    return kept;
}

static struct span *span_at(struct span *spans, size_t n, int64_t at_us)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (spans[mid].end_us <= at_us)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n && spans[low].start_us <= at_us ? &spans[low] : NULL;
}

/* What is not about columns. */
static void add_totals(struct slot *into, const struct slot_row *r)
{
    struct err ignored;
    struct slot *one = NULL;
    into->requests += (uint64_t)r->requests;
    into->errors += (uint64_t)r->errors;
    into->estimated += r->estimated;
    if (slot_decode(&one, r->body, &ignored) == OK)
        sketch_merge(&into->latency, &one->latency);
    slot_free(one);
}

/* As the slots counted it. Parquet has two types of columns, the schema knows what is in them: 0 or 1 of a bool column is a bool,
 * the text of a JSON column is an array or an object. */
struct stat_value window_value(const struct lake_column *c, enum column_type type, size_t row)
{
    if (c->missing[row])
        return (struct stat_value){.kind = STAT_MISSING};
    if (c->text)
        return type == COLUMN_JSON ? (struct stat_value){.kind = STAT_OTHER}
                                   : (struct stat_value){.kind = STAT_TEXT, .text = c->text[row]};
    bool is_bool = type == COLUMN_BOOL && (c->num[row] == 0 || c->num[row] == 1);
    return (struct stat_value){.kind = is_bool ? STAT_BOOL : STAT_NUMBER, .num = c->num[row]};
}

static enum column_type type_of(const struct schema *s, size_t col)
{
    const struct column *c = col < s->n_features ? &s->features[col] : &s->labels[col - s->n_features];
    return c->type;
}

static rc_t count_batch(void *arg, const struct lake_batch *b, struct err *e)
{
    struct recount *rc = arg;
    (void)e; /* counting cannot fail */
    for (size_t row = 0; row < b->n_rows; row++) {
        if (!span_at((struct span *)rc->spans, rc->n, b->when_us[row]))
            continue;
        rc->into->rows++;
        rc->counted++;
        for (size_t col = 0; col < b->n_cols; col++) {
            struct stat_value v = window_value(&b->cols[col], type_of(rc->src->schema, col), row);
            slot_add(rc->into, col, &v);
        }
    }
    return OK;
}

static rc_t read_lake(struct recount *rc, const char *const *paths, size_t n, struct err *e)
{
    const struct window_source *s = rc->src;
    size_t n_columns = s->layout->n_features + s->layout->n_labels;
    const char **columns = mem_array(n_columns + 1, sizeof *columns);
    for (size_t i = 0; i < n_columns; i++)
        columns[i] = mem_dup(s->layout->names[i].p, s->layout->names[i].n);
    rc_t r = s->loader->reader ? OK : lake_reader_open(&s->loader->reader, s->loader->lake, e);
    if (!r)
        r = lake_read(s->loader->reader, paths, n, columns, n_columns, rc->spans[0].start_us,
                      rc->spans[rc->n - 1].end_us, count_batch, rc, e);
    for (size_t i = 0; i < n_columns; i++)
        mem_free((void *)(uintptr_t)columns[i]);
    mem_free(columns);
    return r;
}

static bool is_named(const struct window_event *ev, struct str path)
{
    for (size_t i = 0; i < ev->n_files; i++)
        if (str_eq(ev->files[i], path))
            return true;
    return ev->n_files == 0;
}

/* An event comes from anybody who may write to the topic: a path counts only when the manifest has it for this endpoint. One
 * that is gone for good is left out; while the lake is away nobody can tell. */
rc_t window_files(const struct window_source *s, struct arena *a, struct str **ret, size_t *n, int64_t *ret_gone_rows,
                  struct err *e)
{
    struct manifest_row *rows = NULL;
    CLEANUP(db_rows_freep) struct db_rows *held = NULL;
    size_t found = 0, kept = 0;
    int64_t gone = 0;
    rc_t rc = manifest_files(s->db, s->project_id, s->endpoint_id, s->ev->start_us, s->ev->end_us, &rows, &found, &held, e);
    if (rc)
        return rc;
    struct str *files = arena_array(a, found + 1, sizeof *files);
    for (size_t i = 0; !rc && i < found; i++) {
        struct str path = arena_str(a, rows[i].path);
        bool there = true;
        if (!is_named(s->ev, path))
            continue;
        rc = lake_has_file(s->loader->lake, path.p, &there, e);
        if (!there)
            gone += rows[i].rows;
        else
            files[kept++] = path;
    }
    mem_free(rows);
    if (rc)
        return rc;
    *ret = files;
    *n = kept;
    *ret_gone_rows = gone;
    return OK;
}

static rc_t recount(struct recount *rc, struct err *e)
{
    struct arena mem = {0};
    struct str *files = NULL;
    size_t n = 0;
    int64_t gone = 0; /* seen by what is counted */
    rc_t r = window_files(rc->src, &mem, &files, &n, &gone, e);
    if (!r && n) {
        const char **paths = arena_array(&mem, n + 1, sizeof *paths);
        for (size_t i = 0; i < n; i++)
            paths[i] = files[i].p; /* the arena terminates them */
        r = read_lake(rc, paths, n, e);
    }
    arena_done(&mem);
    return r;
}

static rc_t sum_once(const struct window_source *s, bool all, struct slot *into, int64_t *ret_missing, struct err *e)
{
    struct span *spans = mem_array(s->n_rows + 1, sizeof *spans);
    size_t n = find_spans(s, all, spans);
    int64_t foreign = 0;
    rc_t rc = OK;
    for (size_t i = 0; !rc && i < s->n_rows; i++) {
        const struct slot_row *r = &s->rows[i];
        if (span_at(spans, n, r->slot_start_us)) {
            add_totals(into, r);
            foreign += r->rows;
        } else {
            rc = slot_add_blob(into, r->body, e);
        }
    }
    struct recount again = {.src = s, .into = into, .spans = spans, .n = n};
    if (!rc && n)
        rc = recount(&again, e);
    mem_free(spans);
    if (!rc)
        *ret_missing = foreign > again.counted ? foreign - again.counted : 0;
    return rc;
}

rc_t window_sum(const struct window_source *s, struct slot *into, int64_t *ret_missing, struct err *e)
{
    rc_t rc = sum_once(s, false, into, ret_missing, e);
    if (rc != E_INVALID)
        return rc;
    /* A blob that does not fit its own version's layout: the Parquet rows are the same rows. */
    log_error("slots_unreadable", LF_I64("endpoint_id", s->endpoint_id), LF_I64("start_us", s->ev->start_us), LF_ERR(e));
    slot_clear(into);
    return sum_once(s, true, into, ret_missing, e);
}
