/* The life of a process, on a small service of this file's own that is started as a child: options, readiness, drain. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "http/client.h"
#include "log/log.h"
#include "service/service.h"
#include "service/worker.h"

#define PATIENCE_US (15 * USEC_PER_SEC)

/* ---- the child ---- */

struct demo {
    int64_t drain_us;
    bool hang, refuse, fail;
    struct service *service;
    struct health_dep *dep;
    struct loop_timer *timer;
    struct http_request *_Atomic held;
};

static const struct config_key demo_keys[] = {
    {.env = "DEMO_DRAIN", .def = "0s", .type = CONFIG_DURATION, .offset = offsetof(struct demo, drain_us), .help = "How long it drains."},
    {.env = "DEMO_HANG", .def = "false", .type = CONFIG_BOOL, .offset = offsetof(struct demo, hang), .help = "Hangs in its loop."},
    {.env = "DEMO_REFUSE",
     .def = "false",
     .type = CONFIG_BOOL,
     .offset = offsetof(struct demo, refuse),
     .help = "Does not like its options."},
};

static void drained(void *arg)
{
    struct demo *d = arg;
    struct http_request *r = atomic_exchange(&d->held, NULL);
    if (r)
        http_answer(r, 200, HTTP_TEXT, STR("answered while draining"));
    service_drained(d->service);
}

static void hang(void *arg)
{
    (void)arg;
    for (;;)
        (void)pause();
}

static rc_t open_demo(struct service *s, void *self, struct err *e)
{
    struct demo *d = self;
    if (d->refuse)
        return err_set(e, E_INVALID, "DEMO_REFUSE: does not fit");
    d->service = s;
    d->dep = health_add(service_health(s), "thing", HEALTH_REQUIRED, 0);
    d->timer = loop_timer_new(service_loop(s), drained, d);
    return OK;
}

static void drain_demo(struct service *s, void *self)
{
    struct demo *d = self;
    if (d->hang)
        loop_post(service_loop(s), hang, d);
    else
        loop_timer_after(d->timer, d->drain_us);
}

static void close_demo(void *self)
{
    struct demo *d = self;
    loop_timer_free(d->timer);
    log_info("closed");
}

static void put_thing(struct http_request *r, void *arg)
{
    struct demo *d = arg;
    health_set(d->dep, HEALTH_OK, "%s", "");
    http_answer_empty(r, 204);
}

static void post_hold(struct http_request *r, void *arg)
{
    http_suspend(r);
    atomic_store(&((struct demo *)arg)->held, r);
}

static void post_fail(struct http_request *r, void *arg)
{
    service_fail(((struct demo *)arg)->service, "asked to");
    http_answer_empty(r, 204);
}

static const struct http_route demo_routes[] = {
    {"PUT", "/thing", "write", 0, put_thing, "Makes it ready"},
    {"POST", "/hold", "write", 0, post_hold, "Is answered when draining"},
    {"POST", "/fail", "write", 0, post_fail, "Fails"},
};

static int serve(int argc, char **argv)
{
    struct demo d = {0};
    const struct config_table tables[] = {CONFIG_TABLE("Demo", demo_keys, &d)};
    const struct http_routes routes[] = {
        {.rows = demo_routes, .count = sizeof demo_routes / sizeof *demo_routes, .arg = &d, .gate = &http_gate_open}};
    static const struct config_default defaults[] = {{"HTTP_ADDR", "127.0.0.1"}, {NULL, NULL}};
    return service_main(&(struct service_def){.name = "demo",
                                              .summary = "a test",
                                              .tables = tables,
                                              .table_count = 1,
                                              .defaults = defaults,
                                              .routes = routes,
                                              .route_count = 1,
                                              .open = open_demo,
                                              .drain = drain_demo,
                                              .close = close_demo,
                                              .self = &d},
                        argc, argv);
}

/* ---- the parent ---- */

struct fixture {
    pid_t pid;
    int out, err;
    char port_file[64];
    struct buf text, errors;
    struct http_client *client;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err e;
    const struct http_client_options o = {.reach = HTTP_REACH_LOOPBACK, .plain_ok = true};
    (void)snprintf(f->port_file, sizeof f->port_file, "/tmp/test-service-%d", (int)getpid());
    (void)unlink(f->port_file);
    assert_int_equal(http_client_new(&f->client, &o, &e), OK);
    (void)setenv("HTTP_PORT", "0", 1);
    (void)setenv("HTTP_PORT_FILE", f->port_file, 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->pid > 0) {
        (void)kill(f->pid, SIGKILL);
        (void)waitpid(f->pid, NULL, 0);
    }
    (void)unlink(f->port_file);
    http_client_free(f->client);
    buf_done(&f->text);
    buf_done(&f->errors);
    free(f);
    return 0;
}

static void launch(struct fixture *f, const char *a, const char *b)
{
    int out[2], err[2];
    assert_int_equal(pipe2(out, O_CLOEXEC) + pipe2(err, O_CLOEXEC), 0);
    f->pid = fork();
    assert_true(f->pid >= 0);
    if (f->pid == 0) {
        (void)dup2(out[1], 1);
        (void)dup2(err[1], 2);
        (void)execl("/proc/self/exe", "demo", "serve", a, b, (char *)NULL);
        _exit(99);
    }
    (void)close(out[1]);
    (void)close(err[1]);
    f->out = out[0];
    f->err = err[0];
}

static void read_all(int fd, struct buf *to)
{
    char chunk[4096];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) > 0)
        buf_add(to, chunk, (size_t)n);
    (void)close(fd);
}

/* Reads what it wrote and waits for its end; the exit code. */
static int finish(struct fixture *f)
{
    int status = 0;
    read_all(f->out, &f->text);
    read_all(f->err, &f->errors);
    assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
    f->pid = 0;
    if (!WIFEXITED(status))
        fail_msg("ended by signal %d\n%s", WTERMSIG(status), f->errors.data);
    return WEXITSTATUS(status);
}

static int port_of(struct fixture *f)
{
    int64_t until = clock_mono_us() + PATIENCE_US;
    int port = 0;
    while (port == 0 && clock_mono_us() < until) {
        FILE *file = fopen(f->port_file, "r");
        if (file) {
            if (fscanf(file, "%d", &port) != 1)
                port = 0;
            (void)fclose(file);
        }
        (void)poll(NULL, 0, 2);
    }
    assert_true(port > 0);
    return port;
}

static int call(struct fixture *f, const char *method, const char *path, struct buf *body)
{
    char url[128];
    struct http_reply reply;
    struct err e;
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d%s", port_of(f), path);
    rc_t rc = http_client_call(f->client, &(struct http_call){.url = url, .method = method}, &reply, &e);
    if (rc != OK)
        fail_msg("%s: %s", path, e.text);
    if (body) {
        buf_done(body);
        *body = reply.body;
    } else {
        buf_done(&reply.body);
    }
    return reply.status;
}

static void a_life(void **state)
{
    struct fixture *f = *state;
    struct buf body = {0};
    int64_t from = clock_mono_us();
    launch(f, NULL, NULL);
    assert_int_equal(call(f, "GET", "/livez", &body), 200);
    int64_t took = clock_mono_us() - from;
    if (took > 2 * USEC_PER_SEC)
        fail_msg("started in %lld us", (long long)took);
    assert_int_equal(call(f, "GET", "/readyz", &body), 503);
    assert_non_null(strstr(body.data, "\"status\":\"starting\""));
    assert_int_equal(call(f, "PUT", "/thing", NULL), 204);
    assert_int_equal(call(f, "GET", "/readyz", &body), 200);
    assert_int_equal(call(f, "GET", "/metrics", &body), 200);
    assert_non_null(strstr(body.data, "modelmon_http_requests_total{route=\"PUT /thing\",status=\"2xx\"} 1\n"));
    assert_non_null(strstr(body.data, "modelmon_build_info{service=\"demo\",version=\""));
    assert_non_null(strstr(body.data, "modelmon_dependency_up{name=\"thing\"} 1\n"));
    buf_done(&body);
    (void)kill(f->pid, SIGTERM);
    assert_int_equal(finish(f), 0);
    assert_non_null(strstr(f->errors.data, "\"ev\":\"started\""));
    assert_non_null(strstr(f->errors.data, "\"ev\":\"closed\""));
    assert_non_null(strstr(f->errors.data, "\"ev\":\"stopped\",\"code\":0}"));
    assert_int_equal(f->text.len, 0);
}

struct held {
    char url[128];
    struct http_reply reply;
    rc_t rc;
};

static void *hold(void *arg)
{
    struct held *h = arg;
    struct http_client *c;
    struct err e;
    const struct http_client_options o = {.reach = HTTP_REACH_LOOPBACK, .plain_ok = true};
    h->rc = http_client_new(&c, &o, &e);
    if (h->rc == OK)
        h->rc = http_client_call(c, &(struct http_call){.url = h->url, .method = "POST"}, &h->reply, &e);
    http_client_free(c);
    return NULL;
}

static void wait_for_metric(struct fixture *f, const char *line)
{
    struct buf body = {0};
    int64_t until = clock_mono_us() + PATIENCE_US;
    do {
        assert_int_equal(call(f, "GET", "/metrics", &body), 200);
    } while (strstr(body.data, line) == NULL && clock_mono_us() < until);
    if (strstr(body.data, line) == NULL)
        fail_msg("no %s in %s", line, body.data);
    buf_done(&body);
}

static void draining_says_so_and_answers_what_it_took(void **state)
{
    struct fixture *f = *state;
    struct buf body = {0};
    struct held h = {.rc = OK};
    pthread_t t;
    (void)setenv("DEMO_DRAIN", "1s", 1);
    launch(f, NULL, NULL);
    (void)unsetenv("DEMO_DRAIN");
    assert_int_equal(call(f, "PUT", "/thing", NULL), 204);
    (void)snprintf(h.url, sizeof h.url, "http://127.0.0.1:%d/hold", port_of(f));
    assert_int_equal(pthread_create(&t, NULL, hold, &h), 0);
    wait_for_metric(f, "modelmon_http_connections 2\n");
    (void)kill(f->pid, SIGTERM);
    int64_t until = clock_mono_us() + PATIENCE_US;
    int status;
    while ((status = call(f, "GET", "/readyz", &body)) == 200 && clock_mono_us() < until)
        ;
    assert_int_equal(status, 503);
    assert_non_null(strstr(body.data, "\"status\":\"draining\""));
    assert_int_equal(call(f, "PUT", "/thing", &body), 503);
    assert_non_null(strstr(body.data, "\"code\":\"draining\""));
    assert_int_equal(call(f, "GET", "/livez", NULL), 200);
    (void)pthread_join(t, NULL);
    assert_int_equal(h.rc, OK);
    assert_string_equal(h.reply.body.data, "answered while draining");
    buf_done(&h.reply.body);
    buf_done(&body);
    assert_int_equal(finish(f), 0);
}

static void a_second_signal_ends_it_at_once(void **state)
{
    struct fixture *f = *state;
    (void)setenv("DEMO_HANG", "true", 1);
    launch(f, NULL, NULL);
    (void)unsetenv("DEMO_HANG");
    (void)call(f, "GET", "/livez", NULL);
    (void)kill(f->pid, SIGTERM);
    int64_t until = clock_mono_us() + PATIENCE_US;
    struct buf body = {0};
    do
        (void)call(f, "GET", "/readyz", &body);
    while (strstr(body.data, "draining") == NULL && clock_mono_us() < until);
    buf_done(&body);
    int64_t from = clock_mono_us();
    (void)kill(f->pid, SIGINT);
    assert_int_equal(finish(f), 1);
    assert_true(clock_mono_us() - from < USEC_PER_SEC);
    assert_non_null(strstr(f->errors.data, "second signal"));
}

static void a_hanging_loop_ends_in_ten_seconds(void **state)
{
    struct fixture *f = *state;
    (void)setenv("DEMO_HANG", "true", 1);
    launch(f, NULL, NULL);
    (void)unsetenv("DEMO_HANG");
    (void)call(f, "GET", "/livez", NULL);
    int64_t from = clock_mono_us();
    (void)kill(f->pid, SIGTERM);
    assert_int_equal(finish(f), 1);
    int64_t took = clock_mono_us() - from;
    assert_true(took >= SERVICE_DRAIN_US && took <= 10 * USEC_PER_SEC);
    assert_non_null(strstr(f->errors.data, "not drained in time"));
}

static void a_failure_is_exit_1(void **state)
{
    struct fixture *f = *state;
    launch(f, NULL, NULL);
    assert_int_equal(call(f, "POST", "/fail", NULL), 204);
    assert_int_equal(finish(f), 1);
    assert_non_null(strstr(f->errors.data, "\"ev\":\"fatal\",\"words\":\"asked to\"}"));
    assert_non_null(strstr(f->errors.data, "\"ev\":\"closed\""));
}

static void wrong_configuration_is_exit_2(void **state)
{
    struct fixture *f = *state;
    launch(f, "--http-port=x", "--demo-drian=1s");
    assert_int_equal(finish(f), 2);
    assert_string_equal(f->errors.data,
                        "demo: wrong configuration\n--demo-drian: no such option; did you mean --demo-drain?\n"
                        "HTTP_PORT: \"x\" is not a whole number, from 0 to 65535\n");
    buf_clear(&f->errors);
    launch(f, "--demo-refuse", NULL);
    assert_int_equal(finish(f), 2);
    assert_non_null(strstr(f->errors.data, "does not fit"));
}

static void a_taken_port_is_exit_1(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    char flag[32];
    (void)snprintf(flag, sizeof flag, "--http-port=%d", ntohs(a.sin_port));
    launch(f, flag, NULL);
    assert_int_equal(finish(f), 1);
    assert_non_null(strstr(f->errors.data, "Address already in use"));
    (void)close(fd);
}

static void the_command_line(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *flag, *text;
    } cases[] = {{"--help", "DEMO_DRAIN "},
                 {"--version", "demo "},
                 {"--print-config", "HTTP_ADDR=127.0.0.1  # default\n"},
                 {"--help-markdown", "| `HTTP_ADDR` | `127.0.0.1` |"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_clear(&f->text);
        buf_clear(&f->errors);
        launch(f, cases[i].flag, NULL);
        assert_int_equal(finish(f), 0);
        if (strstr(f->text.data, cases[i].text) == NULL || f->errors.len > 0)
            fail_msg("%s: %s", cases[i].flag, f->text.data);
    }
}

static int check_ready(struct fixture *f)
{
    struct fixture probe = {.pid = 0};
    launch(&probe, "--check-ready", NULL);
    int code = finish(&probe);
    buf_done(&probe.text);
    buf_done(&f->errors);
    f->errors = probe.errors;
    return code;
}

static void the_self_probe(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(check_ready(f), 1);
    assert_non_null(strstr(f->errors.data, "HTTP_PORT_FILE"));
    launch(f, NULL, NULL);
    (void)port_of(f);
    assert_int_equal(check_ready(f), 1);
    assert_non_null(strstr(f->errors.data, "\"name\":\"thing\",\"state\":\"starting\""));
    assert_int_equal(call(f, "PUT", "/thing", NULL), 204);
    assert_int_equal(check_ready(f), 0);
    buf_clear(&f->errors);
    (void)kill(f->pid, SIGTERM);
    assert_int_equal(finish(f), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "serve") == 0) {
        argv[1] = argv[0];
        return serve(argc - 1, argv + 1);
    }
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_life),
        CASE(draining_says_so_and_answers_what_it_took),
        CASE(a_second_signal_ends_it_at_once),
        CASE(a_hanging_loop_ends_in_ten_seconds),
        CASE(a_failure_is_exit_1),
        CASE(wrong_configuration_is_exit_2),
        CASE(a_taken_port_is_exit_1),
        CASE(the_command_line),
        CASE(the_self_probe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
