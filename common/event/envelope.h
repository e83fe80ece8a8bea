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

/* null leaves *ret. */
bool envelope_read_text(struct json_reader *r, struct envelope_text *ret);
/* arena may be NULL where no files are wanted. */
bool envelope_read(struct json_reader *r, struct arena *a, struct envelope *ret);
void envelope_write_times(struct json_writer *w, int64_t start_us, int64_t end_us);
/* Opens the object `modelmon` and leaves it open. */
void envelope_write(struct json_writer *w, const struct envelope *env);
/* The record's own times, mapped back as window.h says; the envelope's if it has them. */
rc_t envelope_settle_times(const struct envelope *env, const struct envelope_text *start, const struct envelope_text *end,
                           int64_t *ret_start, int64_t *ret_end, struct reject *why) MUST_CHECK;
rc_t envelope_need(const struct envelope_text *t, const char *field, bool (*is_valid)(struct str),
                   struct reject *why) MUST_CHECK;
