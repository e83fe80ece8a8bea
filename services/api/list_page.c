/* Owns the pages of lists, and the tokens that lead from one to the next. A token is the query it continues, so that nothing is kept
 * between two requests and any api process answers the next one. */
#include "list_page.h"

#include <stdio.h>
#include <string.h>

#define TOKEN_PAIRS_MAX 200

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

/* ---- pages ---- */
rc_t list_page_open(struct call *c, struct list_page *ret, struct err *e)
{
    struct str token = call_str(c, "page-token");
    *ret = (struct list_page){0};
    rc_t rc = token.n ? read_token(c, token, &ret->query, e) : copy_query(c, &ret->query, e);
    if (rc != OK)
        return rc;
    c->query = &ret->query;
    rc = params_check_query(c, e); /* what a token says is said by who asks */
    if (rc != OK)
        return rc;
    ret->number = call_i64(c, "page", 0);
    ret->size = call_i64(c, "page-size", 200);
    ret->limit = ret->number ? (size_t)ret->size + 1 : API_LIST_MAX;
    ret->offset = ret->number ? (size_t)((ret->number - 1) * ret->size) : 0;
    return OK;
}

void list_page_close(struct call *c)
{
    c->query = NULL;
}

size_t list_page_shown(const struct list_page *p, size_t n)
{
    return p->number && n > (size_t)p->size ? (size_t)p->size : n;
}

void list_page_write(struct json_writer *w, const struct list_page *p, size_t n)
{
    struct buf token = {0};
    bool more = list_page_shown(p, n) < n;
    jw_key(w, "pagination");
    jw_object(w);
    if (p->number) {
        jw_kv_i64(w, "page", p->number);
        jw_kv_i64(w, "page-size", p->size);
        if (more)
            print_token(&p->query, p->number + 1, &token);
        jw_kv_strz(w, "page-token", more ? token.data : NULL);
    }
    jw_object_end(w);
    buf_done(&token);
}
