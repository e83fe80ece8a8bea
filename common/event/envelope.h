/* What window and result events have in common: a head of texts and times, and our own object `modelmon`.
 * Inside event/ only. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/str.h"
#include "event/reject.h"
#include "json/reader.h"
#include "json/write.h"

struct envelope_text { /* a text of the record and where it stood */
    struct str s;
    size_t at;
};

struct envelope { /* `modelmon` */
    bool is_set;
    struct str project, traceparent;
    int64_t start_us, end_us;
    bool has_start, has_end;
    int64_t revision, reference_version;
    const struct str *files;
    size_t n_files, max_files;
};

struct envelope_head { /* the members that both events have */
    struct envelope_text endpoint_id, endpoint_name, application_name, start, end;
    struct envelope own;
};
struct envelope_field { /* a text that one of them has besides */
    struct str name;
    struct envelope_text *text;
};

/* null leaves *ret. */
bool envelope_read_text(struct json_reader *r, struct envelope_text *ret);
/* A whole event; unknown members are skipped. arena may be NULL where no files are wanted. */
bool envelope_read_event(struct json_reader *r, struct arena *a, struct envelope_head *ret,
                         const struct envelope_field *more, size_t n);
void envelope_write_times(struct json_writer *w, int64_t start_us, int64_t end_us);
/* Opens the object `modelmon` and leaves it open. */
void envelope_write(struct json_writer *w, const struct envelope *env);
/* What must be there is, and names are names. Times are the record's own, mapped back as window.h says; the envelope's if it
 * has them. */
rc_t envelope_settle(const struct envelope_head *h, int64_t *ret_start, int64_t *ret_end, struct reject *why) MUST_CHECK;
bool envelope_is_exact(const struct envelope_head *h); /* the times are the envelope's */
rc_t envelope_need(const struct envelope_text *t, const char *field, bool (*is_valid)(struct str),
                   struct reject *why) MUST_CHECK;
