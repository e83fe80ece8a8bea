/* MLRun's feature_stats: any JSON gives an answer; a reference that was read is written and read again to the same text,
 * padded and unpadded, and takes any number into its counts. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "json/doc.h"
#include "stats/drift.h"
#include "stats/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct reference *parse(const char *p, size_t n)
{
    struct json *j = NULL;
    struct reference *r = NULL;
    struct err e;
    if (json_parse(&j, p, n, NULL, &e))
        return NULL;
    if (reference_from_json(&r, j, NULL, 0, &e))
        r = NULL;
    json_free(j);
    return r;
}

static void check_text(const struct reference *r, bool padded)
{
    struct buf one = {0}, two = {0};
    reference_to_json(r, padded, &one);
    struct reference *back = parse(one.data, one.len);
    assert(back);
    reference_to_json(back, padded, &two);
    assert(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
    reference_free(back);
    buf_done(&one);
    buf_done(&two);
}

/* One value on every edge and beyond: each is in exactly one place, and the column way counts the same. */
static void check_counts(const struct feature_ref *f)
{
    struct feature_counts one, column;
    struct drift_feature d;
    if (f->kind != FEATURE_NUMERIC)
        return;
    counts_init(&one, f, NULL);
    counts_init(&column, f, NULL);
    for (uint32_t i = 0; i <= f->n_bins; i++)
        counts_add_f64(&one, f, f->edges[i]);
    counts_add_column(&column, f, f->edges, f->n_bins + 1);
    assert(counts_numbers(&one) == f->n_bins + 1 && one.under == 0 && one.over == 0);
    assert(memcmp(one.cells, column.cells, f->n_bins * sizeof *one.cells) == 0 && one.at_max == column.at_max);
    drift_feature(f, &one, DRIFT_EDGES_CLOSED, &d);
    drift_feature(f, &one, DRIFT_EDGES_MLRUN, &d);
    counts_done(&one);
    counts_done(&column);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reference *r = parse((const char *)data, size);
    if (r == NULL)
        return 0;
    check_text(r, true);
    check_text(r, false);
    for (size_t i = 0; i < r->n; i++)
        check_counts(&r->features[i]);
    reference_free(r);
    return 0;
}
