/* Owns the frame of the pages, the error page, and the files that pages need (assets/, built in). */
#include "page.h"

#include "api.h"
#include "base/clock.h"
#include "chart.h"
#include "event/result.h"
#include "html.h"
#include <string.h>

struct asset { /* as scripts/embed writes it */
    const char *name;
    const unsigned char *data;
    size_t size;
};
extern const struct asset api_assets[];
extern const size_t api_assets_n;

void page_open(struct buf *b, const char *title, const struct crumb *crumbs, int refresh_s)
{
    buf_addz(b, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>"
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>"
                "<meta name=\"color-scheme\" content=\"light dark\"/>");
    if (refresh_s)
        buf_addf(b, "<meta http-equiv=\"refresh\" content=\"%d\"/>", refresh_s);
    buf_addz(b, "<link rel=\"stylesheet\" href=\"/ui/assets/style.css\"/><link rel=\"icon\" type=\"image/svg+xml\" "
                "href=\"/ui/assets/icon.svg\"/><title>");
    html_textz(b, title);
    buf_addz(b, " · modelmon</title></head><body><header class=\"top\"><a class=\"brand\" href=\"/\">"
                "<svg viewBox=\"0 0 24 24\" aria-hidden=\"true\"><path d=\"M2 15h4l3-9 5 14 3-8h5\"/></svg>modelmon</a>"
                "<nav aria-label=\"where you are\">");
    for (; crumbs->text; crumbs++) {
        buf_addz(b, "<span class=\"sep\" aria-hidden=\"true\">/</span>");
        if (crumbs->href) {
            buf_addz(b, "<a href=\"");
            html_textz(b, crumbs->href);
            buf_addz(b, "\">");
            html_name(b, crumbs->text);
            buf_addz(b, "</a>");
        } else {
            buf_addz(b, "<span aria-current=\"page\">");
            html_name(b, crumbs->text);
            buf_addz(b, "</span>");
        }
    }
    buf_addz(b, "</nav></header><main>");
}

void page_close(struct buf *b)
{
    buf_addz(b, "</main><footer>Times are UTC. Made ");
    html_time(b, clock_now_us());
    buf_addz(b, ".</footer></body></html>\n");
}

void page_error(struct buf *b, int status, const char *title, const char *detail)
{
    static const struct crumb none[] = {{NULL, NULL}};
    page_open(b, title, none, status == 503 ? 5 : 0);
    buf_addf(b, "<section class=\"empty\"><p class=\"code\">%d</p><h1>", status);
    html_textz(b, title);
    buf_addz(b, "</h1><p>");
    html_textz(b, detail);
    buf_addz(b, status == 503 ? "</p><p class=\"muted\">This page tries again by itself.</p>" : "</p>");
    buf_addz(b, "<p><a href=\"/\">All projects</a></p></section>");
    page_close(b);
}

void page_empty(struct buf *b, const char *title, const char *words, const char *command)
{
    buf_addf(b, "<section class=\"empty\"><h2>%s</h2><p>%s</p>", title, words);
    if (command) {
        buf_addz(b, "<pre><code>");
        html_textz(b, command);
        buf_addz(b, "</code></pre>");
    }
    buf_addz(b, "</section>");
}

void page_caller(struct buf *b, const char *name)
{
    buf_addz(
        b, "<form method=\"post\" action=\"/ui/logout\" enctype=\"text/plain\"><p class=\"muted small\">Signed in as ");
    html_name(b, name);
    buf_addz(b, " <button>Sign out</button></p></form>");
}

void page_badge(struct buf *b, int status)
{
    buf_addf(b, "<span class=\"badge %s\">%s</span>", status_class(status), result_status_words(status));
}

void page_badge_with(struct buf *b, int status, const char *words)
{
    buf_addf(b, "<span class=\"badge %s\">%s%s</span>", status_class(status), result_status_words(status), words);
}

void page_badge_partly(struct buf *b, int status, size_t lost)
{
    if (status == 0 && lost)
        buf_addf(b, "<span class=\"badge none\">%s in what is compared</span>", result_status_words(status));
    else
        page_badge(b, status);
}

void page_words(struct buf *b, struct str code)
{
    static const struct {
        const char *code, *words;
    } known[] = {{"insufficient_samples", "too few rows"},
                 {"no_reference", "no reference"},
                 {"no_comparable_feature", "no feature can be compared"},
                 {"no_samples", "no values in this window"},
                 {"no_reference_hist", "no training histogram"},
                 {"missing_column", "not in the events"},
                 {"all_missing", "all missing"},
                 {"wrong_type", "values of another type"},
                 {"too_many_values", "too many different values to compare"},
                 {"not_in_mlrun", "not in MLRun's numbers"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_eqz(code, known[i].code)) {
            buf_addz(b, known[i].words);
            return;
        }
    html_text(b, code);
}

void page_refused(struct buf *b, const struct refused *r, int64_t now_us)
{
    if (r->n == 0)
        return;
    buf_addz(b, "<section class=\"card warn\"><header><h2>Refused in 24 h: ");
    html_count(b, (double)r->n);
    buf_addf(b, " event%s</h2><p>the last ", r->n == 1 ? "" : "s");
    html_age(b, r->at_us, now_us);
    buf_addz(b, "</p></header><p class=\"small\">Last reason: ");
    html_text(b, r->words);
    if (r->field.n) {
        buf_addz(b, " (<code>");
        html_text(b, r->field);
        buf_addz(b, "</code>)");
    }
    buf_addz(b, " <span class=\"tag\">");
    html_text(b, r->reason);
    buf_addz(b, "</span></p></section>");
}

/* http://HOST or https://HOST as this request came; a Host that is none is not shown. */
const char *page_origin(struct call *c)
{
    struct str host = http_header(c->r, "Host");
    for (size_t i = 0; i < host.n; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-[]", host.p[i]))
            host.n = 0;
    bool tls = http_is_tls(c->r) || str_eqz(http_header(c->r, "X-Forwarded-Proto"), "https");
    return host.n && host.n < 256 ? arena_printf(c->arena, "http%s://%.*s", tls ? "s" : "", STR_FMT(host))
                                  : "http://127.0.0.1:8080";
}

rc_t get_asset(struct call *c, struct err *e)
{
    static const struct {
        const char *ending, *type;
    } types[] = {{".css", "text/css; charset=utf-8"}, {".svg", "image/svg+xml"}};
    struct str name = http_param(c->r, "asset");
    for (size_t i = 0; i < api_assets_n; i++) {
        if (!str_eqz(name, api_assets[i].name))
            continue;
        for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
            size_t n = strlen(types[k].ending);
            if (name.n > n && memcmp(name.p + name.n - n, types[k].ending, n) == 0)
                c->type = types[k].type;
        }
        http_add_header(c->r, "Cache-Control", "max-age=300");
        buf_add(&c->out, api_assets[i].data, api_assets[i].size);
        return OK;
    }
    return err_set(e, E_NOTFOUND, "there is no such file");
}
