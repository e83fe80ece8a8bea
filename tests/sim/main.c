/* One world a seed, many seeds a run.
 *
 *   sim --seeds=N [--from=S] [--jobs=2] [--state=FILE]   the seeds S … S+N-1; FILE: where to go on when called again
 *   sim --seed=S [--verbose]                             one, told as it happens
 *   sim --again=N                                        N seeds twice: the same must happen
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "actors.h"
#include "bus.h"
#include "check.h"
#include "log/log.h"
#include "store.h"
#include "world.h"

#define CHUNK 100 /* seeds a child runs: what killed processes leave goes with it */
#define JOBS_MAX 64
#define SETTLE_US (120 * USEC_PER_SEC)
#define CHORES_US (25 * USEC_PER_SEC)

struct plan plan;

/* ---- one seed ---- */
static struct plan plan_for(void)
{
    static const int64_t periods[] = {1, 1, 2, 4};
    bool calm = world_chance(50);
    struct plan p = {.streams = (int)world_between(1, 2),
                     .controllers = (int)world_between(1, 2),
                     .writers = 1,
                     .apps = 1,
                     .archives = world_chance(300),
                     .partitions = (int32_t)world_between(1, 3),
                     .period_us = periods[world_below(4)] * USEC_PER_SEC,
                     .lateness_us = world_between(1, 10) * 100 * USEC_PER_MSEC,
                     .max_lateness_us = world_chance(250) ? 3 * USEC_PER_SEC : 10 * USEC_PER_DAY,
                     .flush_us = world_between(1, 10) * 100 * USEC_PER_MSEC,
                     .load_us = world_between(3, 9) * USEC_PER_SEC,
                     .events = (int)world_between(10, 120),
                     .chores = world_chance(100),
                     .calm = calm};
    faults = (struct faults){.per_mille_yield = world_between(0, 100),
                             .per_mille_interleave = world_chance(500) ? world_between(0, 400) : 0};
    if (!calm) {
        faults.freeze_of_10000 = world_chance(300) ? world_between(1, 20) : 0;
        faults.per_mille_db = world_chance(300) ? world_between(0, 4) : 0;
        faults.per_mille_commit = world_chance(400) ? world_between(0, 80) : 0;
        faults.per_mille_bus = world_chance(400) ? world_between(0, 60) : 0;
    }
    return p;
}

static void judge(void *arg)
{
    (void)arg;
    while (!trouble_over())
        world_sleep(200 * USEC_PER_MSEC);
    int64_t calm = clock_mono_us(), chores_until = calm + (plan.chores ? CHORES_US : 0);
    while (!check_settled() || clock_mono_us() < chores_until) {
        if (clock_mono_us() > calm + SETTLE_US) {
            world_violation(
                "it does not settle: rows are left in ledger, pending windows or outbox %lld s after the last trouble",
                (long long)(SETTLE_US / USEC_PER_SEC));
            break;
        }
        world_sleep(200 * USEC_PER_MSEC);
    }
    world_halt();
}

static void on_end(struct proc *p)
{
    sim_store_ended(p);
}

/* True: nothing was broken. */
static bool run_seed(uint64_t seed, uint64_t *ret_trace, int64_t *ret_statements)
{
    world_begin(seed);
    plan = plan_for();
    world_on_end(on_end);
    sim_store_begin();
    sim_bus_begin(plan.partitions);
    services_begin();
    check_begin();
    load_begin();
    trouble_begin();
    (void)proc_start("judge", judge, NULL);
    world_run(INT64_MAX);
    if (!world_violated())
        check_end();
    world_on_end(NULL);
    bool ok = world_violated() == NULL;
    *ret_trace = world_trace();
    *ret_statements = sim_store_statements();
    world_say("%lld µs, %lld statements, trace %016llx", (long long)clock_mono_us(), (long long)*ret_statements,
              (unsigned long long)*ret_trace);
    world_end();
    load_end();
    archive_end();
    sim_bus_end();
    sim_store_end();
    return ok;
}

/* ---- many ---- */
static void print_failure(uint64_t seed, const char *words)
{
    (void)printf("{\"seed\": %llu, \"ok\": false, \"why\": \"", (unsigned long long)seed);
    for (const char *p = words; *p; p++)
        if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ')
            (void)printf("%c", *p == '"' ? '\'' : ' ');
        else
            (void)putchar(*p);
    (void)printf("\", \"again\": \"build/sim/sim --seed=%llu --verbose\"}\n", (unsigned long long)seed);
    (void)fflush(stdout);
}

struct job {
    pid_t pid;
    int fd; /* the seed it is at */
    uint64_t from;
    size_t n, done, failed;
};

static void child(const struct job *job, int fd, bool twice, size_t stop_after)
{
    size_t failed = 0;
    sim_store_open();
    for (uint64_t seed = job->from; seed < job->from + job->n && failed < stop_after; seed++) {
        uint64_t trace = 0, again = 0;
        int64_t statements = 0;
        bool ok = run_seed(seed, &trace, &statements);
        if (!ok)
            print_failure(seed, world_violated());
        if (ok && twice && (!run_seed(seed, &again, &statements) || again != trace)) {
            print_failure(seed, "the same seed did something else the second time");
            ok = false;
        }
        failed += !ok;
        (void)!write(fd, ok ? "." : "F", 1);
    }
    exit(failed ? 1 : 0);
}

static void job_start(struct job *job, uint64_t from, size_t n, bool twice, size_t stop_after)
{
    int ends[2];
    *job = (struct job){.from = from, .n = n};
    (void)fflush(stdout);
    if (pipe(ends) || (job->pid = fork()) < 0) {
        perror("sim");
        exit(2);
    }
    if (job->pid == 0) {
        (void)close(ends[0]);
        child(job, ends[1], twice, stop_after);
    }
    (void)close(ends[1]);
    job->fd = ends[0];
}

/* What the child says: a seed done, or failed; then its end. False: it has ended. */
static bool job_read(struct job *job)
{
    char said[256];
    ssize_t n = read(job->fd, said, sizeof said);
    if (n < 0 && errno == EINTR)
        return true;
    for (ssize_t i = 0; i < n; i++) {
        job->done++;
        job->failed += said[i] == 'F';
    }
    return n > 0;
}

static size_t job_end(struct job *job)
{
    int status = 0;
    (void)close(job->fd);
    (void)waitpid(job->pid, &status, 0);
    if (!WIFEXITED(status)) { /* the seed that was begun last killed it */
        char words[80];
        (void)snprintf(words, sizeof words, "it ended by signal %d", WTERMSIG(status));
        print_failure(job->from + job->done, words);
        job->failed++;
        job->done++;
    }
    return job->failed;
}

/* The file is there while seeds are left; a failed one is where the next call begins. */
static uint64_t read_state(const char *path, uint64_t from)
{
    unsigned long long at = 0;
    FILE *f = path ? fopen(path, "r") : NULL;
    if (f && fscanf(f, "%llu", &at) != 1)
        at = 0;
    if (f)
        (void)fclose(f);
    return at > from ? at : from;
}

static void write_state(const char *path, uint64_t next, uint64_t end)
{
    if (path && next >= end)
        (void)remove(path);
    FILE *f = path && next < end ? fopen(path, "w") : NULL;
    if (!f)
        return;
    (void)fprintf(f, "%llu\n", (unsigned long long)next);
    (void)fclose(f);
}

static uint64_t lowest(const struct job *jobs, size_t n, uint64_t next)
{
    for (size_t i = 0; i < n; i++)
        if (jobs[i].pid && jobs[i].from < next)
            next = jobs[i].from;
    return next;
}

static int run_many(uint64_t from, uint64_t n, size_t n_jobs, const char *state, bool twice, size_t stop_after)
{
    struct job jobs[JOBS_MAX] = {{0}};
    struct timespec began, ended;
    uint64_t end = from + n, next = read_state(state, from), first = next;
    size_t failed = 0, running = 0;
    (void)clock_gettime(CLOCK_MONOTONIC, &began);
    for (;;) {
        for (size_t i = 0; i < n_jobs; i++)
            if (!jobs[i].pid && next < end && failed < stop_after) {
                size_t some = end - next < CHUNK ? (size_t)(end - next) : CHUNK;
                job_start(&jobs[i], next, some, twice, stop_after);
                next += some;
                running++;
            }
        if (!running)
            break;
        struct pollfd fds[JOBS_MAX];
        for (size_t i = 0; i < n_jobs; i++)
            fds[i] = (struct pollfd){.fd = jobs[i].pid ? jobs[i].fd : -1, .events = POLLIN};
        (void)poll(fds, n_jobs, -1);
        for (size_t i = 0; i < n_jobs; i++) {
            if (!fds[i].revents || job_read(&jobs[i]))
                continue;
            size_t rest = jobs[i].n;
            uint64_t at = jobs[i].from;
            failed += job_end(&jobs[i]);
            rest -= jobs[i].done;
            at += jobs[i].done;
            jobs[i].pid = 0;
            running--;
            if (rest && failed < stop_after) {
                job_start(&jobs[i], at, rest, twice, stop_after);
                running++;
            }
            if (!failed)
                write_state(state, lowest(jobs, n_jobs, next), end);
        }
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &ended);
    (void)printf(
        "{\"test\": \"X1\", \"seeds\": %llu, \"from\": %llu, \"failed\": %zu, \"ok\": %s, \"seconds\": %.1f}\n",
        (unsigned long long)(next - first), (unsigned long long)first, failed, failed ? "false" : "true",
        (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) * 1e-9);
    return failed ? 1 : 0;
}

static int run_one(uint64_t seed)
{
    uint64_t trace;
    int64_t statements;
    sim_store_open();
    bool ok = run_seed(seed, &trace, &statements);
    if (!ok)
        print_failure(seed, world_violated());
    (void)printf("{\"seed\": %llu, \"ok\": %s, \"trace\": \"%016llx\", \"statements\": %lld}\n",
                 (unsigned long long)seed, ok ? "true" : "false", (unsigned long long)trace, (long long)statements);
    return ok ? 0 : 1;
}

static bool option(const char *arg, const char *name, const char **ret)
{
    size_t n = strlen(name);
    if (strncmp(arg, name, n) != 0 || arg[n] != '=')
        return false;
    *ret = arg + n + 1;
    return true;
}

int main(int argc, char **argv)
{
    const char *seeds = NULL, *seed = NULL, *from = "1", *jobs = "2", *state = NULL, *again = NULL, *stop = "1";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0)
            world_verbose = true;
        else if (!option(argv[i], "--seeds", &seeds) && !option(argv[i], "--seed", &seed) &&
                 !option(argv[i], "--from", &from) && !option(argv[i], "--jobs", &jobs) &&
                 !option(argv[i], "--state", &state) && !option(argv[i], "--again", &again) &&
                 !option(argv[i], "--stop-after", &stop)) {
            (void)fprintf(stderr, "what is %s? The head of tests/sim/main.c has the options\n", argv[i]);
            return 2;
        }
    }
    size_t n_jobs = strtoul(jobs, NULL, 10);
    n_jobs = n_jobs < 1 ? 1 : n_jobs > JOBS_MAX ? JOBS_MAX : n_jobs;
    log_open("sim", world_verbose ? LOG_DEBUG : LOG_ERROR);
    if (!world_verbose)
        log_to(-1);
    if (seed)
        return run_one(strtoull(seed, NULL, 10));
    return run_many(strtoull(from, NULL, 10),
                    strtoull(again   ? again
                             : seeds ? seeds
                                     : "1000",
                             NULL, 10),
                    n_jobs, state, again != NULL, strtoul(stop, NULL, 10));
}
