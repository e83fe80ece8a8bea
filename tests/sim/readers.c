/* Those that read what others have written: the writer, an app, and an archive, the smallest handler with an intended range, which stands
 * for the lake. */
#include <stdio.h>
#include <string.h>
#include "actors.h"
#include "app/events.h"
#include "app/output.h"
#include "base/mem.h"
#include "event/names.h"
#include "world.h"
#include "writer/writer.h"

/* ---- writer ---- */
struct sim_writer {
    struct writer_options opts;
    struct bus_config bus;
    struct db_config db;
    struct function_topics topics;
    struct bus_producer *producer;
    struct batch batch;
    struct pipeline *pipeline;
};

static rc_t writer_topics(void *self, struct db *db, const struct pipeline_topic **ret, size_t *n, struct err *e)
{
    struct sim_writer *w = (struct sim_writer *)(void *)((char *)self - offsetof(struct sim_writer, batch));
    return function_topics_load(&w->topics, db, ret, n, e);
}

void writer_main(void *arg)
{
    struct sim_writer *w = mem_alloc(sizeof *w);
    struct cache_config none = {0};
    struct err e = {{0}};
    (void)arg;
    w->opts = (struct writer_options){.id = {SIM_SYSTEM, "g"},
                                      .flush_us = 100 * USEC_PER_MSEC,
                                      .flush_events = 50,
                                      .names_ttl_us = 60 * USEC_PER_SEC,
                                      .max_apps = 10};
    w->bus = sim_bus_config();
    w->db = sim_db_config();
    function_topics_init(&w->topics, SIM_SYSTEM, function_name(FUNCTION_WRITER));
    rc_t rc = bus_producer_open(&w->producer, &w->bus, &e);
    if (rc == OK)
        rc = cache_open(&w->batch.cache, &none, &e);
    w->batch.opts = w->batch.names.opts = &w->opts;
    w->batch.topics = &w->topics;
    w->batch.dead = dead_letters_new(PIPELINE_WRITER, w->producer);
    if (rc == OK)
        rc = pipeline_open(&w->pipeline,
                           &(struct pipeline_config){.name = PIPELINE_WRITER,
                                                     .group = "g-" PIPELINE_WRITER,
                                                     .bus = &w->bus,
                                                     .db = &w->db,
                                                     .producer = w->producer,
                                                     .ops = &batch_ops,
                                                     .self = &w->batch,
                                                     .topics = writer_topics},
                           &e);
    if (rc == OK)
        rc = pipeline_start(w->pipeline, &e);
    sim_must(rc, &e, "writer");
    sim_wait_for_stop();
    pipeline_stop(w->pipeline, 5 * USEC_PER_SEC);
    pipeline_free(w->pipeline);
    bus_producer_free(w->producer);
    batch_done(&w->batch);
    function_topics_done(&w->topics);
    mem_free(w);
    proc_exit();
}

/* ---- an app: how many rows its window has ---- */
struct sim_app {
    struct bus_config bus;
    struct db_config db;
    struct function_topics topics;
    struct bus_producer *producer;
    struct app_events events;
    struct pipeline *pipeline;
};

static rc_t track(const void *opts, const struct app_input *in, struct app_output *out, struct err *e)
{
    (void)opts, (void)e;
    app_result(out, "rows", (double)in->window->rows, KIND_APP_ANOMALY, STATUS_NO_DETECTION, STR("{}"));
    return OK;
}

static const struct app counter = {.name = SIM_APP, .version = "1", .summary = "Rows.", .track = track};

static rc_t app_topics(void *self, struct db *db, const struct pipeline_topic **ret, size_t *n, struct err *e)
{
    struct sim_app *a = (struct sim_app *)(void *)((char *)self - offsetof(struct sim_app, events));
    return function_topics_load(&a->topics, db, ret, n, e);
}

static void failed(void *self, const char *words)
{
    (void)self;
    world_violation("the app's pipeline failed: %s", words);
}

void app_main_of(void *arg)
{
    struct sim_app *a = mem_alloc(sizeof *a);
    struct err e = {{0}};
    (void)arg;
    a->bus = sim_bus_config();
    a->db = sim_db_config();
    function_topics_init(&a->topics, SIM_SYSTEM, SIM_APP);
    rc_t rc = bus_producer_open(&a->producer, &a->bus, &e);
    a->events = (struct app_events){.app = &counter,
                                    .name = str_of(SIM_APP),
                                    .system_id = SIM_SYSTEM,
                                    .batch_us = 50 * USEC_PER_MSEC,
                                    .batch_max = 20,
                                    .topics = &a->topics,
                                    .producer = a->producer,
                                    .loader = {.shapes_max = 1 << 20}};
    acks_init(&a->events.acks);
    a->events.dead = dead_letters_new("app:" SIM_APP, a->producer);
    if (rc == OK)
        rc = pipeline_open(&a->pipeline,
                           &(struct pipeline_config){.name = "app:" SIM_APP,
                                                     .group = "g-app:" SIM_APP,
                                                     .bus = &a->bus,
                                                     .db = &a->db,
                                                     .producer = a->producer,
                                                     .ops = &app_events_ops,
                                                     .self = &a->events,
                                                     .topics = app_topics,
                                                     .failed = failed},
                           &e);
    if (rc == OK)
        rc = pipeline_start(a->pipeline, &e);
    sim_must(rc, &e, "app");
    sim_wait_for_stop();
    pipeline_stop(a->pipeline, 5 * USEC_PER_SEC);
    pipeline_free(a->pipeline);
    bus_producer_free(a->producer);
    app_events_done(&a->events);
    function_topics_done(&a->topics);
    mem_free(a);
    proc_exit();
}

/* ---- the archive: files named by their intended range ---- */
struct archived {
    struct pipeline_part *part;
    int64_t offset;
};
struct sim_archive {
    struct bus_config bus;
    struct db_config db;
    struct bus_producer *producer;
    struct pipeline *pipeline;
    struct pipeline_topic topic;
    struct archived *items;
    size_t n, cap;
    int64_t since_us, age_us;
};

static rc_t archive_topics(void *self, struct db *db, const struct pipeline_topic **ret, size_t *n, struct err *e)
{
    struct sim_archive *a = self;
    char topic[NAME_TOPIC_MAX + 1];
    rc_t rc = topic_stream(topic, SIM_SYSTEM, STR(SIM_PROJECT), e);
    (void)db;
    if (!a->topic.name)
        a->topic = (struct pipeline_topic){mem_dupz(topic), 1};
    *ret = &a->topic;
    *n = 1;
    return rc;
}

static rc_t archive_record(void *self, const struct pipeline_record *r, struct err *e)
{
    struct sim_archive *a = self;
    (void)e;
    if (a->n == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 64;
        a->items = mem_grow(a->items, a->cap, sizeof *a->items);
    }
    if (a->n == 0)
        a->since_us = clock_mono_us();
    a->items[a->n++] = (struct archived){r->part, r->offset};
    return OK;
}

static bool archive_due(void *self, int64_t mono_us)
{
    const struct sim_archive *a = self;
    return a->n > 0 && mono_us - a->since_us >= a->age_us;
}

static struct archive_file *files;

struct archive_file *archive_files(void)
{
    return files;
}

static struct archive_file *file_named(const char *name)
{
    for (struct archive_file *f = files; f; f = f->next)
        if (strcmp(f->name, name) == 0)
            return f;
    struct archive_file *f = mem_alloc(sizeof *f);
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    f->next = files;
    return files = f;
}

/* As a rename does: whole, over what was there. */
static void put_in_place(const struct sim_archive *a, const struct pipeline_part *part)
{
    char name[64];
    (void)snprintf(name, sizeof name, "%d-%lld-%lld", part->partition, (long long)part->next_offset,
                   (long long)part->position);
    struct archive_file *f = file_named(name);
    f->offsets = mem_grow(f->offsets, a->n + 1, sizeof *f->offsets);
    f->n = 0;
    for (size_t i = 0; i < a->n; i++)
        if (a->items[i].part == part)
            f->offsets[f->n++] = a->items[i].offset;
}

static rc_t archive_prepare(void *self, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    (void)db, (void)e;
    for (size_t i = 0; i < n; i++) {
        world_point();
        if (parts[i]->position > parts[i]->next_offset)
            put_in_place(self, parts[i]);
        world_point();
    }
    return OK;
}

static rc_t archive_write(void *self, struct db *db, struct pipeline_part *const *parts, size_t n, struct err *e)
{
    (void)self, (void)db, (void)parts, (void)n, (void)e;
    return OK;
}

static void archive_done(void *self, const struct pipeline_part *part, bool committed)
{
    struct sim_archive *a = self;
    size_t kept = 0;
    (void)committed;
    for (size_t i = 0; i < a->n; i++)
        if (part && a->items[i].part != part)
            a->items[kept++] = a->items[i];
    a->n = kept;
}

void archive_main(void *arg)
{
    static const struct pipeline_ops ops = {
        .record = archive_record, .due = archive_due, .prepare = archive_prepare, .write = archive_write, .done = archive_done};
    struct sim_archive *a = mem_alloc(sizeof *a);
    struct err e = {{0}};
    (void)arg;
    a->bus = sim_bus_config();
    a->db = sim_db_config();
    a->age_us = world_between(200, 1500) * USEC_PER_MSEC;
    rc_t rc = bus_producer_open(&a->producer, &a->bus, &e);
    if (rc == OK)
        rc = pipeline_open(&a->pipeline,
                           &(struct pipeline_config){.name = SIM_ARCHIVE,
                                                     .group = "g-" SIM_ARCHIVE,
                                                     .bus = &a->bus,
                                                     .db = &a->db,
                                                     .producer = a->producer,
                                                     .ops = &ops,
                                                     .self = a,
                                                     .topics = archive_topics,
                                                     .intent = true,
                                                     .frontier = true},
                           &e);
    if (rc == OK)
        rc = pipeline_start(a->pipeline, &e);
    sim_must(rc, &e, "archive");
    sim_wait_for_stop();
    pipeline_stop(a->pipeline, 5 * USEC_PER_SEC);
    pipeline_free(a->pipeline);
    bus_producer_free(a->producer);
    mem_free(a->items);
    mem_free(a);
    proc_exit();
}

void archive_end(void)
{
    while (files) {
        struct archive_file *next = files->next;
        mem_free(files->offsets);
        mem_free(files);
        files = next;
    }
}
