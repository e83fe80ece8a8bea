/* Answers: built on whatever thread has them, queued by the connection's own. */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "http/request.h"

/* Values may come from outside: a line break would begin a header, or a body, of somebody else's making. */
static bool is_safe(const char *value)
{
    for (const unsigned char *c = (const unsigned char *)value; *c; c++)
        if (*c < 0x20 || *c == 0x7F)
            return false;
    return *value != '\0';
}

void http_add_header(struct http_request *r, const char *name, const char *value)
{
    if (!is_safe(value))
        return;
    struct http_header_line *line = arena_alloc(&r->arena, sizeof *line);
    line->name = arena_dup(&r->arena, name, strlen(name));
    line->value = arena_dup(&r->arena, value, strlen(value));
    line->next = r->headers;
    r->headers = line;
}

static void set_header(struct MHD_Response *response, const char *name, const char *value)
{
    enum MHD_Result ok = MHD_add_response_header(response, name, value);
    assert(ok == MHD_YES); /* checked when it was added */
}

/* The body is in r->out, which stays until the request has ended. */
struct MHD_Response *answer_response(const struct http_request *r)
{
    const struct http_server *s = r->connection->server;
    struct MHD_Response *response = MHD_create_response_from_buffer(r->out.len, r->out.len ? r->out.data : "",
                                                                    MHD_RESPMEM_PERSISTENT);
    assert(response != NULL); /* out of memory */
    if (r->type)
        set_header(response, "Content-Type", r->type);
    for (const struct http_header_line *h = r->headers; h; h = h->next)
        set_header(response, h->name, h->value);
    if (s->tls)
        set_header(response, "Strict-Transport-Security", "max-age=31536000");
    if (r->type && strcmp(r->type, HTTP_JSON) != 0)
        set_header(response, "X-Content-Type-Options", "nosniff");
    if (r->close || !s->options->keepalive || atomic_load_explicit(&s->quiesced, memory_order_relaxed))
        set_header(response, "Connection", "close");
    return response;
}

static void finish(struct http_request *r, int status, const char *type)
{
    assert(r->status == 0);
    struct MHD_Connection *mhd = r->connection->mhd;
    bool suspended = r->suspended;
    r->status = status;
    r->type = type;
    atomic_store_explicit(&r->ready, true, memory_order_release);
    if (suspended)
        MHD_resume_connection(mhd); /* from here on the request may be gone */
}

void http_answer(struct http_request *r, int status, const char *type, struct str body)
{
    buf_clear(&r->out);
    buf_add(&r->out, body.p, body.n);
    finish(r, status, type);
}

void http_answer_take(struct http_request *r, int status, const char *type, struct buf *body)
{
    buf_done(&r->out);
    r->out = *body;
    *body = (struct buf){0};
    finish(r, status, type);
}

void http_answer_empty(struct http_request *r, int status)
{
    buf_clear(&r->out);
    finish(r, status, NULL);
}

static const char *code_of(int status)
{
    static const struct {
        int status;
        const char *code;
    } codes[] = {
        {400, "bad_request"},        {401, "unauthorized"},     {403, "forbidden"},    {404, "not_found"},
        {405, "method_not_allowed"}, {409, "conflict"},         {412, "precondition"}, {413, "too_long"},
        {414, "target_too_long"},    {415, "unsupported_type"}, {422, "invalid"},      {429, "too_many"},
        {431, "head_too_large"},     {500, "internal"},         {503, "unavailable"},
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].status == status)
            return codes[i].code;
    return status < 500 ? "bad_request" : "internal";
}

static void add_member(struct buf *b, const char *name, const char *value)
{
    if (value == NULL)
        return;
    buf_addf(b, ",\"%s\":", name);
    text_add_json(b, str_of(value));
}

static void render_problem(struct buf *b, const struct http_problem *p)
{
    const char *code = p->code ? p->code : code_of(p->status);
    buf_addz(b, "{\"type\":\"urn:modelmon:problem:");
    buf_addf(b, "%s\"", code);
    add_member(b, "title", MHD_get_reason_phrase_for((unsigned)p->status));
    buf_addf(b, ",\"status\":%d", p->status);
    add_member(b, "code", code);
    add_member(b, "detail", p->detail);
    add_member(b, "field", p->field);
    if (p->has_position)
        buf_addf(b, ",\"position\":%" PRId64, p->position);
    buf_addz(b, "}");
}

void http_problem(struct http_request *r, const struct http_problem *p)
{
    bool detail = r->route && (r->route->row->flags & HTTP_DETAIL);
    buf_clear(&r->out);
    if (detail) {
        buf_addz(&r->out, "{\"detail\":");
        text_add_json(&r->out, str_of(p->detail ? p->detail : MHD_get_reason_phrase_for((unsigned)p->status)));
        buf_addc(&r->out, '}');
    } else {
        render_problem(&r->out, p);
    }
    if (p->retry_after_s > 0)
        http_add_header(r, "Retry-After", arena_printf(&r->arena, "%d", p->retry_after_s));
    finish(r, p->status, detail ? HTTP_JSON : HTTP_PROBLEM);
}

void http_fail(struct http_request *r, int status, const char *code, const char *fmt, ...)
{
    char detail[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(detail, sizeof detail, fmt, args); /* cut to fit is fine */
    va_end(args);
    http_problem(r, &(struct http_problem){.status = status, .code = code, .detail = detail});
}
