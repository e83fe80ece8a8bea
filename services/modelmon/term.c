/* Characters and colours; nothing here knows what is shown. */
#include "term.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "event/result.h"
#include "tool.h"

#define SHOW_US (100 * USEC_PER_MSEC)
#define BAR_WIDTH 30

static const char *const status_colours[] = {"90", "32", "33", "31"}; /* from -1 on */

bool term_is(FILE *to)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fileno(to)) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

void term_bar(struct buf *to, double share, size_t width)
{
    double at = isnan(share) || share < 0 ? 0 : share > 1 ? 1 : share;
    size_t full = (size_t)lround(at * (double)width);
    for (size_t i = 0; i < width; i++)
        buf_addz(to, i < full ? "█" : "·");
}

static size_t index_of(int status)
{
    return status < -1 || status > 2 ? 0 : (size_t)(status + 1);
}

static void add_coloured(struct buf *to, int status, const char *words, bool colours)
{
    if (colours)
        buf_addf(to, "\033[%sm%s\033[0m", status_colours[index_of(status)], words);
    else
        buf_addz(to, words);
}

void term_add_status(struct buf *to, int status, bool colours)
{
    add_coloured(to, status, result_status_words(status), colours);
}

void term_add_found(struct buf *to, int status, bool colours)
{
    add_coloured(to, status, result_found_words(status), colours);
}

void term_add_text(struct buf *to, struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        buf_addc(to, c < 0x20 || c == 0x7f ? '?' : (char)c); /* what a file names is not for the terminal to obey */
    }
}

void term_add_cell(struct buf *to, struct str text, size_t width)
{
    size_t shown = 0, i = 0;
    for (; i < text.n && shown < width; shown++)
        for (i++; i < text.n && ((unsigned char)text.p[i] & 0xC0) == 0x80;)
            i++;
    term_add_text(to, (struct str){text.p, i});
    for (; shown < width + 2; shown++)
        buf_addc(to, ' ');
}

int term_put(struct buf *text)
{
    bool ok = fwrite(text->data ? text->data : "", 1, text->len, stdout) == text->len && fflush(stdout) == 0;
    buf_done(text);
    return ok ? TOOL_DONE : TOOL_FAILED;
}

void term_progress_begin(struct term_progress *p, const char *what)
{
    *p = (struct term_progress){.what = what, .began_us = clock_mono_us(), .on = term_is(stderr)};
}

static void show(struct term_progress *p, double share, size_t done, const char *end)
{
    struct buf line = {0};
    double seconds = (double)(clock_mono_us() - p->began_us) / 1e6;
    buf_addf(&line, "\r%s ", p->what);
    term_bar(&line, share, BAR_WIDTH);
    buf_addf(&line, " %3.0f %%  %zu  %.0f/s ", share * 100, done, seconds > 0 ? (double)done / seconds : 0);
    (void)fprintf(stderr, "%s%s", line.data, end);
    buf_done(&line);
}

void term_progress(struct term_progress *p, double share, size_t done)
{
    int64_t now = p->on ? clock_mono_us() : 0;
    if (!p->on || now - p->shown_us < SHOW_US)
        return;
    p->shown_us = now;
    show(p, share, done, "");
}

void term_progress_end(struct term_progress *p, size_t done)
{
    if (p->on)
        show(p, 1, done, "\n");
}
