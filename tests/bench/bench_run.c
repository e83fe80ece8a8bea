/* The embedded default, `modelmon run` with local bus, SQLite and memory cache, fed by NDJSON.
 *
 *   embedded_events:   events a second, from the first POST until every event is in slots and in the lake, the client on the same cores
 *   embedded_cpu:      CPU per event of that process, all services in it, against the stream service over Kafka and PostgreSQL
 *                      in the same run, whose servers are not counted; both to the same end
 *   embedded_rss_idle: VmRSS after ten seconds without a request
 *   embedded_rss_10k:  VmHWM over a load of 10 000 endpoints, each a model with columns and a reference of its own, until
 *                      every event is in slots and in the lake
 * Rounds of the two paths take turns; a line has their medians. With the argument `memory` the two of memory alone are measured;
 * a number behind it is how many models they are of. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "http/client.h"
#include "load.h"
#include "scene.h"

enum { CONNECTIONS = 64, LINES = 100, FEW = 10, MANY = 10000, ID_DIGITS = 16 };
#define DRAIN_US (600 * USEC_PER_SEC)
#define IDLE_S 10

struct path {
    const char *name;
    struct scene *scene;
    struct process process;
    struct db *db;
    size_t endpoints, models, sent; /* sent: events, of all rounds */
    bool embedded;
    char dir[400], project[40];
};
struct bench {
    struct scene scene;
    struct buf head, lines; /* of a request; LINES events whose ids are still to be set */
    size_t uid_at[LINES], id_at[LINES];
    size_t per_round, rss_events;
};
struct feed {
    const struct bench *b;
    size_t first, endpoints;
};
struct measured {
    double rate, cpu_us;
};

/* ---- requests: no two events are the same, so none is a repeat ---- */

static void put_hex(char *last16, uint64_t v)
{
    for (int i = ID_DIGITS - 1; i >= 0; i--, v >>= 4)
        last16[i] = "0123456789abcdef"[v & 15];
}

static size_t place_of(const struct buf *lines, size_t from, const char *key, size_t skip)
{
    const char *at = strstr(lines->data + from, key);
    if (!at)
        scene_die("an event", "it is not as it was");
    return (size_t)(at - lines->data) + strlen(key) + skip;
}

static void make_lines(struct bench *b)
{
    for (size_t i = 0; i < LINES; i++) {
        size_t from = b->lines.len;
        scene_event(&b->lines, &b->scene, i);
        b->uid_at[i] = place_of(&b->lines, from, "\"endpoint_id\":\"", ID_DIGITS);
        b->id_at[i] = place_of(&b->lines, from, "\"resp\":{\"id\":\"", 0);
        buf_addc(&b->lines, '\n');
    }
}

static void make_request(void *arg, size_t nth, struct buf *out)
{
    const struct feed *f = arg;
    const struct bench *b = f->b;
    buf_clear(out);
    buf_add(out, b->head.data, b->head.len);
    buf_add(out, b->lines.data, b->lines.len);
    char *lines = out->data + b->head.len;
    for (size_t i = 0; i < LINES; i++) {
        size_t event = f->first + nth * LINES + i;
        put_hex(lines + b->uid_at[i], event % f->endpoints + 0xabcdef); /* as scene_uid */
        put_hex(lines + b->id_at[i], event);
    }
}

static void make_head(struct bench *b)
{
    char path[60];
    struct buf whole = {0};
    (void)snprintf(path, sizeof path, "/%s", b->scene.project);
    load_request(&whole, path, "application/x-ndjson", buf_str(&b->lines));
    buf_add(&b->head, whole.data, whole.len - b->lines.len);
    buf_done(&whole);
}

/* ---- the two paths ---- */

static void wait_until_taken(const struct path *p)
{
    char url[100];
    const char *body = "{\"kind\":\"nop_event\"}";
    const struct http_client_options options = {.reach = HTTP_REACH_LOOPBACK, .plain_ok = true};
    const struct http_call call = {.method = "POST", .url = url, .body = str_of(body), .content_type = "application/json"};
    struct http_reply reply = {0};
    struct http_client *client = NULL;
    struct err e;
    int64_t end = clock_mono_us() + 30 * USEC_PER_SEC;
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d/%s", p->process.port, p->scene->project);
    scene_need(http_client_new(&client, &options, &e), "HTTP client", &e);
    while (http_client_call(client, &call, &reply, &e) || reply.status != 202) {
        if (clock_mono_us() > end)
            scene_die(p->name, "it takes no event");
        (void)usleep(50000);
    }
    buf_done(&reply.body);
    http_client_free(client);
}

/* As monitored endpoints have them: columns named after the model, and 20 bins for each, from 0 to just over 1. */
static void print_model(size_t model, struct buf *schema, struct buf *stats)
{
    double width = (1 + 1e-6 * (double)model) / 20;
    for (int f = 0; f < SCENE_FEATURES; f++) {
        buf_addf(schema, "%s{\"name\":\"m%zu_f%d\",\"type\":\"number\"}", f ? "," : "{\"features\":[", model, f);
        buf_addf(stats, "%s\"m%zu_f%d\":{\"count\":2000,\"mean\":0.5,\"std\":0.3,\"min\":0,\"max\":1,\"hist\":[[",
                 f ? "," : "{", model, f);
        for (int i = 0; i < 20; i++)
            buf_addf(stats, "%s100", i ? "," : "");
        buf_addz(stats, "],[");
        for (int i = 0; i <= 20; i++)
            buf_addf(stats, "%s%.17g", i ? "," : "", i * width);
        buf_addz(stats, "]]}");
    }
    buf_addz(schema, "],\"labels\":[{\"name\":\"y\",\"type\":\"number\"}]}");
    buf_addc(stats, '}');
}

static void add_model(struct path *p, size_t model)
{
    struct buf schema = {0}, stats = {0};
    struct err e;
    print_model(model, &schema, &stats);
    const struct db_value of_schema[] = {DBV_TEXT(buf_str(&schema)), DBV_I64((int64_t)p->models), DBV_I64((int64_t)model)};
    const struct db_value of_stats[] = {DBV_TEXT(buf_str(&stats)), of_schema[1], of_schema[2]};
    scene_need(db_exec(p->db,
                       "INSERT INTO endpoint_schemas (project_id, endpoint_id, version, document, named, created_us) "
                       "SELECT project_id, id, 1, $1, true, 1 FROM endpoints WHERE id % $2 = $3",
                       of_schema, 3, NULL, &e),
               "schemas", &e);
    scene_need(
        db_exec(p->db,
                "INSERT INTO endpoint_references (project_id, endpoint_id, version, statistics, source, created_us) "
                "SELECT project_id, id, 1, $1, 'record', 1 FROM endpoints WHERE id % $2 = $3",
                of_stats, 3, NULL, &e),
        "references", &e);
    buf_done(&schema);
    buf_done(&stats);
}

static void add_endpoints(struct path *p, int32_t project_id)
{
    struct buf sql = {0};
    struct err e;
    buf_addf(
        &sql,
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %zu) INSERT INTO endpoints "
        "(project_id, uid, name, function_name, created_us, updated_us, reference_version) SELECT %d, %s, 'm' || i, "
        "'f', 1, 1, 1 FROM n",
        p->endpoints - 1, (int)project_id,
        p->embedded ? "printf('%032x', i + 11259375)" : "lpad(to_hex(i + 11259375), 32, '0')");
    scene_need(db_exec(p->db, sql.data, NULL, 0, NULL, &e), "endpoints", &e);
    buf_done(&sql);
    for (size_t model = 0; model < p->models; model++)
        add_model(p, model);
}

/* lake: the one option that is set, and its value: what else would be waited for is not what is measured. */
static void start_embedded(struct path *p, const char *lake, const char *value)
{
    struct err e;
    char url[440];
    (void)snprintf(p->dir, sizeof p->dir, "%s/%s", p->scene->dir, p->name);
    p->process.verb = "run";
    process_start(&p->process, p->scene, "modelmon",
                  (const char *const[]){"DATABASE_URL", "", "KAFKA_BROKERS", "", "LAKE_DIR", "", "DATA_DIR", p->dir,
                                        lake, value, NULL});
    (void)snprintf(url, sizeof url, "sqlite://%s/modelmon.db", p->dir);
    struct db_config cfg = {
        .url = url, .connect_us = 3 * USEC_PER_SEC, .statement_us = 60 * USEC_PER_SEC, .app_name = (char[]){"bench"}};
    scene_need(db_open(&p->db, &cfg, &e), "database", &e);
    scene_need(db_ready(p->db, &e), "database", &e);
    add_endpoints(p, scene_project_in(p->db, p->scene->project));
    wait_until_taken(p);
}

static void start_stream(struct path *p, const char *lake_age)
{
    struct err e;
    char topic[NAME_TOPIC_MAX + 1];
    scene_need(topic_stream(topic, p->scene->system, str_of(p->scene->project), &e), "topic", &e);
    scene_topic(p->scene, topic);
    p->db = p->scene->db.db;
    add_endpoints(p, p->scene->project_id);
    process_start(&p->process, p->scene, "stream", (const char *const[]){"LAKE_AGE", lake_age, NULL});
    wait_until_taken(p);
}

static void stop(struct path *p)
{
    process_stop(&p->process);
    if (p->embedded)
        db_free(p->db);
}

static int64_t rows_in(const struct path *p, const char *table)
{
    char sql[100];
    (void)snprintf(sql, sizeof sql, "SELECT CAST(coalesce(sum(rows), 0) AS bigint) FROM %s", table);
    return testdb_number(p->db, sql);
}

static void wait_until_all_is_there(const struct path *p)
{
    static const char *const tables[] = {"slots", "manifest"};
    int64_t end = clock_mono_us() + DRAIN_US;
    for (size_t i = 0; i < 2; i++) {
        int64_t there;
        while ((there = rows_in(p, tables[i])) < (int64_t)p->sent) {
            if (clock_mono_us() > end)
                scene_die(p->name, "it did not get to the end: see its log");
            (void)usleep(20000);
        }
        if (there > (int64_t)p->sent)
            scene_die(p->name, "there are more rows than events");
    }
}

static struct measured run(const struct bench *b, struct path *p, size_t events)
{
    struct feed feed = {b, p->sent, p->endpoints};
    struct load_result r;
    struct load l = {.port = p->process.port,
                     .connections = CONNECTIONS,
                     .status = 202,
                     .total = events / LINES,
                     .make = make_request,
                     .arg = &feed};
    double began = process_cpu_us(&p->process);
    int64_t at = clock_mono_us();
    load_run(&l, &r);
    p->sent += events;
    wait_until_all_is_there(p);
    double wall = (double)(clock_mono_us() - at) * 1e-6;
    struct measured m = {(double)events / wall, (process_cpu_us(&p->process) - began) / (double)events};
    (void)fprintf(stderr, "# %s: %.0f events/s (taken at %.0f/s, p50 %.1f ms), %.2f us CPU an event\n", p->name, m.rate,
                  (double)events / r.wall_s, r.p50_ms, m.cpu_us);
    return m;
}

/* ---- what is measured ---- */

static bool throughput(struct bench *b)
{
    static const char age[] = "1s";
    double rate[SCENE_ROUNDS], ours[SCENE_ROUNDS], kafka[SCENE_ROUNDS], ratio[SCENE_ROUNDS];
    struct path run_path = {.name = "embedded", .scene = &b->scene, .endpoints = FEW, .models = 1, .embedded = true};
    struct path stream = {.name = "kafka", .scene = &b->scene, .endpoints = FEW, .models = 1};
    (void)fprintf(stderr,
                  "# %d connections, %d events of about %zu bytes a POST, %d endpoints with references, LAKE_AGE=%s, "
                  "else defaults; %d rounds of %zu events\n",
                  CONNECTIONS, LINES, b->lines.len / LINES, FEW, age, SCENE_ROUNDS, b->per_round);
    start_embedded(&run_path, "LAKE_AGE", age);
    start_stream(&stream, age);
    for (int i = -1; i < SCENE_ROUNDS; i++) { /* the first warms both up */
        int at = i < 0 ? 0 : i;
        struct measured m = run(b, &run_path, b->per_round), k = run(b, &stream, b->per_round);
        rate[at] = m.rate;
        ours[at] = m.cpu_us;
        kafka[at] = k.cpu_us;
        ratio[at] = m.cpu_us / k.cpu_us;
    }
    stop(&run_path);
    stop(&stream);
    double median = scene_median(rate, SCENE_ROUNDS), of = scene_median(ratio, SCENE_ROUNDS);
    bool ok = scene_print(&(struct scene_line){"embedded_events", "events/s", median, 0, 0, 30000, median >= 30000});
    return scene_print(&(struct scene_line){"embedded_cpu", "us CPU per event", scene_median(ours, SCENE_ROUNDS),
                                            scene_median(kafka, SCENE_ROUNDS), of, 1.5, of <= 1.5}) &&
           ok;
}

static bool memory(struct bench *b, size_t models)
{
    struct path p = {.name = "memory",
                     .scene = &b->scene,
                     .endpoints = b->scene.smoke ? FEW : MANY,
                     .models = b->scene.smoke ? FEW : models,
                     .embedded = true};
    (void)fprintf(stderr, "# memory: %zu endpoints of %zu models, %zu events, LAKE_AGE_PER_FILE=1ms, else defaults\n",
                  p.endpoints, p.models, b->rss_events);
    start_embedded(&p, "LAKE_AGE_PER_FILE", "1ms");
    (void)sleep(b->scene.smoke ? 1 : IDLE_S);
    double idle = process_memory_mib(&p.process, "VmRSS:");
    (void)run(b, &p, b->rss_events);
    double most = process_memory_mib(&p.process, "VmHWM:");
    stop(&p);
    bool ok = scene_print(&(struct scene_line){"embedded_rss_idle", "MiB", idle, 0, 0, 64, idle <= 64});
    return scene_print(&(struct scene_line){"embedded_rss_10k", "MiB at most", most, 0, 0, 256, most <= 256}) && ok;
}

int main(int argc, char **argv)
{
    static struct bench b;
    scene_open(&b.scene);
    b.per_round = b.scene.smoke ? 2000 : 300000;
    b.rss_events = b.scene.smoke ? 2000 : 200000;
    make_lines(&b);
    make_head(&b);
    bool alone = argc > 1 && strcmp(argv[1], "memory") == 0, ok = alone || throughput(&b);
    ok = memory(&b, alone && argc > 2 ? strtoul(argv[2], NULL, 10) : MANY) && ok;
    buf_done(&b.head);
    buf_done(&b.lines);
    scene_close(&b.scene);
    return ok || b.scene.smoke ? 0 : 1;
}
