/* Error texts: formatting and prefixing, cut to fit. */
#include "base/rc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ROOM (sizeof((struct err *)NULL)->text - 1) /* the last byte says whether the text quotes */

/* A cut must not leave half a UTF-8 character: these texts end up in JSON. */
static void cut_to_character(char *text, size_t len)
{
    size_t at = len;
    while (at > 0 && ((unsigned char)text[at - 1] & 0xC0) == 0x80)
        at--;
    if (at == 0)
        return;
    unsigned char lead = (unsigned char)text[at - 1];
    size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (len - (at - 1) < want)
        text[at - 1] = '\0';
}

PRINTF(3, 0) static void format(struct err *e, bool quotes, const char *fmt, va_list args)
{
    struct err made;
    if (e == NULL)
        return;
    int n = vsnprintf(made.text, ROOM, fmt, args);
    if (n < 0)
        made.text[0] = '\0';
    else if ((size_t)n >= ROOM)
        cut_to_character(made.text, ROOM - 1);
    made.text[ROOM] = quotes;
    *e = made;
}

rc_t err_set(struct err *e, rc_t rc, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    format(e, false, fmt, args);
    va_end(args);
    return rc;
}

rc_t err_quote(struct err *e, rc_t rc, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    format(e, true, fmt, args);
    va_end(args);
    return rc;
}

bool err_quotes(const struct err *e)
{
    return e->text[ROOM] != '\0';
}

rc_t err_prefix(struct err *e, rc_t rc, const char *fmt, ...)
{
    if (e == NULL)
        return rc;
    struct err old = *e;
    va_list args;
    va_start(args, fmt);
    format(e, err_quotes(&old), fmt, args);
    va_end(args);
    size_t used = strlen(e->text), room = ROOM - 1 - used, n = strlen(old.text);
    size_t take = n < room ? n : room;
    memcpy(e->text + used, old.text, take);
    e->text[used + take] = '\0';
    if (take < n)
        cut_to_character(e->text, used + take);
    return rc;
}

const char *rc_name(rc_t rc)
{
    switch (rc) {
    case OK:
        return "ok";
    case E_AGAIN:
        return "again";
    case E_INVALID:
        return "invalid";
    case E_NOTFOUND:
        return "not found";
    case E_CONFLICT:
        return "conflict";
    case E_LIMIT:
        return "limit";
    case E_UNKNOWN:
        return "unknown outcome";
    case E_FATAL:
        return "fatal";
    }
    return "?";
}
