/* modelmon status: each stage, from what is kept; and what /readyz says, where somebody answers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/time.h"
#include "client.h"
#include "folder.h"
#include "json/write.h"
#include "kept.h"
#include "stages.h"
#include "term.h"

struct status_options {
    struct client api;
    struct kept_options kept;
    struct bus_config bus;
    int64_t patience_us;
    bool json;
};
#define AT(field) .offset = offsetof(struct status_options, field)
static const struct config_key keys[] = {
    CLIENT_KEYS(struct status_options, api),
    KEPT_KEYS(offsetof(struct status_options, kept)),
    {.env = "KAFKA_BROKERS",
     .def = "",
     .type = CONFIG_STR,
     AT(bus.brokers),
     .help =
         "The brokers, where the ends of topics are asked; empty: the log in DATA_DIR, or what the ledger last saw."},
    {.env = "KAFKA_OPTIONS", .def = "", .type = CONFIG_STR, .flags = CONFIG_SECRET, AT(bus.extra), .help = "As the services have it."},
    {.env = "PATIENCE",
     .def = "0",
     .type = CONFIG_DURATION,
     .flags = CONFIG_FLAG,
     AT(patience_us),
     .max = 7 * USEC_PER_DAY,
     .help = "A stage that has not moved for this long while something waits is stalled; 0: 1 to 5 minutes."},
    {.env = "JSON", .def = "false", .type = CONFIG_BOOL, .flags = CONFIG_FLAG, AT(json), .help = "All of it as JSON."},
};

struct seen {
    struct arena a;
    struct stage *stages;
    size_t n;
    struct err kept, bus, api; /* why there are no stages, no ends of topics, no answer; empty: there are */
    struct json *ready;        /* the answer of /readyz */
    bool none;                 /* nothing is kept where it was looked for */
};

/* ---- looking ---- */
static bool ends_wanted(const struct status_options *o, struct bus_config *bus, struct arena *a)
{
    *bus = o->bus;
    if (*bus->brokers)
        return true;
    char *whole = *o->kept.database_url ? NULL : realpath(o->kept.data_dir, NULL);
    bool local = whole != NULL;
    if (local)
        bus->brokers = arena_printf(a, "local:%s/log", whole);
    free(whole);
    return local;
}

/* The folder that lies here by chance is not that of a server somewhere. */
static bool is_of_another(const struct status_options *o)
{
    return strcmp(o->api.url, CLIENT_URL_DEFAULT) != 0 && strcmp(o->kept.data_dir, KEPT_FOLDER_DEFAULT) == 0 &&
           !*o->kept.database_url && !folder_is_at(o->kept.data_dir, o->api.url);
}

static void look_at_kept(const struct status_options *o, struct seen *s)
{
    struct db *db = NULL;
    struct lake_config lake; /* not read here */
    struct bus_config bus;
    if (is_of_another(o)) {
        (void)err_set(
            &s->kept, E_NOTFOUND,
            "whether %s is the folder of %s is not known: set DATA_DIR, or DATABASE_URL and KAFKA_BROKERS, of that one",
            o->kept.data_dir, o->api.url);
        s->none = true;
        return;
    }
    rc_t rc = kept_open(&o->kept, &s->a, &db, &lake, &s->kept);
    s->none = rc == E_NOTFOUND && !*o->kept.database_url;
    if (rc)
        return;
    const struct stages_from from = {
        .db = db, .bus = ends_wanted(o, &bus, &s->a) ? &bus : NULL, .patience_us = o->patience_us};
    if (stages_load(&from, &s->a, &s->stages, &s->n, &s->bus, &s->kept) == OK)
        s->kept.text[0] = '\0';
    db_free(db);
}

static void look_at_ready(const struct status_options *o, struct seen *s)
{
    struct str ignored = {0};
    rc_t rc = client_call(&o->api, "GET", "/readyz", (struct str){0}, 503, &s->ready, &s->api);
    if (!rc)
        rc = json_need_str(s->ready, "status", &ignored, &s->api);
    if (rc) {
        json_free(s->ready);
        s->ready = NULL;
    }
}

static bool is_fine(const struct json *d)
{
    return str_eqz(client_text(d, "state"), "ok");
}

static bool needs_hand(const struct seen *s)
{
    bool hand = !s->ready || s->bus.text[0] || (s->kept.text[0] && !s->none) ||
                str_eqz(client_text(s->ready, "status"), "draining");
    for (size_t i = 0; i < s->n; i++)
        hand = hand || s->stages[i].hand;
    for (const struct json *d = json_first(json_get(s->ready, "dependencies")); d; d = json_next(d))
        hand = hand || !is_fine(d);
    return hand;
}

/* ---- as JSON ---- */
static void write_time(struct json_writer *w, const char *key, int64_t us)
{
    char text[TIME_TEXT];
    if (us)
        (void)time_rfc3339(text, us); /* its length is not needed */
    jw_kv_strz(w, key, us ? text : NULL);
}

static void write_stage(struct json_writer *w, const struct stage *s)
{
    jw_object(w);
    jw_kv_strz(w, "stage", s->name);
    jw_kv_strz(w, "state", s->state);
    jw_kv_bool(w, "needs_a_hand", s->hand);
    jw_key(w, "lag");
    if (s->lag < 0)
        jw_null(w);
    else
        jw_i64(w, s->lag);
    write_time(w, "oldest", s->oldest_us);
    jw_kv_strz(w, "last_error", s->error);
    write_time(w, "last_error_at", s->error_us);
    jw_kv_strz(w, "next", s->next);
    jw_object_end(w);
}

static void write_all(const struct seen *s, bool hand, struct buf *out)
{
    struct json_writer w;
    jw_init(&w, out, JSON_NAN_NULL);
    jw_object(&w);
    jw_kv_strz(&w, "status", hand ? "needs_a_hand" : "ok");
    jw_key(&w, "stages");
    jw_array(&w);
    for (size_t i = 0; i < s->n; i++)
        write_stage(&w, &s->stages[i]);
    jw_array_end(&w);
    jw_kv_strz(&w, "stages_error", s->kept.text[0] ? s->kept.text : NULL);
    jw_kv_strz(&w, "topics_error", s->bus.text[0] ? s->bus.text : NULL);
    jw_kv_strz(&w, "ready_error", s->ready ? NULL : s->api.text);
    jw_key(&w, "ready");
    if (s->ready) {
        CLEANUP(buf_done) struct buf text = {0};
        json_print(s->ready, JSON_NAN_NULL, &text);
        jw_raw(&w, buf_str(&text));
    } else {
        jw_null(&w);
    }
    jw_object_end(&w);
    buf_addc(out, '\n');
}

/* ---- as a table ---- */
#define SINCE_WIDTH 33

/* "2026-01-31T12:00:05Z, 3 min ago" */
static void add_since(struct buf *out, int64_t us, int64_t now_us, size_t width)
{
    CLEANUP(buf_done) struct buf text = {0};
    char when[TIME_TEXT];
    int64_t s = (now_us - us) / USEC_PER_SEC;
    (void)time_rfc3339(when, us); /* its length is not needed */
    if (us)
        buf_addf(&text, "%.19sZ", when); /* to the second */
    else
        buf_addz(&text, "-");
    if (us && s < 120)
        buf_addf(&text, ", %lld s ago", (long long)(s > 0 ? s : 0));
    else if (us && s < 7200)
        buf_addf(&text, ", %lld min ago", (long long)(s / 60));
    else if (us)
        buf_addf(&text, ", %lld h ago", (long long)(s / 3600));
    term_add_cell(out, buf_str(&text), width);
}

static void add_stage(struct buf *out, const struct stage *s, int64_t now_us)
{
    CLEANUP(buf_done) struct buf lag = {0};
    buf_addf(&lag, "%lld", (long long)s->lag);
    term_add_cell(out, str_of(s->name), 26);
    term_add_cell(out, str_of(s->state), 8);
    term_add_cell(out, s->lag < 0 ? STR("-") : buf_str(&lag), 8);
    add_since(out, s->oldest_us, now_us, SINCE_WIDTH);
    if (s->error) {
        if (s->error_us)
            add_since(out, s->error_us, now_us, SINCE_WIDTH);
        buf_addz(out, s->error);
    }
    while (out->len && out->data[out->len - 1] == ' ')
        out->len--;
    buf_addc(out, '\n');
    if (s->next)
        buf_addf(out, "    %s\n", s->next);
}

static void add_stages(struct buf *out, const struct seen *s)
{
    if (s->n) {
        term_add_cell(out, STR("stage"), 26);
        term_add_cell(out, STR("state"), 8);
        term_add_cell(out, STR("waiting"), 8);
        term_add_cell(out, STR("oldest"), SINCE_WIDTH);
        buf_addz(out, "last error\n");
    }
    for (size_t i = 0; i < s->n; i++)
        add_stage(out, &s->stages[i], clock_now_us());
    if (s->kept.text[0])
        buf_addf(out, "stages are not known: %s\n", s->kept.text);
    if (s->bus.text[0])
        buf_addf(out, "the ends of the topics are not known: %s\n", s->bus.text);
}

static void add_ready(struct buf *out, const struct seen *s, const char *api)
{
    if (!s->ready) {
        buf_addf(out, "\n%s\n", s->api.text);
        return;
    }
    buf_addf(out, "\n%s: %.*s\n", api, STR_FMT(client_text(s->ready, "status")));
    for (const struct json *d = json_first(json_get(s->ready, "dependencies")); d; d = json_next(d)) {
        struct str name = client_text(d, "name"), state = client_text(d, "state"), since = client_text(d, "since"),
                   detail = client_text(d, "detail");
        if (!is_fine(d))
            buf_addf(out, "    %.*s is %.*s since %.*s: %.*s\n", STR_FMT(name), STR_FMT(state), STR_FMT(since),
                     STR_FMT(detail));
    }
}

static int run(const void *opts, char *const *operands, size_t n)
{
    const struct status_options *o = opts;
    struct seen s = {0};
    struct buf out = {0};
    (void)operands, (void)n; /* there are none */
    look_at_kept(o, &s);
    look_at_ready(o, &s);
    if (!s.ready && s.none) {
        arena_done(&s.a);
        return client_fail("status", &s.api);
    }
    bool hand = needs_hand(&s);
    if (o->json) {
        write_all(&s, hand, &out);
    } else {
        add_stages(&out, &s);
        add_ready(&out, &s, o->api.url);
        buf_addz(&out, hand ? "\nsomething needs a hand\n" : "\nok\n");
    }
    int code = term_put(&out);
    json_free(s.ready);
    arena_done(&s.a);
    return code == TOOL_DONE && hand ? TOOL_FAILED : code;
}

const struct verb verb_status = {
    .name = "status",
    .operands = "",
    .summary = "Says how each stage is: what waits, since when, the last error, what to do next.",
    .notes = "Reads what is kept in DATA_DIR, or at DATABASE_URL and KAFKA_BROKERS, whether anything runs or not; and "
             "/readyz at\n"
             "API_URL. States: ok; behind (it works on it); stalled, stopped, failing, unserved (they need a hand); "
             "apart (an "
             "app that\n"
             "keeps its own offsets).\n\n"
             "Exit codes: 0 fine, 1 something needs a hand, 2 wrong usage.",
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .opts_size = sizeof(struct status_options),
    .run = run,
};
