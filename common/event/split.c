/* HTTP bodies: one event, an array of them, or one a line. */
#include "event/inference.h"

#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static size_t skip_space(const struct inference_split *s, size_t at)
{
    while (at < s->n && is_space(s->body[at]))
        at++;
    return at;
}

/* Are these lines of events, or one event printed over several lines? In JSON an object that begins a line follows a
 * comma, a colon or a bracket; after anything else it is a line of its own. Inside strings no line ends. */
static bool has_lines(const struct inference_split *s)
{
    const char *p = s->body, *end = s->body + s->n;
    while ((p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        const char *before = p, *after = p;
        while (before > s->body && is_space(before[-1]))
            before--;
        while (after < end && is_space(*after))
            after++;
        if (after < end && *after == '{' && before > s->body && strchr(",:[{", before[-1]) == NULL)
            return true;
        p = after;
        if (p >= end)
            return false;
    }
    return false;
}

void inference_split_init(struct inference_split *s, const char *body, size_t n, bool lines)
{
    *s = (struct inference_split){.body = n > 0 ? body : "", .n = n, .next_line = 1};
    size_t at = skip_space(s, 0);
    if (!lines && at < n && body[at] == '[')
        s->mode = SPLIT_ARRAY;
    else
        s->mode = lines || has_lines(s) ? SPLIT_LINES : SPLIT_ONE;
}

/* Moves to `to`, counting lines. */
static void advance(struct inference_split *s, size_t to)
{
    for (const char *p = s->body + s->at, *end = s->body + to; p < end; p++) {
        p = memchr(p, '\n', (size_t)(end - p));
        if (p == NULL)
            break;
        s->next_line++;
    }
    s->at = to;
}

static int give(struct inference_split *s, size_t from, size_t to, struct str *ret)
{
    advance(s, from);
    s->line = s->next_line;
    s->index = s->next_index++;
    s->offset = from;
    *ret = (struct str){s->body + from, to - from};
    advance(s, to);
    return 1;
}

static int broken(struct inference_split *s, size_t at, const char *text, struct reject *why)
{
    s->ended = true;
    (void)reject_set(why, REJECT_MALFORMED_JSON, NULL, at, "%s", text);
    return -1;
}

static int next_line(struct inference_split *s, struct str *ret, struct reject *why)
{
    size_t from = skip_space(s, s->at);
    if (from == s->n) {
        s->ended = true;
        return s->next_index > 0 ? 0 : broken(s, from, "the body is empty", why);
    }
    const char *lf = memchr(s->body + from, '\n', s->n - from);
    size_t to = lf ? (size_t)(lf - s->body) : s->n;
    while (is_space(s->body[to - 1]))
        to--;
    return give(s, from, to, ret);
}

static int next_one(struct inference_split *s, struct str *ret, struct reject *why)
{
    size_t from = skip_space(s, 0), to = s->n;
    s->ended = true;
    if (from == s->n)
        return broken(s, from, "the body is empty", why);
    while (is_space(s->body[to - 1]))
        to--;
    return give(s, from, to, ret);
}

/* The end of the JSON value at `from`, by strings and brackets alone: what is inside is checked when it is decoded.
 * 0: it does not end. */
static size_t end_of_value(const struct inference_split *s, size_t from)
{
    size_t depth = 0, i = from;
    for (; i < s->n; i++) {
        char c = s->body[i];
        if (c == '"') {
            for (i++; i < s->n && s->body[i] != '"'; i++)
                if (s->body[i] == '\\')
                    i++;
            if (i >= s->n)
                return 0;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if ((c == '}' || c == ']') && depth > 0) {
            if (--depth == 0)
                return i + 1;
        } else if (depth == 0 && (c == ',' || c == ']' || is_space(c))) {
            return i;
        }
    }
    return 0;
}

static int next_item(struct inference_split *s, struct str *ret, struct reject *why)
{
    size_t at = skip_space(s, s->at);
    bool first = !s->started;
    if (first)
        at = skip_space(s, at + 1); /* behind the bracket */
    s->started = true;
    if (at < s->n && s->body[at] == ']') {
        s->ended = true;
        at = skip_space(s, at + 1);
        return at == s->n ? 0 : broken(s, at, "something stands behind the array", why);
    }
    if (!first) {
        if (at == s->n || s->body[at] != ',')
            return broken(s, at, "a comma or the end of the array is wanted", why);
        at = skip_space(s, at + 1);
    }
    if (at == s->n || s->body[at] == ',' || s->body[at] == ']')
        return broken(s, at, "an event is wanted", why);
    size_t to = end_of_value(s, at);
    if (to <= at)
        return broken(s, at, "the array does not end", why);
    return give(s, at, to, ret);
}

int inference_split_next(struct inference_split *s, struct str *ret, struct reject *why)
{
    if (s->ended)
        return 0;
    switch (s->mode) {
    case SPLIT_ARRAY:
        return next_item(s, ret, why);
    case SPLIT_LINES:
        return next_line(s, ret, why);
    default:
        return next_one(s, ret, why);
    }
}
