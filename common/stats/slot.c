/* Owns the slot: its layout, its memory, its blob.
 *
 * Blob: format, requests, rows, errors, estimated, latency sketch with range, number of features, of labels, then the columns. */
#include "stats/slot.h"

#include <math.h>

#include "base/mem.h"
#include "stats/codec.h"

static void bind(struct slot_layout *l, size_t at, struct str name)
{
    struct slot_column *c = &l->columns[at];
    size_t i = l->reference ? reference_index(l->reference, name) : 0;
    *c = (struct slot_column){name, l->reference && i < l->reference->n ? (uint32_t)i : SLOT_NO_REF};
    l->n_cells += counts_cells(slot_ref(l, at));
}

void slot_layout_init(struct slot_layout *l, const struct str *features, size_t n_features, const struct str *labels,
                      size_t n_labels, const struct reference *ref)
{
    *l = (struct slot_layout){.n_features = n_features, .n_labels = n_labels, .reference = ref};
    l->columns = mem_array(n_features + n_labels + 1, sizeof *l->columns);
    for (size_t i = 0; i < n_features; i++)
        bind(l, i, features[i]);
    for (size_t i = 0; i < n_labels; i++)
        bind(l, n_features + i, labels[i]);
}

void slot_layout_done(struct slot_layout *l)
{
    if (l == NULL)
        return;
    mem_free(l->columns);
    *l = (struct slot_layout){0};
}

static size_t n_columns(const struct slot *s)
{
    return s->n_features + s->n_labels;
}

struct slot *slot_new(const struct slot_layout *l)
{
    struct slot *s = mem_alloc(sizeof *s);
    s->layout = l;
    s->n_features = l->n_features;
    s->n_labels = l->n_labels;
    size_t n = n_columns(s);
    s->columns = n ? mem_array(n, sizeof *s->columns) : NULL;
    s->cells = l->n_cells ? mem_array(l->n_cells, sizeof *s->cells) : NULL;
    uint64_t *at = s->cells;
    for (size_t i = 0; i < n; i++) {
        counts_init(&s->columns[i], slot_ref(l, i), at);
        at = at ? at + s->columns[i].n_cells : NULL;
    }
    return s;
}

void slot_free(struct slot *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; s->columns && i < n_columns(s); i++)
        counts_done(&s->columns[i]);
    mem_free(s->columns);
    mem_free(s->cells);
    sketch_done(&s->latency);
    mem_free(s);
}

void slot_freep(struct slot **s)
{
    slot_free(*s);
    *s = NULL;
}

size_t slot_bytes(const struct slot *s)
{
    size_t n = sizeof *s + n_columns(s) * sizeof *s->columns + sketch_bytes(&s->latency) + 3 * MEM_OVERHEAD;
    for (size_t i = 0; i < n_columns(s); i++)
        n += counts_bytes(&s->columns[i]);
    return n;
}

void slot_clear(struct slot *s)
{
    s->requests = s->rows = s->errors = 0;
    s->estimated = 0;
    sketch_clear(&s->latency);
    for (size_t i = 0; i < n_columns(s); i++)
        counts_clear(&s->columns[i]);
}

static const struct feature_ref *ref_of(const struct slot *s, size_t column)
{
    return s->layout ? slot_ref(s->layout, column) : NULL;
}

void slot_add(struct slot *s, size_t column, const struct stat_value *v)
{
    counts_add_value(&s->columns[column], ref_of(s, column), v);
}

void slot_add_f64(struct slot *s, size_t column, double x)
{
    counts_add_f64(&s->columns[column], ref_of(s, column), x);
}

void slot_encode(const struct slot *s, struct buf *out)
{
    buf_addc(out, SLOT_FORMAT);
    put_uint(out, s->requests);
    put_uint(out, s->rows);
    put_uint(out, s->errors);
    put_f64(out, s->estimated);
    sketch_encode(&s->latency, true, out);
    put_uint(out, s->n_features);
    put_uint(out, s->n_labels);
    for (size_t i = 0; i < n_columns(s); i++)
        counts_encode(&s->columns[i], out);
}

struct head {
    uint64_t requests, rows, errors, n_features, n_labels;
    double estimated;
};

static bool read_sums(struct codec_in *in, struct sketch *latency, struct head *ret)
{
    uint64_t n;
    if (get_byte(in) != SLOT_FORMAT)
        return false;
    ret->requests = get_uint_max(in, CODEC_COUNT_MAX);
    ret->rows = get_uint_max(in, CODEC_COUNT_MAX);
    ret->errors = get_uint_max(in, CODEC_COUNT_MAX);
    ret->estimated = get_f64(in);
    return !in->bad && isfinite(ret->estimated) && ret->estimated >= 0 && sketch_decode(latency, in, true, &n);
}

static bool read_head(struct codec_in *in, struct sketch *latency, struct head *ret)
{
    if (!read_sums(in, latency, ret))
        return false;
    ret->n_features = get_uint_max(in, SLOT_COLUMNS_MAX);
    ret->n_labels = get_uint_max(in, SLOT_COLUMNS_MAX);
    /* a column has at least its head: no blob can ask for more memory than it pays for */
    return !in->bad && ret->n_features + ret->n_labels <= (uint64_t)(in->end - in->p);
}

static struct codec_in reader_of(struct str blob)
{
    const unsigned char *p = (const unsigned char *)blob.p;
    return (struct codec_in){p, p ? p + blob.n : p, blob.n == 0};
}

static void add_head(struct slot *s, const struct head *h)
{
    s->requests += h->requests;
    s->rows += h->rows;
    s->errors += h->errors;
    s->estimated += h->estimated;
}

static rc_t malformed(struct err *e)
{
    return err_set(e, E_INVALID, "a slot that is cut, malformed or of an unknown format");
}

rc_t slot_decode(struct slot **ret, struct str blob, struct err *e)
{
    struct codec_in in = reader_of(blob);
    struct slot *s = mem_alloc(sizeof *s);
    struct head h;
    if (!read_head(&in, &s->latency, &h)) {
        slot_free(s);
        return malformed(e);
    }
    add_head(s, &h);
    s->n_features = (size_t)h.n_features;
    s->n_labels = (size_t)h.n_labels;
    size_t n = n_columns(s);
    s->columns = n ? mem_array(n, sizeof *s->columns) : NULL;
    for (size_t i = 0; i < n && !in.bad; i++)
        if (!counts_decode(&s->columns[i], &in, DECODE_NEW))
            in.bad = true;
    if (in.bad || in.p != in.end) {
        slot_free(s);
        return malformed(e);
    }
    *ret = s;
    return OK;
}

rc_t slot_add_latency(struct sketch *dst, struct str blob_or_head, struct err *e)
{
    struct codec_in check = reader_of(blob_or_head), in = check;
    struct head h;
    if (!read_sums(&check, NULL, &h))
        return malformed(e);
    return read_sums(&in, dst, &h) ? OK : err_set(e, E_FATAL, "a slot that passed its check cannot be read");
}

rc_t slot_add_blob(struct slot *s, struct str blob, struct err *e)
{
    struct codec_in in = reader_of(blob);
    struct head h;
    if (!read_head(&in, NULL, &h))
        return malformed(e);
    if (h.n_features != s->n_features || h.n_labels != s->n_labels)
        return err_set(e, E_INVALID, "a slot of %llu features and %llu labels does not go with %zu and %zu",
                       (unsigned long long)h.n_features, (unsigned long long)h.n_labels, s->n_features, s->n_labels);
    for (size_t i = 0; i < n_columns(s); i++)
        if (!counts_decode(&s->columns[i], &in, DECODE_CHECK))
            return err_set(e, E_INVALID, "column %zu of a slot is malformed or of another kind or size", i);
    if (in.bad || in.p != in.end)
        return malformed(e);

    in = reader_of(blob);
    bool ok = read_head(&in, &s->latency, &h);
    add_head(s, &h);
    for (size_t i = 0; ok && i < n_columns(s); i++)
        ok = counts_decode(&s->columns[i], &in, DECODE_ADD);
    return ok ? OK : err_set(e, E_FATAL, "a slot that passed its check cannot be read");
}

rc_t slot_merge(struct slot *dst, const struct slot *src, struct err *e)
{
    if (dst->n_features != src->n_features || dst->n_labels != src->n_labels)
        return err_set(e, E_INVALID, "a slot of %zu features and %zu labels does not go with %zu and %zu",
                       src->n_features, src->n_labels, dst->n_features, dst->n_labels);
    for (size_t i = 0; i < n_columns(dst); i++)
        if (dst->columns[i].kind != src->columns[i].kind || dst->columns[i].n_cells != src->columns[i].n_cells)
            return err_set(e, E_INVALID, "column %zu of two slots is of another kind or size", i);
    add_head(dst, &(struct head){
                      .requests = src->requests, .rows = src->rows, .errors = src->errors, .estimated = src->estimated});
    sketch_merge(&dst->latency, &src->latency);
    rc_t rc = OK; /* stays so: kinds and sizes were just compared */
    for (size_t i = 0; rc == OK && i < n_columns(dst); i++)
        rc = counts_merge(&dst->columns[i], &src->columns[i], e);
    return rc;
}
