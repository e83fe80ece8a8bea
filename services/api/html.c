/* Owns escaping and the small formats of numbers and times on pages. */
#include "html.h"

#include <math.h>
#include "base/clock.h"
#include "base/text.h"
#include "base/time.h"

void html_text(struct buf *b, struct str s)
{
    text_add_html(b, s);
}

void html_textz(struct buf *b, const char *z)
{
    html_text(b, str_of(z));
}

void html_name(struct buf *b, const char *z)
{
    buf_addz(b, "<bdi>");
    html_textz(b, z);
    buf_addz(b, "</bdi>");
}

void html_count(struct buf *b, double n)
{
    if (!isfinite(n))
        buf_addz(b, "–");
    else if (n < 10000)
        buf_addf(b, "%.0f", n);
    else if (n < 999950)
        buf_addf(b, "%.1fk", n / 1e3);
    else
        buf_addf(b, "%.2fM", n / 1e6);
}

void html_number(struct buf *b, double v, int digits)
{
    if (isnan(v))
        buf_addz(b, "–");
    else if (isinf(v))
        buf_addz(b, v < 0 ? "−∞" : "∞");
    else
        buf_addf(b, "%.*f", digits, v);
}

static void civil_text(struct buf *b, int64_t us)
{
    struct civil t = time_civil(us);
    buf_addf(b, "%04d-%02d-%02d %02d:%02d:%02d", t.year, t.month, t.day, t.hour, t.minute, t.second);
}

static void open_time(struct buf *b, int64_t us)
{
    char text[TIME_TEXT];
    (void)time_rfc3339(text, us);
    buf_addf(b, "<time datetime=\"%s\"", text);
}

void html_time(struct buf *b, int64_t us)
{
    if (us == 0) {
        buf_addz(b, "–");
        return;
    }
    open_time(b, us);
    buf_addc(b, '>');
    civil_text(b, us);
    buf_addz(b, "</time>");
}

void html_duration(struct buf *b, int64_t us)
{
    double s = (double)us / (double)USEC_PER_SEC;
    if (us < 1000)
        buf_addf(b, "%lld µs", (long long)us);
    else if (s < 0.9995)
        buf_addf(b, "%.0f ms", s * 1e3);
    else if (s < 9.95)
        buf_addf(b, "%.1f s", s);
    else if (s < 120 && s != 60)
        buf_addf(b, "%.0f s", s);
    else if (s < 7200)
        buf_addf(b, "%.0f min", s / 60);
    else if (s < 172800)
        buf_addf(b, "%.0f h", s / 3600);
    else
        buf_addf(b, "%.0f days", s / 86400);
}

void html_age(struct buf *b, int64_t us, int64_t now_us)
{
    if (us == 0) {
        buf_addz(b, "never");
        return;
    }
    open_time(b, us);
    buf_addz(b, " title=\"");
    civil_text(b, us);
    buf_addz(b, " UTC\">");
    if (us > now_us + USEC_PER_SEC) {
        buf_addz(b, "in ");
        html_duration(b, us - now_us);
    } else {
        html_duration(b, us < now_us ? now_us - us : 0);
        buf_addz(b, " ago");
    }
    buf_addz(b, "</time>");
}
