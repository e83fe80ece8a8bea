/* Rows that come back from the lake count as they did when they came: every class of value, in columns of every type, against every
 * kind of reference, in files of several schemas. Seeded; MM_SEED repeats a run. */
#include <ftw.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "app/values.h"
#include "base/arena.h"
#include "base/buf.h"
#include "stats/codec.h"
#include "stats/slot.h"
#include "../support/lake_events.h"

#define ROUNDS 12
#define EVENTS 300
#define VERSIONS 4
#define FILES_MAX 400
#define HOUR_US INT64_C(3600000000)

static uint64_t random_state;
static unsigned pick(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state >> 20) % n;
}

static void ok(rc_t rc, const struct err *e)
{
    if (rc)
        fail_msg("%s: %s", rc_name(rc), e->text);
}

/* ---- what varies ---- */
/* Some differ in case alone, some are a feature's and a label's, "we\"ird" has to be quoted everywhere. */
static const char *const all_names[] = {"a", "A", "age", "word", "flag", "doc", "we\"ird'", "a__2", "new"};
#define NAMES (sizeof all_names / sizeof *all_names)

static struct column *random_columns(struct arena *a, size_t *ret_n)
{
    struct column *cols = arena_array(a, NAMES, sizeof *cols);
    size_t n = 0, first = pick(NAMES);
    for (size_t i = 0; i < NAMES; i++)
        if (n == 0 || pick(4))
            cols[n++] = (struct column){arena_printf(a, "%s", all_names[(first + i) % NAMES]), (enum column_type)pick(5)};
    *ret_n = n;
    return cols;
}

static struct schema random_schema(int version)
{
    struct schema s = {.version = version, .named = true};
    s.features = random_columns(&s.mem, &s.n_features);
    s.labels = random_columns(&s.mem, &s.n_labels);
    return s;
}

static struct reference *random_reference(void)
{
    const struct stat_value words[] = {{.kind = STAT_TEXT, .text = STR("red")},
                                       {.kind = STAT_TEXT, .text = STR("True")},
                                       {.kind = STAT_TEXT, .text = STR("1")}};
    struct reference *ref = reference_new();
    struct err e;
    for (size_t i = 0; i < NAMES; i++) {
        double training[50];
        for (size_t k = 0; k < 50; k++)
            training[k] = (double)pick(1000) / 7 - 40;
        training[0] = 1; /* and 0: bools have a bin */
        training[1] = 0;
        unsigned kind = pick(3);
        if (kind == 1)
            ok(reference_add_f64(ref, str_of(all_names[i]), false, training, 50, &e), &e);
        else if (kind == 2)
            ok(reference_add_values(ref, str_of(all_names[i]), false, words, 3, &e), &e);
    }
    return ref;
}

static struct str long_text(struct arena *a)
{
    size_t n = 60 + pick(3000);
    char *p = arena_alloc(a, n);
    memset(p, 'a' + (int)pick(26), n);
    return (struct str){p, n};
}

/* f: of the reference, or NULL. */
static struct value random_value(struct arena *a, const struct feature_ref *f)
{
    static const char *const texts[] = {
        "red", "True", "False", "", "1", "NaN", "null", "{\"a\":1}", "ä \"q\" \\ \n\t\x01 漢", "blue"};
    static const char *const docs[] = {"[1,2]", "{}", "{\"k\":{\"deep\":[null,NaN,-Infinity,\"x\"]}}", "[]",
                                       "[[[[[[1]]]]]]"};
    bool is_numeric = f && f->kind == FEATURE_NUMERIC;
    switch (pick(14)) {
    case 0:
        return (struct value){0};
    case 1:
        return number(NAN);
    case 2:
        return number(pick(2) ? INFINITY : -INFINITY);
    case 3: /* exactly the maximum, and the least step beyond it */
        return number(is_numeric ? f->edges[f->n_bins] : 5);
    case 4:
        return number(is_numeric ? nextafter(f->edges[f->n_bins], pick(2) ? INFINITY : -INFINITY) : 5);
    case 5:
        return number(is_numeric ? f->edges[pick(f->n_bins + 1)] : -0.0);
    case 6:
        return number(pick(2));
    case 7:
        return number((double)(int)pick(200) - 100);
    case 8:
        return number(pick(2) ? 9007199254740993.0 : 5e-324);
    case 9:
        return boolean((int)pick(2));
    case 10:
        return (struct value){.type = VALUE_STRING, .s = long_text(a)};
    case 11:
        return json_text(docs[pick(5)]);
    default:
        return text(texts[pick(10)]);
    }
}

/* ---- the two ways ---- */
struct world {
    struct schema schemas[VERSIONS + 1]; /* [version] */
    const struct schema *in_force;
    struct slot_layout layout;
    struct slot *stream, *again;
    struct lake_config cfg;
    struct lake_writer *writer;
    struct values_file files[FILES_MAX];
    size_t n_files;
    struct arena mem; /* of paths */
};

static const struct column *column_of(const struct schema *s, size_t i)
{
    return i < s->n_features ? &s->features[i] : &s->labels[i - s->n_features];
}

/* What the stream counts of a row whose columns are s's: those of the schema in force, by side and name. */
static void count_as_the_stream(struct world *w, const struct schema *s, const struct value *in, const struct value *out)
{
    const struct schema *f = w->in_force;
    for (size_t i = 0; i < f->n_features + f->n_labels; i++) {
        struct stat_value v = {.kind = STAT_MISSING};
        bool label = i >= f->n_features;
        size_t n = label ? s->n_labels : s->n_features;
        for (size_t k = 0; k < n; k++)
            if (strcmp((label ? s->labels : s->features)[k].name, column_of(f, i)->name) == 0)
                v = value_of_event(label ? &out[k] : &in[k]);
        slot_add(w->stream, i, &v);
    }
    w->stream->rows++;
}

static void flush(struct world *w, int64_t start, int64_t end)
{
    struct lake_range range = {.part = {"monitoring_stream_s_my-proj_v1", 0, 0}, .start_offset = start, .end_offset = end};
    struct manifest_row *m = NULL;
    struct err e;
    size_t n = 0;
    ok(lake_flush(w->writer, &range, 1, &m, &n, &e), &e);
    assert_true(n && w->n_files + n <= FILES_MAX);
    for (size_t i = 0; i < n; i++)
        w->files[w->n_files++] = (struct values_file){arena_dup(&w->mem, m[i].path.p, m[i].path.n), m[i].schema_version};
    lake_forget(w->writer, NULL);
}

static void send_events(struct world *w, const struct reference *ref)
{
    const struct lake_part part = {"monitoring_stream_s_my-proj_v1", 0, 0};
    int64_t flushed = 0;
    struct err e;
    for (int64_t offset = 0; offset < EVENTS; offset++) {
        struct arena a = {0};
        const struct schema *s = &w->schemas[1 + pick(VERSIONS)];
        size_t rows = 1 + pick(3), nulled = 0;
        struct value *in = arena_array(&a, rows * s->n_features, sizeof *in);
        struct value *out = arena_array(&a, rows * s->n_labels, sizeof *out);
        for (size_t i = 0; i < rows * (s->n_features + s->n_labels); i++) {
            bool label = i >= rows * s->n_features;
            size_t k = label ? i - rows * s->n_features : i;
            const struct column *c = label ? &s->labels[k % s->n_labels] : &s->features[k % s->n_features];
            size_t at = reference_index(ref, str_of(c->name));
            (label ? out : in)[k] = pick(8) ? random_value(&a, at < ref->n ? &ref->features[at] : NULL)
                                            : (struct value){0};
        }
        struct inference_event ev = lake_event(LAKE_T0 + offset * HOUR_US / 100, "id", rows, in, s->n_features, out,
                                               s->n_labels);
        struct lake_endpoint ep = lake_endpoint(1, "2f9d6f3c7a5b4c1e8d0a1b2c3d4e5f60", s);
        ok(lake_add(w->writer, &part, offset, &ep, &ev, LAKE_T0, &nulled, &e), &e);
        for (size_t r = 0; r < rows; r++)
            count_as_the_stream(w, s, in + r * s->n_features, out + r * s->n_labels);
        arena_done(&a);
        if (pick(40) == 0 || offset == EVENTS - 1) {
            flush(w, flushed, offset + 1);
            flushed = offset + 1;
        }
    }
}

static void count_again(void *arg, int64_t when_us, const struct stat_value *values)
{
    struct world *w = arg;
    assert_true(when_us >= LAKE_T0);
    for (size_t i = 0; i < w->again->n_features + w->again->n_labels; i++)
        slot_add(w->again, i, &values[i]);
    w->again->rows++;
}

static rc_t schema_of(void *arg, int version, const struct schema **ret, struct err *e)
{
    struct world *w = arg;
    (void)e;
    *ret = &w->schemas[version];
    return OK;
}

/* ---- feature by feature ---- */
static void compare_moments(const struct moments *x, const struct moments *y)
{
    assert_int_equal(x->n, y->n);
    if (x->n == 0)
        return;
    assert_true(x->min == y->min && x->max == y->max);
    assert_true(fabs(x->mean - y->mean) <= 1e-9 * (1 + fabs(x->mean)));
    assert_true(fabs(x->m2 - y->m2) <= 1e-9 * (1 + fabs(x->m2)));
}

static void compare_texts(const struct counts_text *x, const struct counts_text *y)
{
    assert_int_equal(x != NULL, y != NULL);
    if (!x)
        return;
    assert_int_equal(x->other, y->other);
    assert_memory_equal(x->longs, y->longs, sizeof x->longs);
    assert_int_equal(x->n_texts, y->n_texts);
    for (size_t i = 0; i < x->n_texts; i++) {
        assert_int_equal(x->texts[i].n, y->texts[i].n);
        assert_int_equal(x->texts[i].n_text, y->texts[i].n_text);
        assert_memory_equal(x->texts[i].text, y->texts[i].text, x->texts[i].n_text);
    }
}

static void compare_sketches(const struct sketch *x, const struct sketch *y)
{
    CLEANUP(buf_done) struct buf a = {0}, b = {0};
    assert_int_equal(x != NULL, y != NULL);
    if (!x)
        return;
    sketch_encode(x, false, &a);
    sketch_encode(y, false, &b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
}

static uint64_t compare_counts(const struct feature_counts *x, const struct feature_counts *y)
{
    assert_int_equal(x->wrong_type, y->wrong_type);
    assert_int_equal(x->missing, y->missing);
    assert_int_equal(x->under, y->under);
    assert_int_equal(x->at_max, y->at_max);
    assert_int_equal(x->over, y->over);
    assert_int_equal(x->neg_inf, y->neg_inf);
    assert_int_equal(x->pos_inf, y->pos_inf);
    assert_int_equal(x->n_cells, y->n_cells);
    if (x->n_cells)
        assert_memory_equal(x->cells, y->cells, x->n_cells * sizeof *x->cells);
    compare_texts(x->text, y->text);
    compare_sketches(x->sketch, y->sketch);
    compare_moments(&x->moments, &y->moments);
    return x->wrong_type;
}

/* ---- all of it ---- */
static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static uint64_t run_round(const char *root)
{
    struct world w = {.cfg = {(char *)(uintptr_t)root, 64 << 20}};
    struct lake_reader *reader = NULL;
    struct err e;
    uint64_t wrong = 0;
    for (int i = 1; i <= VERSIONS; i++)
        w.schemas[i] = random_schema(i);
    struct reference *ref = random_reference();
    struct str names[2 * NAMES];
    w.in_force = &w.schemas[1 + pick(VERSIONS)];
    for (size_t i = 0; i < w.in_force->n_features + w.in_force->n_labels; i++)
        names[i] = str_of(column_of(w.in_force, i)->name);
    slot_layout_init(&w.layout, names, w.in_force->n_features, names + w.in_force->n_features, w.in_force->n_labels, ref);
    w.stream = slot_new(&w.layout);
    w.again = slot_new(&w.layout);
    ok(lake_writer_open(&w.writer, &w.cfg, &e), &e);
    send_events(&w, ref);

    const struct values_query q = {.schema = w.in_force,
                                   .n = w.layout.n_features + w.layout.n_labels,
                                   .end_us = INT64_MAX / 2,
                                   .fn = count_again,
                                   .arg = &w};
    ok(lake_reader_open(&reader, &w.cfg, &e), &e);
    ok(values_read(reader, &q, w.files, w.n_files, schema_of, &w, &e), &e);
    assert_int_equal(w.stream->rows, w.again->rows);
    for (size_t i = 0; i < w.layout.n_features + w.layout.n_labels; i++)
        wrong += compare_counts(&w.stream->columns[i], &w.again->columns[i]);

    lake_reader_free(reader);
    lake_writer_free(w.writer);
    slot_free(w.stream);
    slot_free(w.again);
    slot_layout_done(&w.layout);
    reference_free(ref);
    for (int i = 1; i <= VERSIONS; i++)
        schema_done(&w.schemas[i]);
    arena_done(&w.mem);
    return wrong;
}

static void test_what_comes_back_counts_as_it_came(void **state)
{
    const char *dir = getenv("MM_TEST_DIR"), *seed = getenv("MM_SEED");
    uint64_t wrong = 0;
    (void)state;
    if (!dir)
        fail_msg("MM_TEST_DIR is not set");
    for (uint64_t round = 0; round < ROUNDS; round++) {
        char root[300];
        random_state = (seed ? strtoull(seed, NULL, 10) : 20261124) * 1000003 + round + 1;
        (void)snprintf(root, sizeof root, "%s/recount-%d-%d", dir, (int)getpid(), (int)round);
        wrong += run_round(root);
        (void)nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
    assert_true(wrong > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_comes_back_counts_as_it_came)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
