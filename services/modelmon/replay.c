/* modelmon replay: a file's events, or its rows made events, to a stream service or a topic.
 * A file whose first character is '{' holds events, one a line, sent as they are; any other is rows (CSV, Parquet). */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/time.h"
#include "bus/bus.h"
#include "client.h"
#include "files.h"
#include "json/write.h"
#include "lake/table.h"
#include "term.h"

#define BATCH_BYTES ((size_t)256 << 10)
#define PATIENCE_US (30 * USEC_PER_SEC) /* with a server that says: later */
#define LINE_MAX_BYTES ((size_t)2 << 20)

struct replay_options {
    const char *to, *model, *outputs, *when;
    struct client api; /* its token */
    double speed;
};
#define AT(field) offsetof(struct replay_options, field)
static const struct config_key keys[] = {
    {.env = "TO",
     .def = CLIENT_URL_DEFAULT,
     .type = CONFIG_STR,
     .flags = CONFIG_REQUIRED | CONFIG_FLAG,
     .offset = AT(to),
     .help = "http://HOST:PORT/PROJECT, or kafka://HOST:PORT/TOPIC."},
    {.env = "MODEL",
     .def = "model",
     .type = CONFIG_STR,
     .flags = CONFIG_REQUIRED | CONFIG_FLAG,
     .offset = AT(model),
     .help = "Whose requests rows are."},
    {.env = "OUTPUTS",
     .def = "",
     .type = CONFIG_STR,
     .flags = CONFIG_FLAG,
     .offset = AT(outputs),
     .help = "Columns of rows that are what the model answered, a,b."},
    {.env = "WHEN", .def = "", .type = CONFIG_STR, .flags = CONFIG_FLAG, .offset = AT(when), .help = "The column of rows that says when the request was: 2025-01-31T00:00:00Z, or seconds since 1970; else it is now."},
    {.env = "SPEED",
     .def = "0",
     .type = CONFIG_F64,
     .flags = CONFIG_FLAG,
     .min = 0,
     .max = 100000000,
     .offset = AT(speed),
     .help = "Events a second; 0: as fast as they are taken."},
    CLIENT_TOKEN_KEY(struct replay_options, api),
};

struct replay {
    const struct replay_options *o;
    struct buf batch;
    size_t in_batch, sent;
    size_t at, total; /* how far in the file: bytes of lines, or rows; total 0: not known */
    int64_t accepted, rejected;
    bool misused; /* an option is wrong: nothing was tried */
    struct err first_reject;
    char *api, *path; /* HTTP */
    struct bus_producer *producer;
    const char *topic;
    atomic_llong delivered, undelivered;
    struct term_progress progress;
    int64_t began_us;
    struct arena names;
    struct str *outputs;
    size_t n_outputs;
    const struct lake_table_column *columns;
    bool *is_output;
    size_t when; /* its column; behind the last: none */
};

static void sleep_us(int64_t us)
{
    struct timespec ts = {.tv_sec = us / USEC_PER_SEC, .tv_nsec = us % USEC_PER_SEC * 1000};
    (void)nanosleep(&ts, NULL); /* woken early: a little faster */
}

/* ---- the two ways out ---- */
static void take_counts(struct replay *r, const struct json *answer)
{
    int64_t accepted = (int64_t)r->in_batch, rejected = 0;
    struct str words = STR("");
    struct err ignored;
    if (json_opt_i64(answer, "accepted", &accepted, &ignored) != OK ||
        json_opt_i64(answer, "rejected", &rejected, &ignored) != OK)
        rejected = 0;
    if (rejected && !r->rejected && json_opt_str(json_first(json_get(answer, "errors")), "detail", &words, &ignored) == OK)
        (void)err_set(&r->first_reject, E_INVALID, "%.*s", STR_FMT(words));
    r->accepted += accepted;
    r->rejected += rejected;
}

static rc_t post(struct replay *r, struct err *e)
{
    int64_t until = clock_mono_us() + PATIENCE_US, status = 0;
    for (;;) {
        CLEANUP(json_freep) struct json *answer = NULL;
        struct err ignored;
        rc_t rc = client_call(&(struct client){.url = r->api, .token = r->o->api.token}, "POST", r->path,
                              buf_str(&r->batch), 503, &answer, e);
        if (rc == E_AGAIN)
            return err_set(e, rc, "nobody answers at %s: start `modelmon run`, or give another --to", r->api);
        if (rc && rc != E_LIMIT)
            return rc;
        status = 0;
        bool away = json_i64(json_get(answer, "status"), &status, &ignored) == OK && status == 503;
        if (rc == OK && !away) {
            take_counts(r, answer);
            return OK;
        }
        if (clock_mono_us() > until)
            return err_set(e, E_AGAIN,
                           "it answered 503 or 429 for 30 s: `modelmon status` says why; %" PRId64 " events are in",
                           r->accepted);
        sleep_us(USEC_PER_SEC / 5);
    }
}

static void delivered(void *arg, rc_t rc, const char *words)
{
    struct replay *r = arg;
    (void)words;
    atomic_fetch_add(rc == OK ? &r->delivered : &r->undelivered, 1);
}

static rc_t produce(struct replay *r, struct err *e)
{
    for (size_t at = 0; at < r->batch.len;) {
        const char *line = r->batch.data + at, *end = memchr(line, '\n', r->batch.len - at);
        struct str value = {line, (size_t)(end - line)};
        rc_t rc;
        while ((rc = bus_produce(r->producer, r->topic, (struct str){0}, value, NULL, 0, delivered, r, e)) == E_AGAIN)
            sleep_us(USEC_PER_MSEC);
        if (rc)
            return rc;
        at += value.n + 1;
    }
    return OK;
}

static rc_t flush(struct replay *r, struct err *e)
{
    if (r->in_batch == 0)
        return OK;
    rc_t rc = r->producer ? produce(r, e) : post(r, e);
    r->sent += r->in_batch;
    r->in_batch = 0;
    buf_clear(&r->batch);
    term_progress(&r->progress, r->total ? (double)r->at / (double)r->total : 0, r->sent);
    return rc;
}

/* One event is in the batch, its line ended. */
static rc_t added(struct replay *r, struct err *e)
{
    r->in_batch++;
    double speed = r->o->speed;
    size_t most = speed > 0 && speed < 5000 ? (size_t)(speed / 10) + 1 : 500;
    if (r->in_batch < most && r->batch.len < BATCH_BYTES)
        return OK;
    rc_t rc = flush(r, e);
    int64_t ahead = speed > 0 ? r->began_us + (int64_t)((double)r->sent / speed * 1e6) - clock_mono_us() : 0;
    if (rc == OK && ahead > 0)
        sleep_us(ahead);
    return rc;
}

/* ---- the two kinds of files ---- */
static rc_t replay_lines(struct replay *r, FILE *f, const char *path, struct err *e)
{
    char *line = NULL;
    size_t cap = 0, number = 0;
    struct stat st;
    rc_t rc = OK;
    if (fstat(fileno(f), &st) == 0)
        r->total = (size_t)st.st_size;
    for (ssize_t n; rc == OK && (n = getline(&line, &cap, f)) > 0;) {
        number++;
        r->at += (size_t)n;
        while (n > 0 && strchr("\r\n \t", line[n - 1]))
            n--;
        if (n == 0)
            continue;
        if ((size_t)n > LINE_MAX_BYTES) {
            rc = err_set(e, E_LIMIT, "%s: line %zu: longer than %zu MiB", path, number, LINE_MAX_BYTES >> 20);
            break;
        }
        buf_add(&r->batch, line, (size_t)n);
        buf_addc(&r->batch, '\n');
        rc = added(r, e);
    }
    mem_free(line);
    return rc;
}

static void add_value(struct json_writer *w, const struct lake_column *c, size_t row)
{
    if (c->missing[row])
        jw_null(w);
    else if (c->type == COLUMN_BOOL)
        jw_bool(w, c->num[row] != 0);
    else if (c->type == COLUMN_NUMBER)
        jw_f64(w, c->num[row]);
    else
        jw_str(w, c->text[row]);
}

static rc_t add_when(struct replay *r, struct json_writer *w, const struct lake_batch *b, size_t row, struct err *e)
{
    char text[TIME_TEXT];
    int64_t us = 0;
    if (r->when >= b->n_cols)
        return OK;
    const struct lake_column *c = &b->cols[r->when];
    bool good = !c->missing[row];
    if (good && c->type == COLUMN_NUMBER && (good = c->num[row] >= 0 && c->num[row] < 253402300800.0))
        us = (int64_t)(c->num[row] * 1e6);
    else if (good)
        good = c->type == COLUMN_STRING && time_parse(c->text[row], 0, &us) == OK;
    if (!good)
        return err_set(e, E_INVALID, "--when: a row's %s is no instant: 2025-01-31T00:00:00Z, or seconds since 1970",
                       r->columns[r->when].name);
    jw_key(w, "when");
    jw_str(w, (struct str){text, time_rfc3339(text, us)});
    return OK;
}

static bool is_input(const struct replay *r, size_t i)
{
    return !r->is_output[i] && i != r->when;
}

static rc_t add_row(struct replay *r, const struct lake_batch *b, size_t row, struct err *e)
{
    struct json_writer w;
    const size_t before = r->batch.len;
    jw_init(&w, &r->batch, JSON_NAN_NULL);
    jw_object(&w);
    jw_kv_strz(&w, "model", r->o->model);
    rc_t rc = add_when(r, &w, b, row, e);
    if (rc) {
        r->batch.data[r->batch.len = before] = '\0'; /* what is in it before this row is still sent */
        return rc;
    }
    jw_key(&w, "columns");
    jw_array(&w);
    for (size_t i = 0; i < b->n_cols; i++)
        if (is_input(r, i))
            jw_str(&w, str_of(r->columns[i].name));
    jw_array_end(&w);
    jw_key(&w, "data");
    jw_array(&w);
    jw_array(&w);
    for (size_t i = 0; i < b->n_cols; i++)
        if (is_input(r, i))
            add_value(&w, &b->cols[i], row);
    jw_array_end(&w);
    jw_array_end(&w);
    jw_key(&w, "outputs");
    jw_array(&w);
    jw_object(&w); /* by name, as the header has them */
    for (size_t i = 0; i < b->n_cols; i++)
        if (r->is_output[i]) {
            jw_key(&w, r->columns[i].name);
            add_value(&w, &b->cols[i], row);
        }
    jw_object_end(&w);
    jw_array_end(&w);
    jw_object_end(&w);
    buf_addc(&r->batch, '\n');
    return OK;
}

static rc_t take_batch(void *arg, const struct lake_batch *b, struct err *e)
{
    struct replay *r = arg;
    rc_t rc = OK;
    for (size_t i = 0; rc == OK && i < b->n_rows; i++) {
        r->at++;
        rc = add_row(r, b, i, e);
        rc = rc ? rc : added(r, e);
    }
    return rc == E_AGAIN ? err_prefix(e, E_UNKNOWN, "%s", "") : rc; /* again is for other types of columns alone */
}

static rc_t replay_rows(struct replay *r, const char *path, struct err *e)
{
    struct lake_table *t = NULL;
    rc_t rc = files_open_table(&t, path, e);
    if (rc)
        return rc;
    size_t n = lake_table_columns(t, &r->columns), found = 0;
    r->is_output = arena_array(&r->names, n + 1, sizeof *r->is_output);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < r->n_outputs; k++)
            if (str_eqz(r->outputs[k], r->columns[i].name)) {
                r->is_output[i] = true;
                found++;
            }
    r->when = *r->o->when ? lake_table_find(t, r->o->when) : n;
    if (*r->o->when && (r->when == n || r->is_output[r->when]))
        rc = err_set(e, E_INVALID, "%s: --when: there is no column %s beside the outputs", path, r->o->when);
    else if (found != r->n_outputs || found == 0 || found + (r->when < n) == n)
        rc = err_set(e, E_INVALID, "%s: --outputs must name some of its columns, and leave some that are inputs", path);
    r->misused = rc != OK;
    r->total = rc == OK && r->progress.on ? lake_table_count(t) : 0;
    if (rc == OK)
        rc = lake_table_read(t, take_batch, r, e);
    lake_table_free(t);
    return rc == E_AGAIN ? err_prefix(e, E_INVALID, "after %zu events: ", r->sent) : rc;
}

/* ---- where to ---- */
static rc_t open_target(struct replay *r, struct err *e)
{
    const char *to = r->o->to, *rest = strstr(to, "://"), *slash = rest ? strchr(rest + 3, '/') : NULL;
    bool known = strncmp(to, "http://", 7) == 0 || strncmp(to, "https://", 8) == 0 || strncmp(to, "kafka://", 8) == 0;
    if (!known || slash == NULL || slash[1] == '\0' || strchr(slash + 1, '/')) {
        r->misused = true;
        bool http = known && *to == 'h' && (slash == NULL || slash[1] == '\0');
        if (http)
            return err_set(e, E_INVALID, "--to: the project is missing: --to %s%sPROJECT", to, slash ? "" : "/");
        return err_set(e, E_INVALID, "--to: http://HOST:PORT/PROJECT or kafka://HOST:PORT/TOPIC is wanted, not %s", to);
    }
    r->path = mem_dupz(slash);
    if (strncmp(to, "kafka://", 8) != 0) {
        r->api = mem_dup(to, (size_t)(slash - to));
        return OK;
    }
    r->api = mem_dup(to + 8, (size_t)(slash - to) - 8);
    r->topic = r->path + 1;
    return bus_producer_open(&r->producer, &(struct bus_config){.brokers = r->api}, e);
}

static rc_t finish(struct replay *r, struct err *e)
{
    rc_t rc = flush(r, e);
    if (rc == OK && r->producer)
        rc = bus_flush(r->producer, PATIENCE_US, e);
    bus_producer_free(r->producer);
    if (r->producer) {
        r->accepted = atomic_load(&r->delivered);
        r->rejected = atomic_load(&r->undelivered);
        (void)err_set(
            &r->first_reject, E_AGAIN,
            "the broker did not take them to %s: a project's topic is made with the project, modelmon project NAME",
            r->topic);
    }
    r->producer = NULL;
    return rc;
}

static int report(const struct replay *r, rc_t rc, const struct err *e)
{
    double seconds = (double)(clock_mono_us() - r->began_us) / 1e6;
    if (r->misused) {
        (void)client_fail("replay", e);
        return TOOL_USAGE;
    }
    (void)printf("%" PRId64 " events accepted, %" PRId64 " rejected, in %.1f s (%.0f/s)\n", r->accepted, r->rejected,
                 seconds, seconds > 0 ? (double)r->accepted / seconds : 0);
    if (rc)
        return client_fail("replay", e);
    if (r->rejected)
        return client_fail("replay", &r->first_reject);
    return fflush(stdout) == 0 ? TOOL_DONE : TOOL_FAILED;
}

static int run(const void *opts, char *const *operands, size_t n)
{
    struct replay r = {.o = opts, .began_us = clock_mono_us()};
    struct err e = {{0}};
    (void)n; /* it is one */
    FILE *f = fopen(operands[0], "rbe");
    int first = f ? fgetc(f) : EOF;
    files_split(r.o->outputs, &r.names, &r.outputs, &r.n_outputs);
    term_progress_begin(&r.progress, "replay");
    rc_t rc = f ? open_target(&r, &e) : err_set(&e, E_NOTFOUND, "%s: No such file", operands[0]);
    if (rc == OK && first == '{' && ungetc(first, f) != EOF)
        rc = replay_lines(&r, f, operands[0], &e);
    else if (rc == OK)
        rc = replay_rows(&r, operands[0], &e);
    if (f)
        (void)fclose(f); /* only read */
    struct err at_end = {{0}};
    rc_t end = finish(&r, rc ? &at_end : &e);
    rc = rc ? rc : end;
    term_progress_end(&r.progress, r.sent);
    int code = report(&r, rc, &e);
    mem_free(r.api);
    mem_free(r.path);
    buf_done(&r.batch);
    arena_done(&r.names);
    return code;
}

const struct verb verb_replay = {
    .name = "replay",
    .operands = "FILE",
    .summary = "Sends a file's events, or its rows as events.",
    .notes = "  modelmon replay today.csv --to http://127.0.0.1:8080/shop --model price --outputs y\n"
             "  modelmon replay events.ndjson --to kafka://127.0.0.1:9092/monitoring_stream_modelmon_shop_v1\n\n"
             "Exit codes: 0 all are in, 1 some are not, 2 wrong usage.",
    .operands_min = 1,
    .operands_max = 1,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .opts_size = sizeof(struct replay_options),
    .run = run,
};
