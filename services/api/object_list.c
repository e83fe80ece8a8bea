/* Owns the lists of MLRun's stored objects: filters, pages and the tokens of pages. A token is the query it continues, so
 * that nothing is kept between two requests and any api process answers the next one. */
#include "object.h"

#include <stdio.h>
#include <string.h>
#include "base/clock.h"

#define PAGE_SIZE_MAX 1000
#define TOKEN_PAIRS_MAX 200

struct page {
    int64_t number, size; /* number 0: no pages were asked for */
};

/* ---- page tokens: name NUL value NUL …, each byte as two hex digits ---- */
static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static rc_t bad_token(struct err *e)
{
    return err_set(e, E_INVALID, "page-token: one is wanted that an answer had");
}

static rc_t unhex(struct call *c, struct str token, struct str *ret, struct err *e)
{
    char *text = arena_alloc(c->arena, token.n / 2 + 1);
    for (size_t i = 0; i + 1 < token.n; i += 2) {
        int high = digit(token.p[i]), low = digit(token.p[i + 1]);
        if (high < 0 || low < 0)
            return bad_token(e);
        text[i / 2] = (char)(high * 16 + low);
    }
    *ret = (struct str){text, token.n / 2};
    return token.n % 2 ? bad_token(e) : OK;
}

static void query_init(struct call *c, struct call_query *q)
{
    q->names = arena_array(c->arena, TOKEN_PAIRS_MAX, sizeof *q->names);
    q->values = arena_array(c->arena, TOKEN_PAIRS_MAX, sizeof *q->values);
    q->n = 0;
}

static bool next_text(struct str *rest, struct str *ret)
{
    const char *end = rest->n ? memchr(rest->p, '\0', rest->n) : NULL;
    if (!end)
        return false;
    *ret = (struct str){rest->p, (size_t)(end - rest->p)};
    rest->n -= ret->n + 1;
    rest->p = end + 1;
    return true;
}

static rc_t read_token(struct call *c, struct str token, struct call_query *q, struct err *e)
{
    struct str rest = {0};
    rc_t rc = unhex(c, token, &rest, e);
    query_init(c, q);
    while (rc == OK && rest.n) {
        if (q->n == TOKEN_PAIRS_MAX || !next_text(&rest, &q->names[q->n]) || !next_text(&rest, &q->values[q->n]))
            rc = bad_token(e);
        q->n++;
    }
    return rc;
}

static rc_t copy_query(struct call *c, struct call_query *q, struct err *e)
{
    struct str name, value;
    query_init(c, q);
    for (; http_query_pair(c->r, q->n, &name, &value); q->n++) {
        if (q->n == TOKEN_PAIRS_MAX)
            return err_set(e, E_INVALID, "at most %d parameters fit a list", TOKEN_PAIRS_MAX);
        q->names[q->n] = name;
        q->values[q->n] = value;
    }
    return OK;
}

static void add_hex(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        buf_addf(out, "%02x", (unsigned char)s.p[i]);
    buf_addz(out, "00");
}

static void print_token(const struct call_query *q, int64_t page, struct buf *out)
{
    char number[32];
    int n = snprintf(number, sizeof number, "%lld", (long long)page);
    add_hex(out, STR("page"));
    add_hex(out, (struct str){number, (size_t)n});
    for (size_t i = 0; i < q->n; i++) {
        if (str_eqz(q->names[i], "page") || memchr(q->names[i].p, '\0', q->names[i].n) ||
            memchr(q->values[i].p, '\0', q->values[i].n))
            continue;
        add_hex(out, q->names[i]);
        add_hex(out, q->values[i]);
    }
}

/* ---- filters ---- */
static rc_t read_page(struct call *c, struct page *ret, struct err *e)
{
    struct page p = {0, 200};
    rc_t rc = call_i64(c, "page", 1, API_LIST_MAX, &p.number, e);
    if (rc == OK)
        rc = call_i64(c, "page-size", 1, PAGE_SIZE_MAX, &p.size, e);
    *ret = p;
    return rc;
}

static rc_t read_partitions(struct call *c, struct document_filter *f, struct err *e)
{
    struct str by = call_str(c, "partition-by", NULL), sort = call_str(c, "partition-sort-by", NULL),
               order = call_str(c, "partition-order", NULL);
    if (by.n == 0)
        return OK;
    if (!str_eqz(by, "name") && !str_eqz(by, "project_and_name"))
        return err_set(e, E_INVALID, "partition-by: name or project_and_name is wanted");
    if ((sort.n && !str_eqz(sort, "updated")) || (order.n && !str_eqz(order, "desc")))
        return err_set(e, E_INVALID, "partition-sort-by: updated is wanted, and desc as partition-order");
    f->newest_of_each = 1;
    return call_i64(c, "rows-per-partition", 1, API_LIST_MAX, &f->newest_of_each, e);
}

rc_t object_filter(struct call *c, const struct project *p, const struct object_kind *kind, object_more_fn *more,
                   struct document_filter *ret, struct err *e)
{
    struct document_filter f = {.project_id = p->id, .kind = kind->kind, .iter = DOCUMENT_ITER_ANY};
    f.name = call_str(c, "name", NULL);
    f.tag = call_str(c, "tag", NULL);
    if (f.name.n && *f.name.p == '~') {
        f.name_part = true;
        f.name = (struct str){f.name.p + 1, f.name.n - 1};
    }
    if (str_eqz(f.tag, "*"))
        f.tag = (struct str){0};
    rc_t rc = call_list(c, "label", &f.labels, &f.n_labels, e);
    if (rc == OK)
        rc = read_partitions(c, &f, e);
    if (rc == OK && more)
        rc = more(c, &f, e);
    if (rc == OK)
        *ret = f;
    return rc;
}

/* ---- the answer ---- */
static void write_pagination(struct json_writer *w, const struct page *page, const struct call_query *q, bool more)
{
    struct buf token = {0};
    jw_key(w, "pagination");
    jw_object(w);
    if (page->number) {
        jw_kv_i64(w, "page", page->number);
        jw_kv_i64(w, "page-size", page->size);
        if (more)
            print_token(q, page->number + 1, &token);
        jw_kv_strz(w, "page-token", more ? token.data : NULL);
    }
    jw_object_end(w);
    buf_done(&token);
}

static void write_list(struct call *c, const struct project *p, const struct object_kind *kind,
                       const struct document *d, size_t n, const struct page *page, const struct call_query *q)
{
    bool more = page->number && n > (size_t)page->size;
    struct json_writer w;
    jw_init(&w, &c->out, JSON_NAN_TOKEN);
    jw_object(&w);
    jw_key(&w, kind->list);
    jw_array(&w);
    for (size_t i = 0; i < n - more; i++) {
        CLEANUP(json_freep) struct json *j = object_show(p, kind, &d[i]);
        json_write(j, &w);
    }
    jw_array_end(&w);
    write_pagination(&w, page, q, more);
    jw_object_end(&w);
}

/* One more than the page holds is read: whether there is another page. */
static rc_t list(struct call *c, const struct project *p, const struct object_kind *kind, object_more_fn *more,
                 const struct call_query *q, struct err *e)
{
    struct document_filter f = {0};
    struct document *d = NULL;
    struct page page;
    size_t n = 0;
    rc_t rc = read_page(c, &page, e);
    if (rc == OK)
        rc = object_filter(c, p, kind, more, &f, e);
    if (rc != OK)
        return rc;
    f.limit = page.number ? (size_t)page.size + 1 : API_LIST_MAX;
    f.offset = page.number ? (size_t)((page.number - 1) * page.size) : 0;
    rc = documents_list(c->db, &f, &d, &n, e);
    if (rc == OK)
        write_list(c, p, kind, d, n, &page, q);
    documents_free(d, n);
    return rc;
}

rc_t object_list(struct call *c, const struct object_kind *kind, object_more_fn *more, struct err *e)
{
    struct project p = {0};
    struct call_query q = {0};
    struct str token = call_str(c, "page-token", NULL);
    rc_t rc = token.n ? read_token(c, token, &q, e) : copy_query(c, &q, e);
    if (rc == OK)
        rc = call_project(c, &p, e);
    if (rc == OK) {
        c->query = &q;
        rc = list(c, &p, kind, more, &q, e);
        c->query = NULL;
    }
    project_done(&p);
    return rc;
}

rc_t object_days_ago(struct call *c, int64_t *ret_us, struct err *e)
{
    int64_t days = 0;
    rc_t rc = call_i64(c, "days_ago", 0, 36500, &days, e);
    if (rc == OK && days)
        *ret_us = clock_now_us() - days * API_DAY_US;
    return rc;
}

rc_t object_delete(struct call *c, const struct document_filter *f, struct err *e)
{
    int64_t n = 0;
    rc_t rc = documents_delete(c->db, f, &n, e);
    if (rc == OK)
        c->status = 204;
    return rc;
}
