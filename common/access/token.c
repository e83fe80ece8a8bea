/* What tokens and their rights look like as text. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "access/access.h"
#include "event/names.h"

#define PREFIX "mm_" /* scanners for secrets find it */
#define SECRET_BYTES 32
#define PROJECTS_TEXT_MAX 4096u

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void access_token_make(char ret[ACCESS_TOKEN_TEXT])
{
    unsigned char secret[SECRET_BYTES + 1] = {0};
    ssize_t got;
    do
        got = getrandom(secret, SECRET_BYTES, 0);
    while (got < 0 && errno == EINTR);
    if (got != SECRET_BYTES)
        abort(); /* without the kernel's randomness there are no secrets */
    char *to = ret + sizeof PREFIX - 1;
    memcpy(ret, PREFIX, sizeof PREFIX);
    for (size_t bit = 0; bit < SECRET_BYTES * 8; bit += 6) {
        unsigned two = (unsigned)secret[bit / 8] << 8 | secret[bit / 8 + 1];
        *to++ = digits[two >> (10 - bit % 8) & 63];
    }
    *to = '\0';
    explicit_bzero(secret, sizeof secret);
}

bool access_token_is(struct str s)
{
    if (s.n != ACCESS_TOKEN_TEXT - 1 || memcmp(s.p, PREFIX, sizeof PREFIX - 1) != 0)
        return false;
    for (size_t i = sizeof PREFIX - 1; i < s.n; i++)
        if (!s.p[i] || !strchr(digits, s.p[i]))
            return false;
    return true;
}

/* The next piece of a list with commas. False: there is no more. */
static bool next_piece(struct str *rest, struct str *ret)
{
    if (rest->p == NULL)
        return false;
    const char *comma = rest->n ? memchr(rest->p, ',', rest->n) : NULL;
    size_t n = comma ? (size_t)(comma - rest->p) : rest->n;
    *ret = (struct str){rest->p, n};
    *rest = comma ? (struct str){comma + 1, rest->n - n - 1} : (struct str){0};
    return true;
}

rc_t access_scopes_parse(struct str text, unsigned *ret, struct err *e)
{
    unsigned scopes = 0;
    struct str piece;
    while (next_piece(&text, &piece)) {
        unsigned was = scopes;
        for (size_t s = HTTP_OPEN + 1; s < HTTP_SCOPES; s++)
            scopes |= str_eqz(piece, http_scopes[s]) ? 1U << s : 0;
        if (scopes == was)
            return err_set(e, E_INVALID, "scopes: of ingest, read, write, admin, each once");
    }
    if (scopes == 0)
        return err_set(e, E_INVALID, "scopes: of ingest, read, write, admin, each once");
    *ret = scopes;
    return OK;
}

rc_t access_projects_check(struct str text, struct err *e)
{
    struct str piece;
    if (str_eqz(text, "*"))
        return OK;
    if (text.n > PROJECTS_TEXT_MAX)
        return err_set(e, E_INVALID, "projects: longer than %u bytes: \"*\" is all", PROJECTS_TEXT_MAX);
    while (next_piece(&text, &piece))
        if (!name_is_project(piece))
            return err_set(e, E_INVALID, "projects: names of projects, or \"*\" for all");
    return OK;
}

bool access_scope_has(unsigned scopes, enum http_scope wanted)
{
    static const unsigned enough[HTTP_SCOPES] = {
        [HTTP_INGEST] = 1U << HTTP_INGEST | 1U << HTTP_ADMIN,
        [HTTP_READ] = 1U << HTTP_READ | 1U << HTTP_WRITE | 1U << HTTP_ADMIN,
        [HTTP_WRITE] = 1U << HTTP_WRITE | 1U << HTTP_ADMIN,
        [HTTP_ADMIN] = 1U << HTTP_ADMIN,
    };
    return wanted == HTTP_OPEN || (scopes & enough[wanted]) != 0;
}
