/* Who decides, and whether they mean it. */
#include "operator.h"

#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include "base/buf.h"

#define WHO_MAX 100

void operator_add_who(struct json_writer *w)
{
    char host[64] = "", who[WHO_MAX + 1], name[128];
    struct passwd entry, *found = NULL;
    char room[1024];
    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    if (getpwuid_r(getuid(), &entry, room, sizeof room, &found) != 0)
        found = NULL;
    (void)snprintf(name, sizeof name, "%s", found ? found->pw_name : "uid");
    if (!found)
        (void)snprintf(name, sizeof name, "uid %u", (unsigned)getuid());
    (void)snprintf(who, sizeof who, "%.40s@%.50s", name, host);
    jw_kv_strz(w, "who", who);
}

void operator_add_skip(struct buf *to, struct str pipeline, struct str topic, int64_t partition)
{
    buf_addf(to, "modelmon ledger skip %.*s %.*s %lld --to low    # or high: what is there is not wanted",
             STR_FMT(pipeline), STR_FMT(topic), (long long)partition);
}

bool operator_agrees(const char *fmt, ...)
{
    va_list args;
    if (!isatty(STDIN_FILENO)) {
        (void)fprintf(stderr, "modelmon: nobody is there to ask: --yes says that it is meant\n");
        return false;
    }
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fprintf(stderr, " [y/N] ");
    int c = getchar();
    return c == 'y' || c == 'Y';
}
