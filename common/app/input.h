/* From a window event to what an app sees: endpoint, reference, layout, and the window's counts. Remembers records and
 * references (versions never change); one thread. */
#pragma once
#include "app/app.h"
#include "app/records.h"
#include "app/source.h"
#include "app/values.h"
#include "base/map.h"
#include "cache/cache.h"
#include "db/slot.h"
#include "event/window.h"
#include "lake/lake.h"

struct input_loader;

/* What the sum of a window's slots is made of. */
struct window_source {
    struct input_loader *loader;
    struct db *db;
    int32_t project_id;
    int64_t endpoint_id;
    const struct window_event *ev;
    const struct slot_layout *layout;
    const struct schema *schema;           /* of the layout's columns */
    int schema_version, reference_version; /* in force */
    const struct slot_row *rows;
    size_t n_rows;
};
struct live_source { /* source.c */
    struct app_source ops;
    struct window_source window;
};
extern const struct app_source live_source_ops;

struct input_loader {
    struct cache *cache;     /* NULL: none */
    struct records *records; /* made at first need */
    const struct lake_config *lake;
    struct lake_reader *reader; /* opened at first need */
    struct map endpoints, shapes, references;
    struct live_source source; /* of the window last loaded */
    size_t shapes_max, held;   /* held: bytes of references and shapes */
    int64_t change_seq, next_refresh_us;
    struct gone_watch gone;
};
void input_loader_done(struct input_loader *l);
/* Fills *ret (but application) and *ret_window, which it points to: slot_free. Everything else is the loader's, until the next call.
 * E_INVALID: *why says it, a dead letter. E_AGAIN: try again. Else: the process cannot go on. */
rc_t input_load(struct input_loader *l, struct db *db, int32_t project_id, const struct window_event *ev,
                struct arena *arena, struct app_input *ret, struct slot **ret_window, struct reject *why,
                struct err *e) MUST_CHECK;

/* ---- window.c: the sum of a window's slots ---- */
/* Sums rows of the version in force; slots that have rows of another one are recounted from the lake. *ret_missing: rows that no file has. */
rc_t window_sum(const struct window_source *s, struct slot *into, int64_t *ret_missing, struct err *e) MUST_CHECK;
/* The event's files (all when it names none) that the manifest has for the endpoint and the window, each once; in a. Of those that
 * are gone for good *ret_gone_rows says how many rows they had. */
rc_t window_files(const struct window_source *s, struct arena *a, struct values_file **ret, size_t *n,
                  int64_t *ret_gone_rows, struct err *e) MUST_CHECK;
