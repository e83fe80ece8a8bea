/* The audit log: a row for each change that came by a request, and the list of them. */
#include "api.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/audit.h"
#include "json/write.h"
#include "log/log.h"

#define TARGET_MAX 512 /* of a path: what it names is told, not what it can hold */
#define LIST_DEFAULT 100

static bool changes(const struct call *c)
{
    return http_scope(c->r) >= HTTP_WRITE && !http_is_read(c->r);
}

rc_t call_audit(struct call *c, struct err *e)
{
    const struct http_caller *who = http_caller(c->r);
    const char *name = who && who->name ? who->name : "";
    struct str project = {0};
    if (c->audited || !c->db || !changes(c) || c->status >= 400)
        return OK;
    (void)http_project(c->r, &project); /* none: it stays empty */
    const struct audit_row row = {
        .at_us = clock_now_us(),
        .who = str_of(name),
        .address = str_of(http_address(c->r)),
        .action = str_of(arena_printf(c->arena, "%s %s", http_route(c->r)->method, http_route(c->r)->pattern)),
        .target = str_of(http_target(c->r, TARGET_MAX)),
        .project = project,
        .status = c->status};
    rc_t rc = audit_add(c->db, &row, e);
    c->audited = rc == OK;
    return rc;
}

void call_audit_after(struct call *c)
{
    struct err e = {{0}};
    if (call_audit(c, &e) != OK) /* the change is made: the log has it, if the table has not */
        log_error("audit_lost", LF_STR("method", http_route(c->r)->method),
                  LF_STR("path", http_target(c->r, TARGET_MAX)), LF_ERR(&e));
}

static void write_row(struct json_writer *w, const struct audit_row *row)
{
    char at[TIME_TEXT];
    (void)time_rfc3339(at, row->at_us); /* its length is not needed */
    jw_object(w);
    jw_kv_i64(w, "id", row->id);
    jw_kv_strz(w, "at", at);
    jw_kv_str(w, "who", row->who);
    jw_kv_str(w, "address", row->address);
    jw_kv_str(w, "action", row->action);
    jw_kv_str(w, "target", row->target);
    jw_kv_str(w, "project", row->project);
    jw_object_end(w);
}

rc_t list_audit(struct call *c, struct err *e)
{
    struct audit_filter f = {.who = call_str(c, "who"),
                             .project = call_str(c, "project"),
                             .since_us = call_time(c, "since", 0),
                             .before = call_i64(c, "cursor", 0),
                             .limit = call_i64(c, "limit", LIST_DEFAULT) + 1}; /* one more says whether there is more */
    CLEANUP(mem_freep) struct audit_row *rows = NULL;
    CLEANUP(db_rows_freep) struct db_rows *owner = NULL;
    struct json_writer w;
    size_t n = 0;
    rc_t rc = audit_list(c->db, &f, &rows, &n, &owner, e);
    if (rc)
        return rc;
    jw_init(&w, &c->out, JSON_NAN_NULL);
    jw_object(&w);
    jw_key(&w, "audit");
    jw_array(&w);
    size_t shown = n < (size_t)f.limit ? n : n - 1;
    for (size_t i = 0; i < shown; i++)
        write_row(&w, &rows[i]);
    jw_array_end(&w);
    if (shown < n)
        jw_kv_i64(&w, "next", rows[shown - 1].id);
    jw_object_end(&w);
    return OK;
}
