/* Signing in to the pages: an access token in a small form becomes a cookie. The cookie reads and never writes, so a request that
 * another site has a browser make changes nothing. Whether the token is known is asked when the cookie comes. */
#include "access/access.h"
#include "api.h"
#include "html.h"
#include "page.h"

#define TOKEN_MAX 256u
#define NEXT_MAX 1024u
#define COOKIE_AGE_S (12 * 3600)

/* "name=value" of a line: the form is sent as text/plain. Empty: it is not there. */
static struct str field(struct str body, const char *name)
{
    size_t n = strlen(name);
    while (body.n) {
        const char *end = memchr(body.p, '\n', body.n);
        size_t line = end ? (size_t)(end - body.p) : body.n;
        if (line > n && memcmp(body.p, name, n) == 0 && body.p[n] == '=') {
            struct str value = {body.p + n + 1, line - n - 1};
            value.n -= value.n && value.p[value.n - 1] == '\r';
            return value;
        }
        body = (struct str){body.p + line + (end ? 1 : 0), body.n - line - (end ? 1 : 0)};
    }
    return (struct str){0};
}

static bool is_cookie_value(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || strchr("\",;\\", s.p[i]))
            return false;
    return s.n > 0 && s.n <= TOKEN_MAX;
}

/* A page of ours, by its path alone. */
static bool is_page(struct str next)
{
    for (size_t i = 0; i < next.n; i++)
        if (next.p[i] <= ' ' || next.p[i] > '~' || next.p[i] == '\\')
            return false;
    return str_eqz(next, "/") || (next.n > 6 && next.n <= NEXT_MAX && memcmp(next.p, "/ui/p/", 6) == 0);
}

/* No other site's form: browsers say where a request comes from. */
static bool is_own(struct call *c)
{
    struct str site = http_header(c->r, "Sec-Fetch-Site"), origin = http_header(c->r, "Origin"),
               host = http_header(c->r, "Host");
    if (site.n)
        return str_eqz(site, "same-origin") || str_eqz(site, "none");
    return origin.n == 0 || (origin.n > host.n + 3 && memcmp(origin.p + origin.n - host.n - 3, "://", 3) == 0 &&
                             memcmp(origin.p + origin.n - host.n, host.p, host.n) == 0);
}

static void set_cookie(struct call *c, struct str token)
{
    bool secure = http_is_tls(c->r) || str_eqz(http_header(c->r, "X-Forwarded-Proto"), "https");
    http_add_header(c->r, "Set-Cookie",
                    arena_printf(c->arena, ACCESS_COOKIE "=%.*s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%d%s",
                                 STR_FMT(token), token.n ? COOKIE_AGE_S : 0, secure ? "; Secure" : ""));
}

static void go_to(struct call *c, const char *where)
{
    http_add_header(c->r, "Location", where);
    http_add_header(c->r, "Cache-Control", "no-store");
    c->status = 303;
}

rc_t page_moved(struct call *c, struct err *e)
{
    (void)e; /* nothing can fail */
    go_to(c, "/");
    return OK;
}

rc_t page_login(struct call *c, struct err *e)
{
    static const struct crumb crumbs[] = {{"sign in", NULL}, {NULL, NULL}};
    struct str next = call_str(c, "next");
    (void)e;
    http_add_header(c->r, "Cache-Control", "no-store");
    page_open(&c->out, "Sign in", crumbs, 0);
    buf_addz(&c->out, "<section class=\"empty\"><h1>Sign in</h1>");
    if (call_str(c, "unknown").n)
        buf_addz(&c->out, "<p role=\"alert\">That token is not known here, has expired or was revoked.</p>");
    buf_addz(
        &c->out,
        "<p>These pages are for who has an access token with the scope <code>read</code>: <code>modelmon token create "
        "NAME --scope read</code> makes one.</p><form method=\"post\" action=\"/ui/login\" enctype=\"text/plain\">"
        "<input type=\"hidden\" name=\"next\" value=\"");
    html_text(&c->out, is_page(next) ? next : STR("/"));
    buf_addz(&c->out, "\"/><p><label>Access token <input type=\"password\" name=\"token\" required autofocus "
                      "autocomplete=\"current-password\" spellcheck=\"false\"/></label> <button>Sign "
                      "in</button></p></form></section>");
    page_close(&c->out);
    return OK;
}

rc_t post_login(struct call *c, struct err *e)
{
    struct str token = field(http_body(c->r), "token"), next = field(http_body(c->r), "next");
    if (!is_own(c))
        return err_set(e, E_INVALID, "this form belongs to another site");
    if (!is_cookie_value(token))
        return err_set(e, E_INVALID, "token: an access token is wanted");
    set_cookie(c, token);
    go_to(c, is_page(next) ? arena_dup(c->arena, next.p, next.n) : "/");
    return OK;
}

rc_t post_logout(struct call *c, struct err *e)
{
    if (!is_own(c))
        return err_set(e, E_INVALID, "this form belongs to another site");
    set_cookie(c, (struct str){0});
    go_to(c, "/ui/login");
    return OK;
}
