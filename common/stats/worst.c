/* The features that drift: found in a result, written into its extra data, read back, put into words. */
#include "stats/worst.h"

#include <math.h>
#include <string.h>

#include "json/doc.h"
#include "json/write.h"

#define MEMBER "\"worst\":"
#define LOST_SHOWN 8

double drift_feature_value(const struct drift_feature *f)
{
    return f->outcome == DRIFT_OK ? (f->distance[DISTANCE_TVD] + f->distance[DISTANCE_HELLINGER]) / 2 : NAN;
}

struct drift_worst drift_worst_of(const struct drift_result *r, const struct drift_options *o)
{
    struct drift_worst w = {.drift = NAN};
    for (size_t i = 0; i < r->n_features && r->status != DRIFT_IRRELEVANT; i++) {
        const struct drift_feature *f = &r->features[i];
        double d = drift_feature_value(f);
        w.lost += !f->is_label && drift_outcome_lost(f->outcome);
        if (f->is_label || isnan(d))
            continue;
        w.compared++;
        w.potential += drift_classify(d, o) == DRIFT_POTENTIAL;
        w.detected += drift_classify(d, o) == DRIFT_DETECTED;
        if (w.feature.p && !(d > w.drift))
            continue;
        w.drift = d;
        w.feature = f->name;
    }
    return w;
}

void drift_worst_json(const struct drift_worst *w, struct json_writer *to)
{
    if (w->compared == 0)
        return;
    jw_key(to, "worst");
    jw_object(to);
    jw_kv_i64(to, "compared", (int64_t)w->compared);
    jw_kv_i64(to, "potential", (int64_t)w->potential);
    jw_kv_i64(to, "detected", (int64_t)w->detected);
    if (w->lost)
        jw_kv_i64(to, "not_compared", (int64_t)w->lost);
    jw_kv_f64(to, "drift", w->drift);
    jw_kv_str(to, "feature", w->feature);
    jw_object_end(to);
}

bool drift_worst_read(const struct json *j, struct drift_worst *ret)
{
    const struct json *m = json_get(j, "worst");
    struct drift_worst w = {.drift = NAN};
    int64_t n[3], lost = 0;
    struct err ignored;
    *ret = w;
    if (m == NULL || json_need_i64(m, "compared", &n[0], &ignored) != OK ||
        json_need_i64(m, "potential", &n[1], &ignored) != OK || json_need_i64(m, "detected", &n[2], &ignored) != OK ||
        json_opt_i64(m, "not_compared", &lost, &ignored) != OK || json_need_f64(m, "drift", &w.drift, &ignored) != OK ||
        json_need_str(m, "feature", &w.feature, &ignored) != OK)
        return false;
    if (lost < 0 || n[1] < 0 || n[2] < 0 || n[0] < n[1] || n[0] - n[1] < n[2])
        return false;
    w.compared = (size_t)n[0];
    w.lost = (size_t)lost;
    w.potential = (size_t)n[1];
    w.detected = (size_t)n[2];
    *ret = w;
    return true;
}

/* Behind the member's last byte; NULL: the text ends before it. Only the closing quote of a name is not escaped. */
static const char *end_of(const char *at, const char *end)
{
    bool quoted = false;
    for (; at < end; at++) {
        if (quoted && *at == '\\')
            at++;
        else if (*at == '"')
            quoted = !quoted;
        else if (*at == '}' && !quoted)
            return at + 1;
    }
    return NULL;
}

/* Quotes in a name are escaped: none can look like the member. */
bool drift_worst_head(struct str head, struct drift_worst *ret, struct json **own)
{
    CLEANUP(buf_done) struct buf text = {0};
    struct err ignored;
    const char *at = head.n ? memmem(head.p, head.n, MEMBER, sizeof MEMBER - 1) : NULL;
    const char *end = at ? end_of(at, head.p + head.n) : NULL;
    *own = NULL;
    *ret = (struct drift_worst){.drift = NAN};
    if (end == NULL)
        return false;
    buf_addc(&text, '{');
    buf_add(&text, at, (size_t)(end - at));
    buf_addc(&text, '}');
    return json_parse(own, text.data, text.len, NULL, &ignored) == OK && drift_worst_read(*own, ret);
}

static void add_count(size_t n, const char *one, const char *many, bool first, size_t of, struct buf *out)
{
    if (n == 0)
        return;
    buf_addf(out, "%s%zu", first ? "" : ", ", n);
    if (first)
        buf_addf(out, " of %zu feature%s", of, of == 1 ? "" : "s");
    buf_addf(out, " %s", n == 1 ? one : many);
}

void drift_worst_words(const struct drift_worst *w, struct buf *out)
{
    size_t n = w->potential + w->detected, of = w->compared + w->lost;
    if (n == 0)
        return;
    add_count(w->detected, "drifts", "drift", true, of, out);
    add_count(w->potential, "drifts possibly", "drift possibly", w->detected == 0, of, out);
    buf_addf(out, ": %s%.*s %.2f", n > 1 ? "most " : "", STR_FMT(w->feature), w->drift);
}

void drift_lost_words(const struct drift_worst *w, struct buf *out)
{
    size_t of = w->compared + w->lost;
    if (w->lost)
        buf_addf(out, "%zu of %zu feature%s %s not compared", w->lost, of, of == 1 ? "" : "s", w->lost == 1 ? "is" : "are");
}

void drift_lost_name(struct str feature, struct str outcome, size_t *inout_n, struct buf *out)
{
    size_t n = (*inout_n)++;
    if (n == LOST_SHOWN)
        buf_addz(out, ", …");
    if (n >= LOST_SHOWN)
        return;
    buf_addf(out, "%s%.*s (", n ? ", " : ": ", STR_FMT(feature));
    for (size_t i = 0; i < outcome.n; i++)
        buf_addc(out, outcome.p[i] == '_' ? ' ' : outcome.p[i]);
    buf_addc(out, ')');
}
