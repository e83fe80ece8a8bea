/* Owns the summaries of projects: what MLRun's UI shows of each in numbers. Schedules and pipelines are none of ours: 0. */
#include "base/clock.h"
#include "base/time.h"
#include "db/alert.h"
#include "event/alert.h"
#include "api.h"
#include "store.h"

#define INFRA_FUNCTIONS 3 /* stream, controller, writer; of a project that is off the stream alone */

static void write_counts(struct json_writer *w, const struct project *p, const struct project_counts *n)
{
    int64_t functions = n->apps + (p->monitoring ? INFRA_FUNCTIONS : 1);
    const struct {
        const char *key;
        int64_t value;
    } fields[] = {{"files_count", n->files},
                  {"feature_sets_count", n->feature_sets},
                  {"models_count", n->models},
                  {"datasets_count", n->datasets},
                  {"documents_count", n->documents},
                  {"llm_prompts_count", n->prompts},
                  {"runs_completed_recent_count", n->runs_completed},
                  {"runs_failed_recent_count", n->runs_failed},
                  {"runs_running_count", n->runs_running},
                  {"distinct_schedules_count", 0},
                  {"distinct_scheduled_jobs_pending_count", 0},
                  {"distinct_scheduled_pipelines_pending_count", 0},
                  {"pipelines_completed_recent_count", 0},
                  {"pipelines_failed_recent_count", 0},
                  {"pipelines_running_count", 0},
                  {"running_model_monitoring_functions", functions > n->stopped ? functions - n->stopped : 0},
                  {"failed_model_monitoring_functions", n->stopped},
                  {"real_time_model_endpoint_count", n->real_time},
                  {"batch_model_endpoint_count", n->batch}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        jw_kv_i64(w, fields[i].key, fields[i].value);
}

static rc_t write_alerts(struct call *c, struct json_writer *w, const struct project *p, struct err *e)
{
    static const char *const keys[] = {
        [ENTITY_RESULT] = "endpoint_alerts_count", [ENTITY_APP] = "application_alerts_count", [ENTITY_INFRA] = "infra_alerts_count", [ENTITY_JOB] = "job_alerts_count"};
    rc_t rc = OK;
    for (int k = 0; rc == OK && k < ENTITY_KINDS; k++) {
        int64_t n = 0;
        rc = activations_open(c->db, p->id, entity_kind_name((enum entity_kind)k), &n, e);
        jw_kv_i64(w, keys[k], n);
    }
    return rc;
}

static rc_t write_summary(struct call *c, struct json_writer *w, const struct project *p, struct err *e)
{
    struct project_counts n;
    char text[TIME_TEXT];
    int64_t now = clock_now_us();
    rc_t rc = store_project_counts(c->db, p->id, now - API_DAY_US, &n, e);
    if (rc != OK)
        return rc;
    (void)time_iso_offset(text, now);
    jw_object(w);
    jw_kv_strz(w, "name", p->name);
    jw_kv_strz(w, "updated", text);
    write_counts(w, p, &n);
    rc = write_alerts(c, w, p, e);
    jw_object_end(w);
    return rc;
}

rc_t get_project_summary(struct call *c, struct err *e)
{
    struct project p = {0};
    struct json_writer w;
    rc_t rc = call_project(c, &p, e);
    if (rc == OK) {
        jw_init(&w, &c->out, JSON_NAN_NULL);
        rc = write_summary(c, &w, &p, e);
    }
    project_done(&p);
    return rc;
}

rc_t list_project_summaries(struct call *c, struct err *e)
{
    struct project *p = NULL;
    struct json_writer w;
    struct str name = call_str(c, "name");
    size_t n = 0;
    rc_t rc = projects_list(c->db, &p, &n, e);
    jw_init(&w, &c->out, JSON_NAN_NULL);
    jw_object(&w);
    jw_key(&w, "project_summaries");
    jw_array(&w);
    for (size_t i = 0; rc == OK && i < n; i++)
        if (http_may(c->r, str_of(p[i].name)) && (name.n == 0 || str_eqz(name, p[i].name)))
            rc = write_summary(c, &w, &p[i], e);
    jw_array_end(&w);
    jw_object_end(&w);
    projects_free(p, n);
    return rc;
}
