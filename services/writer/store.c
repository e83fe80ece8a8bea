/* The batch as rows: one upsert for results and metrics, one for statistics; then a notice to readers. */
#include <limits.h>
#include "base/clock.h"
#include "base/crash.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/result.h"
#include "json/write.h"
#include "writer.h"

#define NOTICE_ENDPOINTS_MAX 200u

/* ---- days ---- */
rc_t store_days(const struct batch *b, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    int64_t *days = mem_array(b->n + 1, sizeof *days);
    size_t n_days = 0;
    for (size_t i = 0; i < b->n; i++) {
        const struct batch_item *it = &b->items[i];
        int64_t day = time_floor(it->ev.end_us, USEC_PER_DAY);
        if (it->dead || !pipeline_has(parts, n, it->part) || (n_days && days[n_days - 1] == day))
            continue;
        days[n_days++] = day;
    }
    rc_t rc = n_days ? db_days_ensure(db, days, n_days, e) : OK;
    mem_free(days);
    return rc;
}

/* ---- rows ---- */
/* The good items of one sort, in the order of their coming. Which of several revisions of a key is kept is the table's business. */
static size_t select_items(const struct batch *b, struct pipeline_part *const *parts, size_t n, bool stats,
                           const struct batch_item **ret)
{
    size_t n_all = 0;
    for (size_t i = 0; i < b->n; i++) {
        const struct batch_item *it = &b->items[i];
        if (!it->dead && (it->ev.event_kind == RESULT_STATS) == stats && pipeline_has(parts, n, it->part))
            ret[n_all++] = it;
    }
    return n_all;
}

static struct result_row result_of(const struct batch_item *it)
{
    const struct result_event *ev = &it->ev;
    bool is_result = ev->event_kind == RESULT_RESULT;
    return (struct result_row){
        .project_id = it->part->project_id,
        .metric_id = it->metric_id,
        .endpoint_id = it->endpoint_id,
        .start_us = ev->start_us,
        .end_us = ev->end_us,
        .revision = (int)ev->revision,
        .value = ev->value,
        .status = is_result ? (int)ev->status : INT_MIN,
        .extra = is_result ? ev->extra_data : (struct str){"", 0},
        .traceparent = it->traceparent,
    };
}

static rc_t write_results(const struct batch_item *const *k, size_t n, struct db *db, struct err *e)
{
    struct result_row *rows = mem_array(n + 1, sizeof *rows);
    int64_t changed = 0;
    for (size_t i = 0; i < n; i++)
        rows[i] = result_of(k[i]);
    rc_t rc = n ? results_upsert(db, rows, n, clock_now_us(), &changed, e) : OK;
    if (!rc)
        metric_add(metrics_at(&writer_metrics, M_CHANGED, 0, 0), changed);
    mem_free(rows);
    return rc;
}

static rc_t write_statistics(const struct batch_item *const *k, size_t n, struct db *db, struct err *e)
{
    struct app_statistic_row *rows = mem_array(n + 1, sizeof *rows);
    for (size_t i = 0; i < n; i++) {
        const struct batch_item *it = k[i];
        rows[i] = (struct app_statistic_row){
            .project_id = it->part->project_id,
            .app_id = it->app_id,
            .endpoint_id = it->endpoint_id,
            .start_us = it->ev.start_us,
            .end_us = it->ev.end_us,
            .timestamp_us = it->ev.timestamp_us,
            .revision = (int)it->ev.revision,
            .name = it->ev.name,
            .body = it->ev.stats,
        };
    }
    rc_t rc = n ? app_statistics_upsert(db, rows, n, clock_now_us(), e) : OK;
    mem_free(rows);
    return rc;
}

rc_t store_write(const struct batch *b, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    const struct batch_item **k = mem_array(b->n + 1, sizeof *k);
    rc_t rc = write_results(k, select_items(b, parts, n, false, k), db, e);
    if (!rc)
        rc = write_statistics(k, select_items(b, parts, n, true, k), db, e);
    CRASH_POINT(results_write);
    mem_free((void *)k);
    return rc;
}

/* ---- notice ---- */
void store_publish(const struct batch *b, const struct pipeline_part *part)
{
    const struct function_project *p = part ? function_topics_project(b->topics, part->project_id) : NULL;
    struct map seen = {0};
    struct str last = {0};
    if (!p)
        return;
    for (size_t i = 0; i < b->n; i++) {
        const struct batch_item *it = &b->items[i];
        if (it->part != part || it->dead || str_eq(it->ev.endpoint_id, last))
            continue;
        last = it->ev.endpoint_id;
        map_put(&seen, last, (void *)(uintptr_t)it);
    }
    struct buf text = {0};
    struct json_writer w;
    jw_init(&w, &text, JSON_NAN_NULL);
    jw_object(&w);
    jw_kv_strz(&w, "project", p->name);
    jw_key(&w, "endpoints"); /* null: too many to name, look at all */
    if (seen.len > NOTICE_ENDPOINTS_MAX) {
        jw_null(&w);
    } else {
        jw_array(&w);
        for (struct map_iter it = {0}; map_next(&seen, &it);)
            jw_str(&w, it.key);
        jw_array_end(&w);
    }
    jw_object_end(&w);
    if (seen.len)
        cache_publish(b->cache, RESULTS_CHANNEL, buf_str(&text));
    CRASH_POINT(results_publish);
    buf_done(&text);
    map_done(&seen);
}
