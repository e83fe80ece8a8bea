/* Owns the lists of MLRun's stored objects: filters and answers. */
#include "object.h"

#include "base/clock.h"
#include "list_page.h"

/* ---- filters ---- */
static rc_t read_filter(struct call *c, const struct project *p, const struct object_kind *kind, object_more_fn *more,
                        struct document_filter *ret, struct err *e)
{
    struct document_filter f = {.project_id = p->id, .kind = kind->kind, .iter = DOCUMENT_ITER_ANY};
    f.name = call_str(c, "name");
    f.tag = call_str(c, "tag");
    if (f.name.n && *f.name.p == '~') {
        f.name_part = true;
        f.name = (struct str){f.name.p + 1, f.name.n - 1};
    }
    if (str_eqz(f.tag, "*"))
        f.tag = (struct str){0};
    f.n_labels = call_list(c, "label", &f.labels);
    if (call_choice(c, "partition-by", -1) >= 0)
        f.newest_of_each = call_i64(c, "rows-per-partition", 1);
    rc_t rc = more ? more(c, &f, e) : OK;
    if (rc == OK)
        *ret = f;
    return rc;
}

/* ---- the answer ---- */
static void write_list(struct call *c, const struct project *p, const struct object_kind *kind,
                       const struct document *d, size_t n, const struct list_page *page)
{
    struct json_writer w;
    jw_init(&w, &c->out, JSON_NAN_TOKEN);
    jw_object(&w);
    jw_key(&w, kind->list);
    jw_array(&w);
    for (size_t i = 0; i < list_page_shown(page, n); i++) {
        CLEANUP(json_freep) struct json *j = object_show(p, kind, &d[i]);
        json_write(j, &w);
    }
    jw_array_end(&w);
    list_page_write(&w, page, n);
    jw_object_end(&w);
}

static rc_t list(struct call *c, const struct project *p, const struct object_kind *kind, object_more_fn *more,
                 const struct list_page *page, struct err *e)
{
    struct document_filter f = {0};
    struct document *d = NULL;
    size_t n = 0;
    rc_t rc = read_filter(c, p, kind, more, &f, e);
    if (rc != OK)
        return rc;
    f.limit = page->limit;
    f.offset = page->offset;
    rc = documents_list(c->db, &f, &d, &n, e);
    if (rc == OK)
        write_list(c, p, kind, d, n, page);
    documents_free(d, n);
    return rc;
}

rc_t object_list(struct call *c, const struct object_kind *kind, object_more_fn *more, struct err *e)
{
    struct project p = {0};
    struct list_page page;
    rc_t rc = list_page_open(c, &page, e);
    if (rc == OK)
        rc = call_project(c, &p, e);
    if (rc == OK)
        rc = list(c, &p, kind, more, &page, e);
    list_page_close(c);
    project_done(&p);
    return rc;
}

int64_t object_days_ago(struct call *c, int64_t def_us)
{
    int64_t days = call_i64(c, "days_ago", 0);
    return days ? clock_now_us() - days * API_DAY_US : def_us;
}

rc_t object_delete(struct call *c, const struct document_filter *f, struct err *e)
{
    int64_t n = 0;
    rc_t rc = documents_delete(c->db, f, &n, e);
    if (rc == OK)
        c->status = 204;
    return rc;
}

rc_t object_delete_list(struct call *c, const struct object_kind *kind, object_more_fn *more, struct err *e)
{
    struct project p = {0};
    struct document_filter f = {0};
    rc_t rc = call_project(c, &p, e);
    if (rc == OK)
        rc = read_filter(c, &p, kind, more, &f, e);
    if (rc == OK)
        rc = object_delete(c, &f, e);
    project_done(&p);
    return rc;
}
