/* The stream service's HTTP trigger alone (SINKS=none), events durable when answered.
 *
 *   http_trigger: CPU of the service per single POST, against a libmicrohttpd server that reads the body and answers 202
 *   http_p99:     latency of those POSTs, 64 connections that never rest
 *   http_ndjson:  events per CPU second with 100 a POST, against librdkafka's own producer with the same settings
 * CPU is user and system time of the server's process over the run, less what it uses idle. The broker has every event. */
#include <librdkafka/rdkafka.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "load.h"
#include "scene.h"

enum {
    CONNECTIONS = 64,
    BATCH_CONNECTIONS = 64,
    ROUNDS = 7, /* of batches: the yardstick's CPU varies most */
    EVENTS = 4096,
    LINES = 100,
    BATCHES = EVENTS / LINES,
    IDLE_US = 1000000
};
#define PATH "/%s"

struct bench {
    struct scene scene;
    struct process stream, bare;
    char topic[NAME_TOPIC_MAX + 1];
    struct buf events[EVENTS], posts[EVENTS], batches[BATCHES];
    size_t n_posts, n_batches; /* requests a run */
    double produced;           /* events that the topic must hold */
};

/* ---- the yardstick of a POST ---- */

struct bare_request {
    struct buf body;
};

static enum MHD_Result bare_access(void *cls, struct MHD_Connection *c, const char *url, const char *method,
                                   const char *version, const char *data, size_t *n, void **context)
{
    static char answer[] =
        "{\"status\":\"accepted\",\"endpoint_id\":\"00000000000000000000000000abcdef\",\"endpoint_name\":\"m\"}";
    struct bare_request *r = *context;
    (void)cls, (void)url, (void)method, (void)version;
    if (!r) {
        *context = calloc(1, sizeof *r);
        return *context ? MHD_YES : MHD_NO;
    }
    if (*n) {
        buf_add(&r->body, data, *n);
        *n = 0;
        return MHD_YES;
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(sizeof answer - 1, answer, MHD_RESPMEM_PERSISTENT);
    (void)MHD_add_response_header(response, "Content-Type", "application/json");
    enum MHD_Result ok = MHD_queue_response(c, 202, response);
    MHD_destroy_response(response);
    return ok;
}

static void bare_completed(void *cls, struct MHD_Connection *c, void **context, enum MHD_RequestTerminationCode why)
{
    struct bare_request *r = *context;
    (void)cls, (void)c, (void)why;
    if (r)
        buf_done(&r->body);
    free(r);
}

static void bare_start(struct process *p)
{
    int ready[2];
    if (pipe(ready) || (p->pid = fork()) < 0)
        scene_die("bare server", "fork");
    if (p->pid) {
        (void)close(ready[1]);
        if (read(ready[0], &p->port, sizeof p->port) != sizeof p->port)
            scene_die("bare server", "it did not start");
        (void)close(ready[0]);
        return;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct MHD_Daemon *d = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, bare_access, NULL,
                                            MHD_OPTION_NOTIFY_COMPLETED, bare_completed, NULL,
                                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16384, MHD_OPTION_END);
    if (!d)
        _exit(1);
    int port = MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT)->port;
    if (write(ready[1], &port, sizeof port) != sizeof port)
        _exit(1);
    for (;;)
        (void)pause();
}

static void bare_stop(const struct process *p)
{
    (void)kill(p->pid, SIGKILL);
    (void)waitpid(p->pid, NULL, 0);
}

/* ---- the yardstick of a batch ---- */

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    (void)rk;
    if (m->err)
        scene_die("bare producer", rd_kafka_err2str(m->err));
    ++*(size_t *)opaque;
}

static rd_kafka_t *bare_producer(const struct bench *b, size_t *reported)
{
    char text[300];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    const char *const options[][2] = {{"bootstrap.servers", b->scene.bus.brokers},
                                      {"linger.ms", "2"},
                                      {"acks", "all"},
                                      {"enable.idempotence", "true"},
                                      {"partitioner", "murmur2_random"}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (rd_kafka_conf_set(conf, options[i][0], options[i][1], text, sizeof text))
            scene_die("bare producer", text);
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rd_kafka_conf_set_opaque(conf, reported);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (!rk)
        scene_die("bare producer", text);
    return rk;
}

/* CPU microseconds an event: from memory, to the acknowledgement, with a poll after each as librdkafka's own example has it.
 * The producer is warm: a first event has gone through. */
static double bare_produce(struct bench *b, size_t total)
{
    size_t reported = 0;
    double began = 0;
    rd_kafka_t *rk = bare_producer(b, &reported);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, b->topic, NULL);
    for (size_t i = 0; i < total + 1; i++) {
        char uid[33];
        struct buf *ev = &b->events[i % EVENTS];
        scene_uid(uid, i % EVENTS % 10);
        while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, ev->data, ev->len, uid, 32, NULL))
            (void)rd_kafka_poll(rk, 10); /* full */
        (void)rd_kafka_poll(rk, 0);
        while (i == 0 && !reported)
            (void)rd_kafka_poll(rk, 100);
        if (i == 0)
            began = (double)clock_cpu_us();
    }
    while (reported < total + 1)
        (void)rd_kafka_poll(rk, 100);
    double used = (double)clock_cpu_us() - began;
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(rk);
    b->produced += (double)total + 1;
    return used / (double)total;
}

/* What the topic holds, asked of the broker. */
static double in_topic(const struct bench *b)
{
    size_t unused = 0;
    rd_kafka_t *rk = bare_producer(b, &unused);
    double n = 0;
    for (int p = 0; p < SCENE_PARTITIONS; p++) {
        int64_t low = 0, high = 0;
        rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(rk, b->topic, p, &low, &high, 10000);
        if (err)
            scene_die("watermarks", rd_kafka_err2str(err));
        n += (double)high;
    }
    rd_kafka_destroy(rk);
    return n;
}

/* ---- runs ---- */

/* CPU microseconds a request of a server under load, less its idle share. */
static double loaded(const struct process *p, const struct load *l, struct load_result *ret)
{
    double idle = process_cpu_us(p);
    (void)usleep(IDLE_US);
    double began = process_cpu_us(p);
    idle = (began - idle) / IDLE_US;
    load_run(l, ret);
    double used = process_cpu_us(p) - began - idle * ret->wall_s * 1e6;
    return used / (double)l->total;
}

static bool single_posts(struct bench *b)
{
    double ours[SCENE_ROUNDS], bare[SCENE_ROUNDS], ratio[SCENE_ROUNDS], p99[SCENE_ROUNDS];
    struct load_result r;
    struct load l = {.connections = CONNECTIONS, .status = 202, .requests = b->posts, .n_requests = EVENTS};
    for (int i = -1; i < SCENE_ROUNDS; i++) { /* the first warms both up */
        int at = i < 0 ? 0 : i;
        l.total = i < 0 ? b->n_posts / 3 : b->n_posts;
        l.port = b->bare.port;
        bare[at] = loaded(&b->bare, &l, &r);
        l.port = b->stream.port;
        ours[at] = loaded(&b->stream, &l, &r);
        b->produced += (double)l.total;
        ratio[at] = ours[at] / bare[at];
        p99[at] = r.p99_ms;
        (void)fprintf(stderr, "# single: %.2f us, bare %.2f us, ratio %.2f; %.0f/s, p50 %.1f ms, p99 %.1f ms\n",
                      ours[at], bare[at], ratio[at], (double)l.total / r.wall_s, r.p50_ms, r.p99_ms);
    }
    double of = scene_median(ratio, SCENE_ROUNDS), late = scene_median(p99, SCENE_ROUNDS);
    bool ok = scene_print(&(struct scene_line){"http_trigger", "us CPU per POST", scene_median(ours, SCENE_ROUNDS),
                                               scene_median(bare, SCENE_ROUNDS), of, 3.5, of <= 3.5});
    return scene_print(&(struct scene_line){"http_p99", "ms at 64 connections", late, 0, 0, 25, late <= 25}) && ok;
}

static bool batches(struct bench *b)
{
    double ours[ROUNDS], bare[ROUNDS], ratio[ROUNDS];
    struct load_result r;
    struct load l = {
        .port = b->stream.port, .connections = BATCH_CONNECTIONS, .status = 202, .requests = b->batches, .n_requests = BATCHES};
    for (int i = -1; i < ROUNDS; i++) {
        int at = i < 0 ? 0 : i;
        l.total = i < 0 ? b->n_batches / 3 : b->n_batches;
        bare[at] = 1e6 / bare_produce(b, l.total * LINES);
        ours[at] = 1e6 * LINES / loaded(&b->stream, &l, &r);
        b->produced += (double)l.total * LINES;
        ratio[at] = ours[at] / bare[at];
        (void)fprintf(stderr, "# of %d: %.2f us an event, bare %.2f us, ratio %.2f; %.0f events/s, p50 %.1f ms\n",
                      LINES, 1e6 / ours[at], 1e6 / bare[at], ratio[at], (double)l.total * LINES / r.wall_s, r.p50_ms);
    }
    double of = scene_median(ratio, ROUNDS);
    return scene_print(&(struct scene_line){"http_ndjson", "events per CPU second", scene_median(ours, ROUNDS),
                                            scene_median(bare, ROUNDS), of, 0.5, of >= 0.5});
}

static void make_requests(struct bench *b)
{
    char path[40];
    struct buf lines = {0};
    (void)snprintf(path, sizeof path, PATH, b->scene.project);
    for (size_t i = 0; i < EVENTS; i++) {
        scene_event(&b->events[i], &b->scene, i);
        load_request(&b->posts[i], path, "application/json", buf_str(&b->events[i]));
    }
    for (size_t i = 0; i < BATCHES; i++) {
        buf_clear(&lines);
        for (size_t k = 0; k < LINES; k++) {
            buf_add(&lines, b->events[i * LINES + k].data, b->events[i * LINES + k].len);
            buf_addc(&lines, '\n');
        }
        load_request(&b->batches[i], path, "application/x-ndjson", buf_str(&lines));
    }
    buf_done(&lines);
}

int main(void)
{
    static struct bench b;
    struct err e;
    bare_start(&b.bare); /* before any thread is */
    scene_open(&b.scene);
    b.n_posts = b.scene.smoke ? 500 : 60000;
    b.n_batches = b.scene.smoke ? 40 : 3000;
    scene_need(topic_stream(b.topic, b.scene.system, str_of(b.scene.project), &e), "topic", &e);
    scene_topic(&b.scene, b.topic);
    make_requests(&b);
    (void)fprintf(
        stderr,
        "# %d connections, events of %zu bytes, %d partitions, uncompressed, acks=all, idempotent, linger 2 ms; "
        "medians of %d runs of %zu POSTs, %d of %zu batches, each run beside its yardstick's\n",
        CONNECTIONS, b.events[0].len, SCENE_PARTITIONS, SCENE_ROUNDS, b.n_posts, ROUNDS, b.n_batches);
    process_start(&b.stream, &b.scene, "stream", (const char *const[]){"SINKS", "none", NULL});
    bool ok = single_posts(&b);
    ok = batches(&b) && ok;
    double there = in_topic(&b);
    if (there != b.produced) {
        (void)fprintf(stderr, "bench_http: %.0f events were acknowledged, the topic has %.0f\n", b.produced, there);
        return 1;
    }
    process_stop(&b.stream);
    bare_stop(&b.bare);
    scene_close(&b.scene);
    for (size_t i = 0; i < EVENTS; i++) {
        buf_done(&b.events[i]);
        buf_done(&b.posts[i]);
    }
    for (size_t i = 0; i < BATCHES; i++)
        buf_done(&b.batches[i]);
    return ok || b.scene.smoke ? 0 : 1;
}
