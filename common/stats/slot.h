/* The aggregate of one (endpoint, slot, stats_version): what the statistics pipeline appends and what readers sum.
 * A slot has columns: features first, then labels, in the order of the endpoint's schema. Owned by one thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/rc.h"
#include "base/str.h"
#include "stats/counts.h"
#include "stats/reference.h"
#include "stats/sketch.h"

#define SLOT_FORMAT 1 /* first byte of a blob. Another layout: new number, keep the old reader, add a fixture */
#define SLOT_COLUMNS_MAX (2u * REFERENCE_FEATURES_MAX)

struct slot_column {
    struct str name;
    uint32_t ref_index; /* in the reference, or SLOT_NO_REF: it does not know the column (or there is none) */
};
/* The columns of one schema version against one reference version. Read-only once made, may be shared by threads.
 * Borrows names and reference, which must outlive it. There is one of these for each endpoint. */
struct slot_layout {
    size_t n_features, n_labels, n_cells;
    const struct reference *reference; /* may be NULL */
    struct slot_column *columns;       /* n_features + n_labels */
};
#define SLOT_NO_REF UINT32_MAX
static inline const struct feature_ref *slot_ref(const struct slot_layout *l, size_t column) /* NULL: none */
{
    uint32_t i = l->columns[column].ref_index;
    return i == SLOT_NO_REF ? NULL : &l->reference->features[i];
}
void slot_layout_init(struct slot_layout *l, const struct str *features, size_t n_features, const struct str *labels,
                      size_t n_labels, const struct reference *ref);
void slot_layout_done(struct slot_layout *l); /* NULL and {0} are fine */

struct slot {
    const struct slot_layout *layout; /* borrowed; NULL in a slot that slot_decode made */
    uint64_t requests;                /* events */
    uint64_t rows;                    /* model inputs in them */
    uint64_t errors;
    double estimated;      /* predictions as MLRun estimates them from sampled events */
    struct sketch latency; /* microseconds a request */
    size_t n_features, n_labels;
    struct feature_counts *columns; /* n_features + n_labels */
    uint64_t *cells;                /* their storage */
};

struct slot *slot_new(const struct slot_layout *l);
void slot_free(struct slot *s); /* NULL is fine */
void slot_freep(struct slot **s);
size_t slot_bytes(const struct slot *s); /* of memory, as the heap has it */
void slot_clear(struct slot *s);         /* empty again, same layout, memory kept */

/* column < n_features + n_labels. Values alone: rows, requests and the rest are the caller's to add to. */
void slot_add(struct slot *s, size_t column, const struct stat_value *v);
void slot_add_f64(struct slot *s, size_t column, double x);

/* Appends one blob, format byte first; the same slot gives the same bytes. */
void slot_encode(const struct slot *s, struct buf *out);
/* Any bytes are safe. E_INVALID: not a whole, well-formed blob of a known format. */
rc_t slot_decode(struct slot **ret, struct str blob, struct err *e) MUST_CHECK;
/* Adds the latencies alone to *dst. The first SLOT_HEAD_BYTES of a blob are enough. Any bytes are safe. */
#define SLOT_HEAD_BYTES (32u << 10)
rc_t slot_add_latency(struct sketch *dst, struct str blob_or_head, struct err *e) MUST_CHECK;
/* Adds what a blob or a slot holds. E_INVALID: malformed, or of other columns, kinds or numbers of bins; s is then untouched. */
rc_t slot_add_blob(struct slot *s, struct str blob, struct err *e) MUST_CHECK;
rc_t slot_merge(struct slot *dst, const struct slot *src, struct err *e) MUST_CHECK;
