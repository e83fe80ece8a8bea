/* modelmon ledger: where each pipeline is in each partition, and an operator's word for what stands still. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/num.h"
#include "client.h"
#include "json/write.h"
#include "operator.h"
#include "term.h"

struct ledger_options {
    struct client api;
    const char *to;
    bool json, all, yes, force;
};
#define AT(field) .offset = offsetof(struct ledger_options, field)
static const struct config_key keys[] = {
    {.env = "JSON", .def = "false", .type = CONFIG_BOOL, .flags = CONFIG_FLAG, AT(json), .help = "show: the rows as JSON."},
    {.env = "ALL", .def = "false", .type = CONFIG_BOOL, .flags = CONFIG_FLAG, AT(all), .help = "show: partitions too that nothing has come to."},
    {.env = "TO", .def = "", .type = CONFIG_STR, .flags = CONFIG_FLAG, AT(to), .help = "skip: where to go on: an offset, low or high."},
    {.env = "YES", .def = "false", .type = CONFIG_BOOL, .flags = CONFIG_FLAG, AT(yes), .help = "skip: without asking."},
    {.env = "FORCE",
     .def = "false",
     .type = CONFIG_BOOL,
     .flags = CONFIG_FLAG,
     AT(force),
     .help =
         "skip: a partition that does not stand still too. Its owner drops what is not committed and goes on there."},
    CLIENT_KEYS(struct ledger_options, api),
};

static void add_number(struct buf *out, const struct json *row, const char *key)
{
    char text[24] = "-";
    int64_t v = -1;
    struct err ignored;
    if (json_opt_i64(row, key, &v, &ignored) == OK && v >= 0)
        (void)snprintf(text, sizeof text, "%" PRId64, v);
    term_add_cell(out, str_of(text), 10);
}

/* What to do next, of a row that has something to be done. */
static void add_advice(struct buf *out, const struct json *row)
{
    struct str stopped = client_text(row, "stopped"), pipeline = client_text(row, "pipeline"),
               topic = client_text(row, "topic");
    int64_t partition = 0;
    struct err ignored;
    if (json_opt_i64(row, "partition", &partition, &ignored) != OK)
        partition = 0;
    if (stopped.n == 0)
        return;
    struct str words = client_text(row, "last_error");
    buf_addf(out, "    %.*s: %.*s\n    ", STR_FMT(stopped), STR_FMT(words));
    operator_add_skip(out, pipeline, topic, partition);
    buf_addc(out, '\n');
}

static int64_t number_of(const struct json *row, const char *key)
{
    int64_t v = -1;
    struct err ignored;
    return json_opt_i64(row, key, &v, &ignored) == OK ? v : -1;
}

static bool is_idle(const struct json *row)
{
    return number_of(row, "next_offset") <= 0 && number_of(row, "lag") <= 0 && client_text(row, "stopped").n == 0;
}

static size_t longest(const struct json *rows, const char *key, size_t least)
{
    for (const struct json *r = json_first(rows); r; r = json_next(r))
        least = client_text(r, key).n > least ? client_text(r, key).n : least;
    return least;
}

/* Names are copied into `ledger skip`: they are never cut. */
struct widths {
    size_t pipeline, topic, owner;
};

static void add_row(struct buf *out, const struct widths *wide, const struct json *row)
{
    struct str owner = client_text(row, "owner"), frontier = client_text(row, "frontier");
    term_add_cell(out, client_text(row, "pipeline"), wide->pipeline);
    term_add_cell(out, client_text(row, "topic"), wide->topic);
    add_number(out, row, "partition");
    add_number(out, row, "next_offset");
    add_number(out, row, "lag");
    term_add_cell(out, frontier.n ? frontier : STR("-"), 27);
    term_add_cell(out, owner.n ? owner : STR("nobody"), wide->owner);
    struct str stopped = client_text(row, "stopped");
    buf_addf(out, "%.*s\n", STR_FMT(stopped));
    add_advice(out, row);
}

static int show(const struct ledger_options *o)
{
    CLEANUP(json_freep) struct json *answer = NULL;
    struct buf out = {0};
    struct err e = {{0}};
    size_t idle = 0;
    if (client_call(&o->api, "GET", "/api/v1/ledger", (struct str){0}, 0, &answer, &e) != OK)
        return client_fail("ledger", &e);
    if (o->json) {
        json_print(answer, JSON_NAN_NULL, &out);
        buf_addc(&out, '\n');
        return term_put(&out);
    }
    const struct json *rows = json_get(answer, "ledger");
    const struct widths wide = {longest(rows, "pipeline", 8), longest(rows, "topic", 5), longest(rows, "owner", 6)};
    const struct {
        const char *name;
        size_t width;
    } heads[] = {{"pipeline", wide.pipeline},
                 {"topic", wide.topic},
                 {"partition", 10},
                 {"next", 10},
                 {"lag", 10},
                 {"frontier", 27},
                 {"owner", wide.owner}};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        term_add_cell(&out, str_of(heads[i].name), heads[i].width);
    buf_addz(&out, "state\n");
    for (const struct json *r = json_first(rows); r; r = json_next(r)) {
        if (!o->all && is_idle(r))
            idle++;
        else
            add_row(&out, &wide, r);
    }
    if (idle)
        buf_addf(&out, "and %zu that nothing has come to: --all\n", idle);
    return term_put(&out);
}

static rc_t make_body(const struct ledger_options *o, char *const *operands, struct buf *body, struct err *e)
{
    struct json_writer w;
    int64_t partition = 0, to = -1;
    bool word = strcmp(o->to, "low") == 0 || strcmp(o->to, "high") == 0;
    if (num_i64_in(str_of(operands[2]), 0, INT32_MAX, &partition) != OK)
        return err_set(e, E_INVALID, "PARTITION: a number is wanted, not %s", operands[2]);
    if (!word && num_i64_in(str_of(o->to), 0, INT64_MAX, &to) != OK)
        return err_set(e, E_INVALID, "--to: an offset, low or high is wanted");
    jw_init(&w, body, JSON_NAN_NULL);
    jw_object(&w);
    jw_kv_strz(&w, "pipeline", operands[0]);
    jw_kv_strz(&w, "topic", operands[1]);
    jw_kv_i64(&w, "partition", partition);
    if (word)
        jw_kv_strz(&w, "to", o->to);
    else
        jw_kv_i64(&w, "to", to);
    jw_kv_bool(&w, "force", o->force);
    operator_add_who(&w);
    jw_object_end(&w);
    return OK;
}

static int skip(const struct ledger_options *o, char *const *operands)
{
    CLEANUP(json_freep) struct json *answer = NULL;
    CLEANUP(buf_done) struct buf body = {0};
    struct err e = {{0}};
    int64_t from = -1;
    if (make_body(o, operands, &body, &e) != OK) {
        (void)client_fail("ledger", &e);
        return TOOL_USAGE;
    }
    if (!o->yes && !operator_agrees("Records that are skipped have no effect, ever. %s, %s [%s] goes on at %s?",
                                    operands[0], operands[1], operands[2], o->to))
        return TOOL_FAILED;
    if (client_call(&o->api, "POST", "/api/v1/ledger/skip", buf_str(&body), 0, &answer, &e) != OK)
        return client_fail("ledger", &e);
    if (json_opt_i64(answer, "from", &from, &e) != OK)
        from = -1;
    return printf("%s, %s [%s]: from %" PRId64 " to %s\n", operands[0], operands[1], operands[2], from, o->to) > 0
               ? TOOL_DONE
               : TOOL_FAILED;
}

static int run(const void *opts, char *const *operands, size_t n)
{
    if (n == 1 && strcmp(operands[0], "show") == 0)
        return show(opts);
    if (n == 4 && strcmp(operands[0], "skip") == 0)
        return skip(opts, operands + 1);
    (void)fprintf(stderr, "modelmon ledger: show, or skip PIPELINE TOPIC PARTITION --to WHERE\n");
    return TOOL_USAGE;
}

const struct verb verb_ledger = {
    .name = "ledger",
    .operands = "show | skip PIPELINE TOPIC PARTITION",
    .summary = "Where each pipeline is, what stands still; has that go on.",
    .notes = "  modelmon ledger show\n  modelmon ledger skip statistics monitoring_stream_modelmon_shop_v1 3 --to low",
    .operands_min = 1,
    .operands_max = 4,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .opts_size = sizeof(struct ledger_options),
    .run = run,
};
