/* modelmon demo: the whole story on one machine, without a server. A model that judges a penguin's mass was trained on
 * Adelie penguins; it serves Adelie penguins it has not seen, then the colony next door, and modelmon says so.
 *
 *   `modelmon run` over a temporary folder ◀── project, endpoint, training rows, then each request by HTTP
 *                                          ──▶ a result per window, shown as it is found */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/time.h"
#include "child.h"
#include "client.h"
#include "demo.h"
#include "folder.h"
#include "json/write.h"
#include "penguins.h"
#include "term.h"

#define PERIOD_US (2 * USEC_PER_SEC)
#define PATIENCE_US (60 * USEC_PER_SEC)
#define SPREAD_US (1200 * USEC_PER_MSEC) /* requests of a window come within this */
#define REQUESTS 50                      /* a window; the app wants 30 */
#define PROJECT "penguins"
#define ENDPOINTS "/api/v1/projects/" PROJECT "/model-endpoints"

struct demo_options {
    bool exit;
    const char *data_dir, *port;
};
#define AT(field) offsetof(struct demo_options, field)
static const struct config_key keys[] = {
    {.env = "DEMO_EXIT",
     .def = "false",
     .type = CONFIG_BOOL,
     .offset = AT(exit),
     .help = "Ends after the story: exit code 0 only if drift was first not detected, then detected."},
    {.env = "DATA_DIR",
     .def = "",
     .type = CONFIG_STR,
     .flags = CONFIG_FLAG,
     .offset = AT(data_dir),
     .help = "Folder to keep it all in; a temporary one that is deleted at the end unless set."},
    {.env = "HTTP_PORT",
     .def = "0",
     .type = CONFIG_STR,
     .flags = CONFIG_FLAG | CONFIG_REQUIRED,
     .offset = AT(port),
     .help = "Where the pages are; 0: a free one."},
};

static const struct act {
    const char *words;
    unsigned gentoo, of; /* penguins of the other colony among so many */
} acts[] = {
    {"It serves Adelie penguins it has not seen", 0, 1},
    {"Gentoo of the colony next door come along; nobody tells the model", 1, 2},
    {"Now all of them are Gentoo", 1, 1},
};
#define N_ACTS (sizeof acts / sizeof *acts)

struct demo {
    const struct demo_options *o;
    struct arena mem;
    char *folder;
    struct child child;
    struct penguins penguins;
    char *uid;
    size_t played, next_adelie, next_gentoo;
    int status[N_ACTS]; /* of the first time through */
};

/* ---- what the model is: project, endpoint, training rows ---- */
static rc_t ask(struct demo *d, const char *method, const char *path, struct buf *body, struct json **ret, struct err *e)
{
    struct json *answer = NULL;
    rc_t rc = client_call(&(struct client){.url = d->child.url}, method, path, body ? buf_str(body) : (struct str){0},
                          0, &answer, e);
    if (rc == OK && ret)
        *ret = answer;
    else
        json_free(answer);
    if (body)
        buf_done(body);
    return rc;
}

/* It answers a moment after it said where: its tables are made first. */
static rc_t make_project(struct demo *d, struct err *e)
{
    int64_t until = clock_mono_us() + PATIENCE_US;
    for (;;) {
        struct buf body = {0};
        buf_addf(&body, "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"monitoring\":{\"base_period\":\"%ds\",\"enabled\":true}}}",
                 PROJECT, (int)(PERIOD_US / USEC_PER_SEC));
        rc_t rc = ask(d, "PUT", "/api/v1/projects/" PROJECT, &body, NULL, e);
        if (rc == OK || clock_mono_us() > until)
            return rc;
        if (!child_rest(&d->child, 50 * USEC_PER_MSEC))
            return rc;
    }
}

static void add_columns(struct json_writer *w, const char *key, size_t n)
{
    jw_key(w, key);
    jw_array(w);
    for (size_t i = 0; i < n; i++)
        jw_strz(w, penguin_columns[i]);
    jw_array_end(w);
}

static rc_t make_endpoint(struct demo *d, struct err *e)
{
    CLEANUP(json_freep) struct json *answer = NULL;
    struct buf body = {0};
    struct json_writer w;
    struct str uid = {0};
    jw_init(&w, &body, JSON_NAN_NULL);
    jw_object(&w);
    jw_kv_raw(&w, "metadata", STR("{\"name\":\"body-mass\",\"project\":\"" PROJECT "\"}"));
    jw_key(&w, "spec");
    jw_object(&w);
    jw_kv_strz(&w, "model_name", "body-mass");
    jw_kv_strz(&w, "function_name", "serving");
    add_columns(&w, "feature_names", PENGUIN_MEASURES);
    jw_kv_raw(&w, "label_names", STR("[\"body_mass_g\"]"));
    jw_object_end(&w);
    jw_kv_raw(&w, "status", STR("{\"monitoring_mode\":\"enabled\"}"));
    jw_object_end(&w);
    rc_t rc = ask(d, "POST", ENDPOINTS "?creation-strategy=inplace", &body, &answer, e);
    if (rc == OK)
        rc = json_need_str(json_get(answer, "metadata"), "uid", &uid, e);
    if (rc == OK)
        d->uid = arena_dup(&d->mem, uid.p, uid.n);
    return rc;
}

static void add_measures(struct json_writer *w, const struct penguin *p)
{
    for (size_t i = 0; i < PENGUIN_MEASURES; i++)
        jw_f64(w, p->at[i]);
}

static rc_t send_training(struct demo *d, struct err *e)
{
    const struct penguins *p = &d->penguins;
    struct buf body = {0};
    struct json_writer w;
    jw_init(&w, &body, JSON_NAN_NULL);
    jw_object(&w);
    add_columns(&w, "columns", PENGUIN_MEASURES + 1);
    jw_kv_raw(&w, "labels", STR("[\"body_mass_g\"]"));
    jw_key(&w, "data");
    jw_array(&w);
    for (size_t i = 0; i < p->n_training; i++) {
        jw_array(&w);
        add_measures(&w, &p->training[i]);
        jw_f64(&w, penguins_estimate(p, &p->training[i]));
        jw_array_end(&w);
    }
    jw_array_end(&w);
    jw_object_end(&w);
    return ask(d, "PUT", arena_printf(&d->mem, ENDPOINTS "/%s/reference", d->uid), &body, NULL, e);
}

/* ---- requests ---- */
static void add_event(const struct demo *d, const struct penguin *p, int64_t when_us, struct buf *body)
{
    struct json_writer w;
    char when[TIME_TEXT];
    int64_t began = clock_mono_us();
    double mass = penguins_estimate(&d->penguins, p);
    int64_t latency = clock_mono_us() - began;
    (void)time_rfc3339(when, when_us); /* its length is not needed */
    jw_init(&w, body, JSON_NAN_NULL);
    jw_object(&w);
    jw_kv_strz(&w, "model", "body-mass");
    jw_kv_strz(&w, "endpoint_id", d->uid);
    jw_kv_strz(&w, "when", when);
    jw_kv_i64(&w, "latency_us", latency);
    jw_key(&w, "inputs");
    jw_array(&w);
    jw_array(&w);
    add_measures(&w, p);
    jw_array_end(&w);
    jw_array_end(&w);
    jw_key(&w, "outputs");
    jw_array(&w);
    jw_f64(&w, mass);
    jw_array_end(&w);
    jw_object_end(&w);
}

/* 503 is: later. A project's topic is there a moment after the project. */
static rc_t send_request(struct demo *d, const struct penguin *p, int64_t when_us, struct err *e)
{
    CLEANUP(buf_done) struct buf body = {0};
    int64_t until = clock_mono_us() + PATIENCE_US;
    add_event(d, p, when_us, &body);
    for (;;) {
        CLEANUP(json_freep) struct json *answer = NULL;
        int64_t status = 0;
        struct err ignored;
        rc_t rc = client_call(&(struct client){.url = d->child.url}, "POST", "/" PROJECT, buf_str(&body), 503, &answer, e);
        if (rc || json_i64(json_get(answer, "status"), &status, &ignored) != OK || status != 503)
            return rc;
        if (clock_mono_us() > until)
            return err_set(e, E_AGAIN, "it answered 503 for a minute; the log is %s", d->child.log);
        if (!child_rest(&d->child, 50 * USEC_PER_MSEC))
            return err_set(e, E_AGAIN, "interrupted");
    }
}

static const struct penguin *next_penguin(struct demo *d, const struct act *act, size_t i)
{
    const struct penguins *p = &d->penguins;
    return i % act->of < act->gentoo ? &p->others[d->next_gentoo++ % p->n_others] : &p->seen[d->next_adelie++ % p->n_seen];
}

/* One window's requests, each at its time: one that is late on a busy machine still belongs to the window. */
static rc_t serve(struct demo *d, const struct act *act, int64_t start_us, struct err *e)
{
    struct term_progress progress;
    rc_t rc = OK;
    term_progress_begin(&progress, "  requests");
    for (size_t i = 0; rc == OK && i < REQUESTS; i++) {
        int64_t when = start_us + SPREAD_US * (int64_t)i / REQUESTS, ahead = when - clock_now_us();
        if (!child_rest(&d->child, ahead > 0 ? ahead : 0))
            return err_set(e, E_AGAIN, "interrupted");
        rc = send_request(d, next_penguin(d, act, i), when, e);
        term_progress(&progress, (double)(i + 1) / REQUESTS, i + 1);
    }
    term_progress_end(&progress, REQUESTS);
    return rc;
}

/* ---- results ---- */
struct found {
    double drift;
    int64_t status;
    struct json *extra; /* owned */
};

/* The values say when their window ended, or the last moment of it. */
static bool is_of(const struct json *value, int64_t start_us)
{
    struct str when = STR("");
    int64_t at = 0;
    struct err ignored;
    return json_str(json_at(value, 0), &when, &ignored) == OK && time_parse(when, 0, &at) == OK && at > start_us &&
           at <= start_us + PERIOD_US;
}

static rc_t look(struct demo *d, int64_t start_us, bool *ret_there, struct found *ret, struct err *e)
{
    CLEANUP(json_freep) struct json *answer = NULL;
    CLEANUP(buf_done) struct buf path = {0};
    char from[TIME_TEXT], to[TIME_TEXT];
    (void)time_rfc3339(from, start_us - PERIOD_US); /* lengths are not needed */
    (void)time_rfc3339(to, start_us + 4 * PERIOD_US);
    buf_addf(&path,
             ENDPOINTS "/%s/metrics-values?start=%s&end=%s&name=" PROJECT ".histogram-data-drift.result.general_drift",
             d->uid, from, to);
    rc_t rc = ask(d, "GET", path.data, NULL, &answer, e);
    for (const struct json *v = json_first(json_get(json_first(answer), "values")); v; v = json_next(v)) {
        struct str extra = {0};
        struct err ignored;
        if (!is_of(v, start_us))
            continue;
        ret->drift = NAN;
        ret->status = -1;
        if (json_f64(json_at(v, 1), &ret->drift, &ignored) != OK)
            ret->drift = NAN;
        if (json_i64(json_at(v, 2), &ret->status, &ignored) != OK)
            ret->status = -1;
        if (json_str(json_at(v, 3), &extra, &ignored) != OK ||
            json_parse(&ret->extra, extra.p, extra.n, NULL, &ignored) != OK)
            ret->extra = NULL;
        *ret_there = true;
        return OK;
    }
    return rc;
}

static rc_t await(struct demo *d, int64_t start_us, struct found *ret, struct err *e)
{
    int64_t until = clock_mono_us() + PATIENCE_US;
    bool there = false;
    rc_t rc;
    while ((rc = look(d, start_us, &there, ret, e)) == OK && !there) {
        if (clock_mono_us() > until)
            return err_set(e, E_AGAIN, "no result within a minute; the log is %s", d->child.log);
        if (!child_rest(&d->child, 50 * USEC_PER_MSEC))
            return err_set(e, E_AGAIN, "interrupted");
    }
    return rc;
}

static void add_line(struct buf *out, const char *name, size_t name_width, double drift, size_t width)
{
    buf_addz(out, "  ");
    term_add_cell(out, str_of(name), name_width);
    term_bar(out, drift, width);
    buf_addf(out, isnan(drift) ? "     " : " %.2f", drift);
}

static void show(const struct found *f, bool features)
{
    struct buf out = {0};
    const struct json *all = json_get(f->extra, "features");
    add_line(&out, "general_drift", 19, f->drift, 30);
    buf_addz(&out, "  ");
    term_add_status(&out, (int)f->status, term_is(stdout));
    buf_addc(&out, '\n');
    for (size_t i = 0; features && i <= PENGUIN_MEASURES; i++) {
        const struct json *j = json_get(all, penguin_columns[i]);
        double tvd = NAN, hellinger = NAN;
        struct err ignored;
        if (json_opt_f64(j, "tvd", &tvd, &ignored) != OK || json_opt_f64(j, "hellinger", &hellinger, &ignored) != OK)
            continue;
        add_line(&out, penguin_columns[i], 19, (tvd + hellinger) / 2, 20);
        buf_addc(&out, '\n');
    }
    (void)term_put(&out); /* a closed stdout is the caller's wish */
}

static int64_t next_window(struct demo *d)
{
    int64_t now = clock_now_us(), start = time_floor(now, PERIOD_US);
    if (now - start > PERIOD_US / 10)
        start += PERIOD_US;
    (void)child_rest(&d->child, start - now); /* serve sees when it was cut short */
    return start;
}

static rc_t play(struct demo *d, struct err *e)
{
    size_t at = d->played % N_ACTS;
    bool first = d->played < N_ACTS;
    struct found f = {0};
    printf("%s%s:\n", first ? "\n" : "", acts[at].words);
    (void)fflush(stdout); /* likewise */
    int64_t start = next_window(d);
    rc_t rc = serve(d, &acts[at], start, e);
    if (rc == OK)
        rc = await(d, start, &f, e);
    if (rc == OK) {
        show(&f, first);
        if (first)
            d->status[at] = (int)f.status;
        d->played++;
    }
    json_free(f.extra);
    return rc;
}

/* ---- the whole ---- */
static int verdict(const struct demo *d)
{
    return demo_verdict(d->status[0], d->status[N_ACTS - 1]);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at; /* all goes */
    return remove(path);
}

static rc_t make_folder(struct demo *d, struct err *e)
{
    const char *tmp = getenv("TMPDIR");
    if (*d->o->data_dir) {
        d->folder = arena_dup(&d->mem, d->o->data_dir, strlen(d->o->data_dir));
        return folder_make(d->folder, e);
    }
    d->folder = arena_printf(&d->mem, "%s/modelmon-demo-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    return mkdtemp(d->folder) ? OK : err_set(e, E_FATAL, "%s: %s", d->folder, strerror(errno));
}

static rc_t start(struct demo *d, struct err *e)
{
    const char *dir = arena_printf(&d->mem, "DATA_DIR=%s", d->folder),
               *port = arena_printf(&d->mem, "HTTP_PORT=%s", d->o->port);
    const char *const settings[] = {dir,
                                    port,
                                    "HTTP_ADDR=127.0.0.1",
                                    "LATENESS=500ms",
                                    "LAKE_AGE=2s",
                                    "DATABASE_URL",
                                    "DATABASE_URL_FILE",
                                    "KAFKA_BROKERS",
                                    "REDIS_URL",
                                    "REDIS_URL_FILE",
                                    "LAKE_DIR",
                                    NULL};
    rc_t rc = child_start(&d->child, d->folder, settings, &d->mem, e);
    if (rc == OK)
        rc = make_project(d, e);
    if (rc == OK)
        rc = make_endpoint(d, e);
    return rc ? rc : send_training(d, e);
}

static rc_t tell(struct demo *d, struct err *e)
{
    rc_t rc = start(d, e);
    if (rc == OK)
        printf("A model that judges a penguin's mass, trained on %zu Adelie penguins.\n", d->penguins.n_training);
    while (rc == OK && !(d->o->exit && d->played == N_ACTS)) {
        rc = play(d, e);
        if (rc != OK || d->played != N_ACTS)
            continue;
        printf("\n%s", verdict(d) == TOOL_DONE ? "Drift found." : "That was not expected.");
        if (d->o->exit)
            printf(" Without --demo-exit (DEMO_EXIT=1) there is a page to look at.\n");
        else
            printf(" Look at it: %s/ui/p/" PROJECT "/endpoints/%s\nIt goes on, window by window, until Ctrl-C.\n\n",
                   d->child.url, d->uid);
        (void)fflush(stdout); /* likewise */
    }
    return rc;
}

static int run(const void *opts, char *const *operands, size_t n)
{
    struct demo d = {.o = opts, .status = {STATUS_IRRELEVANT, STATUS_IRRELEVANT, STATUS_IRRELEVANT}};
    struct err e = {{0}};
    (void)operands, (void)n; /* there are none */
    penguins_load(&d.penguins, &d.mem);
    rc_t rc = make_folder(&d, &e);
    if (rc == OK)
        rc = tell(&d, &e);
    if (rc && !d.child.interrupted && d.child.log && d.child.pid == 0)
        child_words(&d.child, &e);
    int code = rc == OK || d.child.interrupted ? TOOL_DONE : client_fail("demo", &e);
    child_stop(&d.child);
    if (!*d.o->data_dir && d.folder)
        (void)nftw(d.folder, remove_one, 16, FTW_DEPTH | FTW_PHYS); /* what stays is in a folder for temporary files */
    if (d.o->exit && code == TOOL_DONE)
        code = verdict(&d);
    arena_done(&d.mem);
    return code;
}

const struct verb verb_demo = {
    .name = "demo",
    .operands = "",
    .summary = "Shows the whole story: a model is served, its inputs drift, modelmon says so.",
    .notes = "All of it is `modelmon run` over a temporary folder and real requests; Ctrl-C ends it and deletes the "
             "folder.\n"
             "Exit codes: 0 done, 1 failed, 2 wrong usage; with --demo-exit 0 only if drift was found where it is.",
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .opts_size = sizeof(struct demo_options),
    .run = run,
};
