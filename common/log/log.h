/* The log: one JSON object a line on stderr, one write(2) a line, from any thread.
 *
 *     log_info("flush", LF_I64("rows", n), LF_STR("topic", topic));
 *     → {"ts":"2025-01-01T00:00:00.000000Z","level":"info","svc":"stream","ev":"flush","rows":512,"topic":"t"}
 *
 * error: someone must act. warn: degraded and going on. info: life cycle, one line a flush. debug: the rest.
 * Never payloads, never secrets. An event (its name) that repeats as warn or error is written LOG_BURST times in
 * LOG_PERIOD_US; the next line after that carries "suppressed":n. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/rc.h"
#include "base/str.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

#define LOG_BURST 5
#define LOG_PERIOD_US INT64_C(10000000)

struct log_field {
    const char *name; /* NULL ends a list */
    enum { LOG_FIELD_I64, LOG_FIELD_F64, LOG_FIELD_BOOL, LOG_FIELD_STR } kind;
    union {
        int64_t i64;
        double f64;
        bool boolean;
        struct str str;
    };
};

#define LF_I64(key, v) ((struct log_field){.name = (key), .kind = LOG_FIELD_I64, .i64 = (int64_t)(v)})
#define LF_F64(key, v) ((struct log_field){.name = (key), .kind = LOG_FIELD_F64, .f64 = (v)})
#define LF_BOOL(key, v) ((struct log_field){.name = (key), .kind = LOG_FIELD_BOOL, .boolean = (v)})
/* v: a struct str, or NUL-terminated text (NULL is written as null) */
#define LF_STR(key, v)                                                                                                 \
    _Generic((v), struct str : log_field_str, char * : log_field_text, const char * : log_field_text)((key), (v))
#define LF_ERR(e) log_field_text("error", (e)->text) /* a struct err */
#define LF_END ((struct log_field){.name = NULL})

#define LOG_LIST(event, ...)                                                                                           \
    (event), (const struct log_field[])                                                                                \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }
#define log_event(level, ...) (log_enabled(level) ? log_write((level), LOG_LIST(__VA_ARGS__, LF_END)) : (void)0)
#define log_error(...) log_event(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_event(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_event(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_event(LOG_DEBUG, __VA_ARGS__)

void log_open(const char *service, enum log_level level); /* service: kept, not copied */
/* What this thread logs from here on is that part's (kept, not copied); NULL: the service's. Workers inherit it. */
void log_as(const char *part);
const char *log_part(void);
void log_to(int fd); /* elsewhere than stderr: for tests */
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *event, const struct log_field *fields);

static inline struct log_field log_field_str(const char *name, struct str s)
{
    return (struct log_field){.name = name, .kind = LOG_FIELD_STR, .str = s};
}
static inline struct log_field log_field_text(const char *name, const char *z)
{
    return log_field_str(name, str_of(z));
}
