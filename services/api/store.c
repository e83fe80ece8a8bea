/* Owns the SQL of the api: reads over many endpoints, and the newest of something. Writes are in common/db. */
#include "store.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "event/names.h"
#include "json/doc.h"
#include "stats/slot.h"
#include "stats/worst.h"

#define GLANCE_SUMS                                                                                                    \
    " LEFT JOIN (SELECT endpoint_id, CAST(sum(errors) AS bigint) AS errors, CAST(sum(requests) AS bigint) AS "         \
    "requests,"                                                                                                        \
    "            CAST(sum(rows) AS bigint) AS rows FROM slots"                                                         \
    "            WHERE project_id = $1 AND slot_start_us >= $3 AND endpoint_id BETWEEN $2 AND CAST($5 AS bigint) "     \
    "GROUP BY "                                                                                                        \
    "endpoint_id) s"                                                                                                   \
    "        ON s.endpoint_id = e.id"                                                                                  \
    " LEFT JOIN (SELECT endpoint_id, CAST(max(status) AS bigint) AS worst FROM results"                                \
    "            WHERE project_id = $1 AND window_end_us >= $3 AND endpoint_id BETWEEN $2 AND CAST($5 AS bigint) "     \
    "GROUP BY "                                                                                                        \
    "endpoint_id) w"                                                                                                   \
    "        ON w.endpoint_id = e.id"
#define GLANCE_NEWEST                                                                                                  \
    " FROM results r WHERE r.project_id = $1 AND r.endpoint_id = e.id AND r.metric_id IN ("                            \
    "   SELECT m.id FROM metrics m JOIN apps a ON a.id = m.app_id"                                                     \
    "   WHERE m.project_id = $1 AND m.type = 0 AND m.name = 'general_drift' AND a.name = $4)"                          \
    " ORDER BY r.window_end_us DESC LIMIT 1"
/* The app writes the reason first, then which features drift. Quotes inside of names are escaped, so that no name can look like an outcome. */
#define GLANCE_WHY "substr(r.extra, 1, 1024)"
#define GLANCE_WRONG "CAST(CASE WHEN r.extra LIKE '%\"outcome\":\"wrong_type\"%' THEN 1 ELSE 0 END AS bigint)"
#define GLANCE_END " WHERE e.project_id = $1 AND e.id BETWEEN $2 AND CAST($5 AS bigint) ORDER BY e.id"

static const char glance_lateral[] =
    "SELECT e.id, s.errors, s.requests, s.rows, w.worst, d.value, d.status, d.window_end_us, d.why, d.wrong"
    " FROM endpoints e" GLANCE_SUMS
    " LEFT JOIN LATERAL (SELECT r.value, CAST(r.status AS bigint) AS status, r.window_end_us,"
    " " GLANCE_WHY " AS why, " GLANCE_WRONG " AS wrong" GLANCE_NEWEST ") d ON true" GLANCE_END;
static const char glance_each[] = "SELECT e.id, s.errors, s.requests, s.rows, w.worst, (SELECT r.value" GLANCE_NEWEST
                                  "), (SELECT r.status" GLANCE_NEWEST "), (SELECT r.window_end_us" GLANCE_NEWEST
                                  "), (SELECT " GLANCE_WHY GLANCE_NEWEST "), (SELECT " GLANCE_WRONG GLANCE_NEWEST
                                  ") FROM endpoints e" GLANCE_SUMS GLANCE_END;

static bool starts_with(struct str s, const char *head)
{
    size_t n = strlen(head);
    return s.n >= n && memcmp(s.p, head, n) == 0;
}

static void read_features(struct str head, struct glance *g)
{
    CLEANUP(json_freep) struct json *own = NULL;
    CLEANUP(buf_done) struct buf words = {0};
    struct drift_worst w;
    g->worst_feature = NAN;
    if (!drift_worst_head(head, &w, &own))
        return;
    g->worst_feature = w.drift;
    g->lost = w.lost;
    drift_worst_words(&w, &words);
    if (words.len == 0)
        drift_lost_words(&w, &words);
    (void)snprintf(g->features, sizeof g->features, "%s", words.len ? words.data : ""); /* cut: it is a hint */
}

rc_t store_glances(struct db *db, int32_t project_id, struct id_range of, int64_t since_us, struct glance **ret,
                   size_t *n, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    const struct db_value params[] = {DBV_I64(project_id), DBV_I64(of.first), DBV_I64(since_us),
                                      DBV_TEXTZ(function_name(FUNCTION_HISTOGRAM)), DBV_I64(of.last)};
    rc_t rc = db_exec(db, db_has_lateral(db) ? glance_lateral : glance_each, params, 5, &rows, e);
    if (rc != OK)
        return rc;
    size_t count = db_rows_n(rows);
    struct glance *g = mem_array(count + 1, sizeof *g);
    for (size_t i = 0; i < count; i++) {
        g[i] = (struct glance){.endpoint_id = db_i64(rows, i, 0),
                               .errors = db_i64(rows, i, 1),
                               .requests = db_i64(rows, i, 2),
                               .rows = db_i64(rows, i, 3),
                               .worst_status = db_null(rows, i, 4) ? -1 : (int)db_i64(rows, i, 4),
                               .drift = db_null(rows, i, 5) ? NAN : db_f64(rows, i, 5),
                               .drift_status = db_null(rows, i, 6) ? -1 : (int)db_i64(rows, i, 6),
                               .drift_end_us = db_i64(rows, i, 7),
                               .too_few = starts_with(db_text(rows, i, 8), "{\"reason\":\"insufficient_samples\""),
                               .wrong_type = db_i64(rows, i, 9) != 0};
        read_features(db_text(rows, i, 8), &g[i]);
    }
    *ret = g;
    *n = count;
    return OK;
}

#define REFUSED_LOOKED_AT 500

static bool holds_uid(struct str payload, const char *uid)
{
    char quoted[80];
    int n = snprintf(quoted, sizeof quoted, "\"%s\"", uid);
    return n > 0 && (size_t)n < sizeof quoted && payload.n && memmem(payload.p, payload.n, quoted, (size_t)n) != NULL;
}

static bool same_record(const struct db_rows *r, size_t a, size_t b)
{
    return db_i64(r, a, 8) == db_i64(r, b, 8) && db_i64(r, a, 7) == db_i64(r, b, 7) &&
           str_eq(db_text(r, a, 6), db_text(r, b, 6));
}

/* A record that two pipelines refuse is one. Which endpoint it was for says the record, if at all: its head is looked at. */
rc_t store_refused(struct db *db, int32_t project_id, const struct endpoint *ep, int64_t since_us, struct arena *a,
                   struct refused *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *count = NULL;
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    const struct db_value params[] = {DBV_I64(project_id), DBV_I64(since_us), DBV_I64(ep ? REFUSED_LOOKED_AT : 1)};
    rc_t rc = OK;
    *ret = (struct refused){0};
    if (!ep)
        rc = db_exec(db,
                     "SELECT count(*) FROM (SELECT DISTINCT topic, partition, \"offset\" FROM dead_letters"
                     " WHERE project_id = $1 AND at_us >= $2) x",
                     params, 2, &count, e);
    if (rc == OK && !ep)
        ret->n = db_i64(count, 0, 0);
    if (rc == OK)
        rc = db_exec(
            db,
            "SELECT at_us, reason, field, error, endpoint_id, substr(payload, 1, 4096), topic, partition, \"offset\""
            " FROM dead_letters WHERE project_id = $1 AND at_us >= $2 ORDER BY at_us DESC, \"offset\" DESC LIMIT $3",
            params, 3, &rows, e);
    for (size_t i = 0; rc == OK && i < db_rows_n(rows); i++) {
        if (ep && db_i64(rows, i, 4) != ep->id && !holds_uid(db_text(rows, i, 5), ep->uid))
            continue;
        if (ep && !(i > 0 && same_record(rows, i, i - 1)))
            ret->n++;
        if (ret->at_us)
            continue;
        ret->at_us = db_i64(rows, i, 0);
        ret->reason = arena_str(a, db_text(rows, i, 1));
        ret->field = arena_str(a, db_text(rows, i, 2));
        ret->words = arena_str(a, db_text(rows, i, 3));
    }
    return rc;
}

const struct glance *glance_find(const struct glance *g, size_t n, int64_t endpoint_id)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (g[mid].endpoint_id < endpoint_id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n && g[lo].endpoint_id == endpoint_id ? &g[lo] : NULL;
}

rc_t store_latency(struct db *db, int32_t project_id, int64_t endpoint_id, int64_t since_us, double *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    const struct db_value params[] = {DBV_I64(project_id), DBV_I64(endpoint_id), DBV_I64(since_us),
                                      DBV_I64(SLOT_HEAD_BYTES)};
    struct sketch all = {0};
    rc_t rc = db_exec(db,
                      "SELECT substr(body, 1, CAST($4 AS integer)) FROM slots"
                      " WHERE project_id = $1 AND endpoint_id = $2 AND slot_start_us >= $3",
                      params, 4, &rows, e);
    for (size_t i = 0; rc == OK && i < db_rows_n(rows); i++)
        if (slot_add_latency(&all, db_text(rows, i, 0), e) != OK)
            rc = err_prefix(e, E_FATAL, "a statistics row of endpoint %lld: ", (long long)endpoint_id);
    if (rc == OK)
        *ret = all.count ? all.sum / (double)all.count : NAN;
    sketch_done(&all);
    return rc;
}

rc_t store_schemas(struct db *db, int32_t project_id, struct id_range of, struct schema_text **ret, size_t *n,
                   struct db_rows **ret_rows, struct err *e)
{
    struct db_rows *rows = NULL;
    const struct db_value params[] = {DBV_I64(project_id), DBV_I64(of.first), DBV_I64(of.last)};
    rc_t rc = db_exec(db,
                      "SELECT e.id, s.document, s.named, e.first_request_us, e.last_request_us"
                      " FROM endpoints e LEFT JOIN endpoint_schemas s"
                      " ON s.project_id = e.project_id AND s.endpoint_id = e.id AND s.version = e.schema_version"
                      " WHERE e.project_id = $1 AND e.id BETWEEN $2 AND $3 ORDER BY e.id",
                      params, 3, &rows, e);
    if (rc != OK)
        return rc;
    size_t count = db_rows_n(rows);
    struct schema_text *s = mem_array(count + 1, sizeof *s);
    for (size_t i = 0; i < count; i++)
        s[i] = (struct schema_text){db_i64(rows, i, 0), db_text(rows, i, 1), db_bool(rows, i, 2), db_i64(rows, i, 3),
                                    db_i64(rows, i, 4)};
    *ret = s;
    *n = count;
    *ret_rows = rows;
    return OK;
}

rc_t store_drift(struct db *db, int32_t project_id, int64_t endpoint_id, const char *app, const char *name,
                 int64_t limit, struct drift_point **ret, size_t *n, struct db_rows **ret_rows, struct err *e)
{
    struct db_rows *rows = NULL;
    const struct db_value params[] = {DBV_I64(project_id), DBV_I64(endpoint_id), DBV_TEXTZ(app), DBV_TEXTZ(name),
                                      DBV_I64(limit)};
    rc_t rc = db_exec(
        db,
        "SELECT window_start_us, window_end_us, written_us, value, CAST(status AS bigint), revision, extra"
        " FROM results WHERE project_id = $1 AND endpoint_id = $2 AND metric_id IN ("
        "  SELECT m.id FROM metrics m JOIN apps a ON a.id = m.app_id"
        "  WHERE m.project_id = $1 AND m.type = 0 AND a.name = $3 AND m.name = $4)"
        " ORDER BY window_end_us DESC LIMIT $5",
        params, 5, &rows, e);
    if (rc != OK)
        return rc;
    size_t count = db_rows_n(rows);
    struct drift_point *p = mem_array(count + 1, sizeof *p);
    for (size_t i = 0; i < count; i++) {
        size_t at = count - 1 - i;
        p[at] = (struct drift_point){.start_us = db_i64(rows, i, 0),
                                     .end_us = db_i64(rows, i, 1),
                                     .written_us = db_i64(rows, i, 2),
                                     .value = db_null(rows, i, 3) ? NAN : db_f64(rows, i, 3),
                                     .status = db_null(rows, i, 4) ? -1 : (int)db_i64(rows, i, 4),
                                     .revision = (int)db_i64(rows, i, 5),
                                     .extra = db_text(rows, i, 6)};
    }
    *ret = p;
    *n = count;
    *ret_rows = rows;
    return OK;
}

rc_t store_endpoint_count(struct db *db, int32_t project_id, int64_t *ret, struct err *e)
{
    CLEANUP(db_rows_freep) struct db_rows *rows = NULL;
    const struct db_value params[] = {DBV_I64(project_id)};
    rc_t rc = db_exec(db, "SELECT count(*) FROM endpoints WHERE project_id = $1", params, 1, &rows, e);
    if (rc == OK)
        *ret = db_i64(rows, 0, 0);
    return rc;
}
