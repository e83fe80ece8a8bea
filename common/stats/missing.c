/* How often values are missing, in training and now. */
#include "stats/missing.h"

#include <math.h>

static const struct {
    double points, deviations;
} moves = {0.05, 3}; /* of a share; of a sample as large as the window's */

static double there(const struct feature_ref *f)
{
    return f->stats->count + (double)f->stats->wrong_type;
}

double missing_rows(const struct reference *r)
{
    double rows = NAN;
    for (size_t i = 0; i < r->n; i++)
        rows = fmax(rows, there(&r->features[i]) + (double)r->features[i].stats->missing); /* passes over NaN */
    return rows;
}

struct missing_move missing_move_of(const struct feature_ref *f, double rows, const struct feature_counts *c)
{
    struct missing_move m = {NAN, NAN, false};
    double n = c ? (double)counts_total(c) : 0;
    if (!(n > 0) || !(rows > 0) || isnan(f->stats->count))
        return m;
    m.before = fmax(0, 1 - there(f) / rows);
    m.now = (double)c->missing / n;
    double p = fmin(fmax(m.before, 1 / rows), 1 - 1 / rows), by = fabs(m.now - m.before);
    m.moved = by > moves.points && by > moves.deviations * sqrt(p * (1 - p) / n);
    return m;
}

void missing_words(double before, double now, struct buf *out)
{
    buf_addf(out, "missing %.0f %% → %.0f %%", 100 * before, 100 * now);
}
