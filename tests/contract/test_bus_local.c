/* What the local log alone has to prove: acknowledged records outlive kill -9, a torn end, a full disk; one process has it. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "bus/bus.h"

#define SEC USEC_PER_SEC

static struct err e;
static char folder[400];

static void ok(rc_t rc)
{
    if (rc)
        fail_msg("%s: %s", rc_name(rc), e.text);
}

/* A folder of each test's own. */
static int setup(void **state)
{
    static int n;
    const char *dir = getenv("MM_TEST_DIR");
    (void)state;
    (void)snprintf(folder, sizeof folder, "local:%s/log_%d_%d", dir ? dir : "/tmp", (int)getpid(), n++);
    return 0;
}

static struct bus_config config(const char *extra)
{
    static char client[] = "test";
    return (struct bus_config){.brokers = folder, .client_id = client, .linger_us = 500, .extra = (char *)extra};
}

static struct bus_producer *producer(const struct bus_config *cfg)
{
    struct bus_producer *p = NULL;
    ok(bus_producer_open(&p, cfg, &e));
    return p;
}

static void make_topic(struct bus_producer *p, const char *topic, int32_t partitions)
{
    int32_t got = 0;
    ok(bus_topic_ensure(p, topic, partitions, &got, SEC, &e));
    assert_int_equal(got, partitions);
}

/* Waits for the assignment and starts every partition at offset. */
static struct bus_consumer *consumer(const struct bus_config *cfg, const char *topic, int64_t offset)
{
    struct bus_consumer *c = NULL;
    struct bus_event ev = {0};
    ok(bus_consumer_open(&c, cfg, "g", &e));
    ok(bus_consumer_topics(c, &topic, 1, &e));
    while (ev.type != BUS_ASSIGNED)
        ok(bus_consumer_poll(c, SEC, &ev, &e));
    for (size_t i = 0; i < ev.n_parts; i++)
        ev.parts[i].offset = offset;
    ok(bus_consumer_start(c, ev.parts, ev.n_parts, &e));
    return c;
}

struct acks {
    atomic_int delivered, again;
};

static void on_ack(void *arg, rc_t rc, const char *words)
{
    struct acks *a = arg;
    (void)words;
    atomic_fetch_add(rc ? &a->again : &a->delivered, 1);
}

/* A value whose bytes all follow from its number. */
static struct str value_of(char out[1200], int64_t n)
{
    int len = snprintf(out, 32, "%lld ", (long long)n);
    size_t size = (size_t)len + 100 + (size_t)(n * 7919 % 1000);
    for (size_t i = (size_t)len; i < size; i++)
        out[i] = (char)('a' + ((uint64_t)n + i) % 26);
    return (struct str){out, size};
}

static void send(struct bus_producer *p, const char *topic, int64_t from, int64_t n, struct acks *a)
{
    char text[1200];
    for (int64_t i = from; i < from + n; i++)
        ok(bus_produce(p, topic, STR("k"), value_of(text, i), NULL, 0, on_ack, a, &e));
}

/* Numbers from `from` on, one after another and whole, up to the end. Returns how many. */
static int64_t read_numbers(const struct bus_config *cfg, const char *topic, int64_t from)
{
    struct bus_consumer *c = consumer(cfg, topic, from);
    struct bus_event ev = {0};
    char text[1200];
    int64_t n = 0;
    for (;;) {
        ok(bus_consumer_poll(c, 10 * SEC, &ev, &e));
        if (ev.type != BUS_RECORD)
            break;
        assert_int_equal(ev.offset, from + n);
        assert_true(str_eq(ev.value, value_of(text, from + n)));
        n++;
    }
    assert_int_equal(ev.type, BUS_END);
    assert_int_equal(ev.parts[0].offset, from + n);
    bus_consumer_free(c);
    return n;
}

static void path_of(char out[600], const char *topic, const char *file)
{
    (void)snprintf(out, 600, "%s/%s/0/%s", folder + 6, topic, file);
}

static int segments(const char *topic)
{
    char path[600];
    int n = 0;
    path_of(path, topic, "");
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *f; (f = readdir(d));)
        n += strstr(f->d_name, ".log") != NULL;
    (void)closedir(d);
    return n;
}

/* --- crashes --- */
static void tear(const char *topic)
{
    char path[600], newest[32] = "";
    path_of(path, topic, "");
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *f; (f = readdir(d));)
        if (strstr(f->d_name, ".log") && strcmp(f->d_name, newest) > 0)
            (void)snprintf(newest, sizeof newest, "%.31s", f->d_name);
    (void)closedir(d);
    path_of(path, topic, newest);
    int fd = open(path, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "the torn end of a record, which is longer than its head", 55), 55);
    (void)close(fd);
}

struct told { /* shared with the child by a pipe: how many are acknowledged */
    int fd;
    int64_t n;
};

static void on_told(void *arg, rc_t rc, const char *words)
{
    struct told *t = arg;
    (void)words;
    if (rc)
        _exit(5);
    t->n++;
    if (write(t->fd, &t->n, sizeof t->n) != sizeof t->n)
        _exit(4);
}

/* Appends from `from` on until it is killed. */
static void append_for_ever(int fd, int64_t from, const char *extra)
{
    struct bus_config cfg = config(extra);
    struct bus_producer *p = NULL;
    struct told t = {fd, from};
    char text[1200];
    if (bus_producer_open(&p, &cfg, &e))
        _exit(3);
    for (int64_t i = from;; i++) {
        while (bus_produce(p, "t", STR("k"), value_of(text, i), NULL, 0, on_told, &t, &e) == E_AGAIN)
            (void)usleep(100);
        if (i % 50 == 0)
            (void)usleep(1000);
    }
}

static void acknowledged_records_outlive_a_kill(void **state)
{
    (void)state;
    const char extra[] = "segment.bytes=100000"; /* many segments: kills fall beside their making too */
    struct bus_config cfg = config(extra);
    struct bus_producer *p = producer(&cfg);
    int64_t have = 0;
    make_topic(p, "t", 1);
    bus_producer_free(p);
    for (int round = 0; round < 12; round++) {
        int fd[2];
        int64_t told = have, next;
        assert_int_equal(pipe(fd), 0);
        (void)fflush(NULL);
        pid_t child = fork();
        if (child == 0)
            append_for_ever(fd[1], have, extra);
        (void)close(fd[1]);
        while (told < have + 300 + 177 * round && read(fd[0], &next, sizeof next) == sizeof next)
            told = next;
        (void)kill(child, SIGKILL);
        while (read(fd[0], &next, sizeof next) == sizeof next)
            told = next;
        int status = 0;
        (void)waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status));
        (void)close(fd[0]);
        if (round % 3 == 0)
            tear("t"); /* as if the machine had died too */
        int64_t n = read_numbers(&cfg, "t", 0);
        assert_true(n >= told);
        have = n;
    }
    print_message("    %lld records over 12 kills, none acknowledged is missing\n", (long long)have);
}

static void a_torn_end_is_cut(void **state)
{
    (void)state;
    struct bus_config cfg = config(NULL);
    char path[600];
    struct acks a = {0};
    for (int cut = 1; cut < 400; cut += 37) {
        char topic[16];
        (void)snprintf(topic, sizeof topic, "t%d", cut);
        struct bus_producer *p = producer(&cfg);
        make_topic(p, topic, 1);
        send(p, topic, 0, 20, &a);
        bus_producer_free(p);
        path_of(path, topic, "00000000000000000000.log");
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(truncate(path, st.st_size - cut), 0);
        int64_t n = read_numbers(&cfg, topic, 0);
        assert_in_range(n, 15, 19);
        p = producer(&cfg);
        send(p, topic, n, 5, &a);
        ok(bus_flush(p, 5 * SEC, &e));
        assert_int_equal(read_numbers(&cfg, topic, 0), n + 5);
        bus_producer_free(p);
        assert_int_equal(read_numbers(&cfg, topic, 0), n + 5); /* and by the next process */
    }
    assert_int_equal(atomic_load(&a.again), 0);
}

static void damage_in_the_middle_is_said(void **state)
{
    (void)state;
    struct bus_config cfg = config("segment.bytes=20000");
    struct bus_producer *p = producer(&cfg);
    struct acks a = {0};
    char path[600];
    make_topic(p, "t", 1);
    for (int i = 0; i < 10; i++) {
        send(p, "t", i * 20, 20, &a);
        ok(bus_flush(p, 5 * SEC, &e));
    }
    assert_true(segments("t") > 3);
    path_of(path, "t", "00000000000000000000.log");
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "!", 1, 3000), 1);
    (void)close(fd);
    struct bus_consumer *c = consumer(&cfg, "t", 0);
    struct bus_event ev = {0};
    int64_t n = 0;
    for (; ok(bus_consumer_poll(c, SEC, &ev, &e)), ev.type == BUS_RECORD; n++)
        assert_int_equal(ev.offset, n);
    assert_in_range(n, 1, 19);
    assert_int_equal(ev.type, BUS_ERROR);
    assert_non_null(strstr(ev.words, "damaged"));
    ok(bus_consumer_poll(c, SEC, &ev, &e));
    assert_int_equal(ev.type, BUS_RANGE);
    assert_int_equal(ev.parts[0].offset, n);
    ok(bus_consumer_poll(c, SEC / 20, &ev, &e));
    assert_int_equal(ev.type, BUS_NONE);
    ok(bus_consumer_seek(c, &(struct bus_partition){"t", 0, 100}, &e));
    ok(bus_consumer_poll(c, SEC, &ev, &e));
    assert_true(ev.type == BUS_RECORD && ev.offset == 100);
    bus_consumer_free(c);
    bus_producer_free(p);
}

/* --- one process --- */
static void another_process_is_refused(void **state)
{
    (void)state;
    struct bus_config cfg = config(NULL);
    (void)fflush(NULL);
    int go[2], up[2];
    assert_int_equal(pipe(go) | pipe(up), 0);
    pid_t child = fork();
    if (child == 0) {
        struct bus_producer *p = NULL;
        char c = bus_producer_open(&p, &cfg, &e) ? 'n' : 'y';
        if (write(up[1], &c, 1) != 1 || read(go[0], &c, 1) != 1)
            _exit(3);
        _exit(0);
    }
    char c = 0, words[64];
    assert_int_equal(read(up[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    struct bus_producer *p = NULL;
    struct bus_consumer *con = NULL;
    assert_int_equal(bus_producer_open(&p, &cfg, &e), E_CONFLICT);
    (void)snprintf(words, sizeof words, "in use by process %d", (int)child);
    assert_non_null(strstr(e.text, words));
    assert_non_null(strstr(e.text, folder + 6));
    assert_int_equal(bus_consumer_open(&con, &cfg, "g", &e), E_CONFLICT);
    assert_int_equal(write(go[1], &c, 1), 1);
    (void)waitpid(child, NULL, 0);
    ok(bus_producer_open(&p, &cfg, &e));          /* its end, of whatever kind, frees the folder */
    struct bus_producer *second = producer(&cfg); /* and within a process all share it */
    bus_producer_free(second);
    bus_producer_free(p);
    for (int i = 0; i < 2; i++)
        (void)(close(go[i]) | close(up[i]));
}

static void bad_addresses_are_refused(void **state)
{
    (void)state;
    const char *bad[] = {"local:", "local:relative", "local:///proc/none/here"};
    struct bus_config cfg = {0};
    struct bus_producer *p = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cfg.brokers = (char *)bad[i];
        assert_int_equal(bus_producer_open(&p, &cfg, &e), E_INVALID);
        assert_non_null(strstr(e.text, "KAFKA_BROKERS"));
    }
    const char *options[] = {"acks=1", "segment.bytes", "segment.bytes=x", "segment.bytes=1", "retention.bytes=-1"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        cfg = config(options[i]);
        assert_int_equal(bus_producer_open(&p, &cfg, &e), E_INVALID);
        assert_non_null(strstr(e.text, "KAFKA_OPTIONS"));
    }
    cfg = config("segment.bytes=4096;retention.bytes=0;");
    p = producer(&cfg);
    const char *topics[] = {"", ".", "..", "a/b", ".hidden", "a b"};
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++) {
        int32_t n = 0;
        assert_int_equal(bus_topic_ensure(p, topics[i], 1, &n, SEC, &e), E_INVALID);
    }
    bus_producer_free(p);
}

/* --- a full disk --- */
/* Files may not grow past a size for a while: what is refused is reported, and later records follow the last durable one. */
static void a_full_disk_loses_nothing(void **state)
{
    (void)state;
    struct bus_config cfg = config(NULL);
    struct bus_producer *p = producer(&cfg);
    struct acks a = {0};
    struct rlimit before, tight;
    make_topic(p, "t", 1);
    send(p, "t", 0, 100, &a);
    ok(bus_flush(p, 5 * SEC, &e));
    assert_int_equal(atomic_load(&a.delivered), 100);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight = before;
    tight.rlim_cur = 70000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    struct acks full = {0};
    char text[1200];
    for (int i = 0; i < 40; i++) {
        for (int k = 0; k < 10; k++)
            ok(bus_produce(p, "t", STR("other"), value_of(text, 5), NULL, 0, on_ack, &full, &e));
        ok(bus_flush(p, 5 * SEC, &e)); /* all are answered */
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    int kept = atomic_load(&full.delivered);
    assert_int_equal(kept + atomic_load(&full.again), 400);
    assert_true(atomic_load(&full.again) >= 200);
    assert_false(bus_producer_up(p));
    send(p, "t", 100 + kept, 50, &a);
    ok(bus_flush(p, 5 * SEC, &e));
    assert_int_equal(atomic_load(&a.delivered), 150);
    assert_true(bus_producer_up(p));
    bus_producer_free(p);
    assert_int_equal(read_numbers(&cfg, "t", 100 + kept), 50);
    struct bus_consumer *c = consumer(&cfg, "t", 0);
    struct bus_event ev = {0};
    int64_t n = 0;
    for (; ok(bus_consumer_poll(c, SEC, &ev, &e)), ev.type == BUS_RECORD; n++)
        assert_int_equal(ev.offset, n);
    assert_int_equal(n, 150 + kept);
    bus_consumer_free(c);
}

/* --- retention --- */
static void wait_for_begin(struct bus_consumer *c, int64_t at_least, int64_t *ret)
{
    int64_t end = clock_mono_us() + 20 * SEC;
    struct bus_partition part = {"t", 0, 0};
    while (clock_mono_us() < end && part.offset < at_least) {
        ok(bus_consumer_begins(c, &part, 1, SEC, &e));
        (void)usleep(10000);
    }
    assert_true(part.offset >= at_least);
    *ret = part.offset;
}

static void old_records_go_by_time(void **state)
{
    (void)state;
    struct bus_config cfg = config("segment.bytes=20000");
    cfg.retention_us = SEC;
    struct bus_producer *p = producer(&cfg);
    struct acks a = {0};
    make_topic(p, "t", 1);
    struct bus_consumer *c = consumer(&cfg, "t", 0);
    for (int i = 0; i < 10; i++) {
        send(p, "t", i * 20, 20, &a);
        ok(bus_flush(p, 5 * SEC, &e));
    }
    int64_t begin = 0;
    wait_for_begin(c, 200, &begin); /* all of them: also the newest segment */
    assert_int_equal(begin, 200);
    assert_int_equal(segments("t"), 1);
    ok(bus_consumer_seek(c, &(struct bus_partition){"t", 0, 5}, &e));
    struct bus_event ev = {0};
    ok(bus_consumer_poll(c, SEC, &ev, &e));
    assert_int_equal(ev.type, BUS_RANGE);
    assert_int_equal(ev.parts[0].offset, 5);
    ok(bus_consumer_seek(c, &(struct bus_partition){"t", 0, BUS_OFFSET_EARLIEST}, &e));
    send(p, "t", 200, 5, &a); /* offsets go on */
    for (int i = 0; i < 5; i++) {
        do
            ok(bus_consumer_poll(c, 5 * SEC, &ev, &e));
        while (ev.type == BUS_END);
        assert_true(ev.type == BUS_RECORD && ev.offset == 200 + i);
    }
    bus_consumer_free(c);
    bus_producer_free(p);
    p = producer(&cfg);
    send(p, "t", 205, 1, &a);
    bus_producer_free(p);
    assert_true(read_numbers(&cfg, "t", 205) == 1);
}

static void old_records_go_by_size(void **state)
{
    (void)state;
    struct bus_config cfg = config("segment.bytes=20000;retention.bytes=100000");
    cfg.retention_us = 2 * SEC; /* a look each 0.2 s */
    struct bus_producer *p = producer(&cfg);
    struct acks a = {0};
    make_topic(p, "t", 1);
    struct bus_consumer *c = consumer(&cfg, "t", 0);
    for (int i = 0; i < 40; i++) {
        send(p, "t", i * 20, 20, &a);
        ok(bus_flush(p, 5 * SEC, &e));
    }
    int64_t begin = 0;
    wait_for_begin(c, 500, &begin);
    bus_consumer_free(c);
    bus_producer_free(p);
}

/* --- members that come and go --- */
struct storm {
    pthread_t thread;
    const struct bus_config *cfg;
    atomic_int *had; /* of each record: how many have read it */
    atomic_bool *stop;
    uint32_t seed;
    int rebalances;
    rc_t rc;
    struct err e;
};

enum { STORM_RECORDS = 6000, STORM_PARTITIONS = 5, STORM_MEMBERS = 4 };

static rc_t storm_poll(struct storm *s, struct bus_consumer *c)
{
    struct bus_event ev;
    rc_t rc = bus_consumer_poll(c, 2000, &ev, &s->e);
    if (rc)
        return rc;
    if (ev.type == BUS_RECORD)
        atomic_fetch_add(&s->had[strtol(ev.value.p, NULL, 10)], 1);
    if (ev.type == BUS_REVOKED)
        return bus_consumer_release(c, &s->e);
    if (ev.type != BUS_ASSIGNED)
        return OK;
    s->rebalances++;
    for (size_t i = 0; i < ev.n_parts; i++)
        ev.parts[i].offset = BUS_OFFSET_EARLIEST;
    return bus_consumer_start(c, ev.parts, ev.n_parts, &s->e);
}

static void *storm_member(void *arg)
{
    struct storm *s = arg;
    const char *topic = "t";
    while (!s->rc && !atomic_load(s->stop)) {
        struct bus_consumer *c = NULL;
        s->seed = s->seed * 1664525u + 1013904223u;
        int64_t end = clock_mono_us() + 3000 + s->seed % 60000;
        s->rc = bus_consumer_open(&c, s->cfg, "g", &s->e);
        if (!s->rc)
            s->rc = bus_consumer_topics(c, &topic, 1, &s->e);
        while (!s->rc && clock_mono_us() < end)
            s->rc = storm_poll(s, c);
        bus_consumer_free(c);
    }
    return NULL;
}

/* Members join and leave all the time while records come: none is stuck, and in the end one that stays reads everything. */
static void members_come_and_go(void **state)
{
    (void)state;
    struct bus_config cfg = config("segment.bytes=30000");
    struct bus_producer *p = producer(&cfg);
    struct acks a = {0};
    static atomic_int had[STORM_RECORDS];
    atomic_bool stop = false;
    struct storm s[STORM_MEMBERS] = {{0}};
    char text[1200], key[16];
    int rebalances = 0;
    make_topic(p, "t", STORM_PARTITIONS);
    for (uint32_t i = 0; i < STORM_MEMBERS; i++) {
        s[i] = (struct storm){.cfg = &cfg, .had = had, .stop = &stop, .seed = i + 1};
        assert_int_equal(pthread_create(&s[i].thread, NULL, storm_member, &s[i]), 0);
    }
    for (int64_t i = 0; i < STORM_RECORDS; i++) {
        int n = snprintf(key, sizeof key, "k%d", (int)i);
        ok(bus_produce(p, "t", (struct str){key, (size_t)n}, value_of(text, i), NULL, 0, on_ack, &a, &e));
        if (i % 20 == 0)
            (void)usleep(5000);
    }
    ok(bus_flush(p, 10 * SEC, &e));
    atomic_store(&stop, true);
    for (int i = 0; i < STORM_MEMBERS; i++) {
        pthread_join(s[i].thread, NULL);
        if (s[i].rc)
            fail_msg("%s: %s", rc_name(s[i].rc), s[i].e.text);
        rebalances += s[i].rebalances;
    }
    assert_true(rebalances > 20);
    struct bus_consumer *c = consumer(&cfg, "t", 0);
    struct bus_event ev;
    int ends = 0, n = 0;
    while (ends < STORM_PARTITIONS) {
        ok(bus_consumer_poll(c, 10 * SEC, &ev, &e));
        assert_int_not_equal(ev.type, BUS_NONE);
        ends += ev.type == BUS_END;
        n += ev.type == BUS_RECORD;
    }
    assert_int_equal(n, STORM_RECORDS);
    assert_true(atomic_load(&had[0]) > 0);
    print_message("    %d assignments among members that came and went\n", rebalances);
    bus_consumer_free(c);
    bus_producer_free(p);
}

/* A partition without news gives its file and memory back, and goes on where it was. */
static void idle_partitions_hold_no_file(void **state)
{
    (void)state;
    struct bus_config cfg = config(NULL);
    struct bus_producer *p = producer(&cfg);
    struct acks a = {0};
    struct bus_event ev = {0};
    make_topic(p, "t", 1);
    send(p, "t", 0, 100, &a);
    ok(bus_flush(p, 5 * SEC, &e));
    struct bus_consumer *c = consumer(&cfg, "t", 0);
    for (int64_t n = 0; n < 100; n += ev.type == BUS_RECORD)
        ok(bus_consumer_poll(c, SEC, &ev, &e));
    int64_t end = clock_mono_us() + 1500 * USEC_PER_MSEC;
    int open_now = 1;
    while (open_now && clock_mono_us() < end + 3 * SEC) {
        ok(bus_consumer_poll(c, SEC / 10, &ev, &e));
        assert_int_not_equal(ev.type, BUS_RECORD);
        open_now = 0;
        for (int fd = 3; fd < 100; fd++) {
            char link[32], target[600];
            (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            ssize_t len = readlink(link, target, sizeof target - 1);
            int flags = fcntl(fd, F_GETFL);
            target[len > 0 ? len : 0] = '\0';
            open_now += strstr(target, ".log") && strstr(target, folder + 6) && (flags & O_ACCMODE) == O_RDONLY;
        }
    }
    assert_int_equal(open_now, 0);
    send(p, "t", 100, 50, &a);
    for (int64_t n = 100; n < 150;) {
        ok(bus_consumer_poll(c, 5 * SEC, &ev, &e));
        if (ev.type != BUS_RECORD)
            continue;
        assert_int_equal(ev.offset, n);
        n++;
    }
    bus_consumer_free(c);
    bus_producer_free(p);
}

/* --- speed --- */
struct consuming {
    pthread_t thread;
    struct bus_consumer *c;
    int64_t n, latest_us, worst_us;
    atomic_llong sent_us;
    atomic_bool got;
};

static void *wait_for_each(void *arg)
{
    struct consuming *w = arg;
    struct bus_event ev;
    struct err why;
    while (w->n) {
        if (bus_consumer_poll(w->c, SEC, &ev, &why))
            break;
        if (ev.type != BUS_RECORD)
            continue;
        w->latest_us = clock_mono_us() - atomic_load(&w->sent_us);
        w->n--;
        atomic_store(&w->got, true);
    }
    return NULL;
}

static int number_order(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void consumers_hear_promptly(void **state)
{
    (void)state;
    enum { N = 200 };
    struct bus_config cfg = config(NULL);
    struct bus_producer *p = producer(&cfg);
    struct acks a = {0};
    int64_t took[N];
    make_topic(p, "t", 4);
    struct consuming w = {.c = consumer(&cfg, "t", 0), .n = N};
    assert_int_equal(pthread_create(&w.thread, NULL, wait_for_each, &w), 0);
    for (int i = 0; i < N; i++) {
        atomic_store(&w.got, false);
        (void)usleep(1000); /* it sleeps again */
        atomic_store(&w.sent_us, clock_mono_us());
        send(p, "t", i, 1, &a);
        while (!atomic_load(&w.got))
            (void)usleep(50);
        took[i] = w.latest_us;
    }
    pthread_join(w.thread, NULL);
    qsort(took, N, sizeof *took, number_order);
    print_message("    from produce to record: median %lld us, 95 %% within %lld us\n", (long long)took[N / 2],
                  (long long)took[N * 95 / 100]);
    assert_true(took[N / 2] <= 5000);
    bus_consumer_free(w.c);
    bus_producer_free(p);
}

static void many_events_durable_a_second(void **state)
{
    (void)state;
    enum { N = 300000, SIZE = 770 };
    struct bus_config cfg = config(NULL);
    cfg.linger_us = 2000;
    struct bus_producer *p = producer(&cfg);
    struct acks a = {0};
    char value[SIZE], key[16];
    memset(value, 'x', sizeof value);
    make_topic(p, "t", 8);
    int64_t cpu = clock_cpu_us(), wall = clock_mono_us();
    for (int i = 0; i < N; i++) {
        int n = snprintf(key, sizeof key, "k%d", i % 1000);
        while (bus_produce(p, "t", (struct str){key, (size_t)n}, (struct str){value, SIZE}, NULL, 0, on_ack, &a, &e) == E_AGAIN)
            (void)!bus_flush(p, 5000, NULL);
    }
    ok(bus_flush(p, 60 * SEC, &e));
    int64_t sent_cpu = clock_cpu_us() - cpu, sent_wall = clock_mono_us() - wall;
    assert_int_equal(atomic_load(&a.delivered), N);
    struct bus_consumer *c = consumer(&cfg, "t", 0);
    struct bus_event ev;
    cpu = clock_cpu_us();
    wall = clock_mono_us();
    for (int n = 0; n < N;) {
        ok(bus_consumer_poll(c, SEC, &ev, &e));
        n += ev.type == BUS_RECORD;
    }
    cpu = clock_cpu_us() - cpu;
    wall = clock_mono_us() - wall;
    print_message(
        "    %d events of %d bytes: durable %lld a second at %.2f us of CPU, consumed %lld a second at %.2f us\n", N,
        SIZE, (long long)(N * SEC / sent_wall), (double)sent_cpu / N, (long long)(N * SEC / wall), (double)cpu / N);
    assert_true(N * SEC / sent_wall >= 30000);
    assert_true(sent_cpu / N < 10 && cpu / N < 10);
    bus_consumer_free(c);
    bus_producer_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(acknowledged_records_outlive_a_kill, setup),
        cmocka_unit_test_setup(a_torn_end_is_cut, setup),
        cmocka_unit_test_setup(damage_in_the_middle_is_said, setup),
        cmocka_unit_test_setup(another_process_is_refused, setup),
        cmocka_unit_test_setup(bad_addresses_are_refused, setup),
        cmocka_unit_test_setup(a_full_disk_loses_nothing, setup),
        cmocka_unit_test_setup(old_records_go_by_time, setup),
        cmocka_unit_test_setup(old_records_go_by_size, setup),
        cmocka_unit_test_setup(members_come_and_go, setup),
        cmocka_unit_test_setup(idle_partitions_hold_no_file, setup),
        cmocka_unit_test_setup(consumers_hear_promptly, setup),
        cmocka_unit_test_setup(many_events_durable_a_second, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
