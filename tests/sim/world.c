/* Virtual time, tasks, processes. */
#include "world.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include "service/worker.h"

#define STACK_BYTES (256u << 10)
#define TASKS_MAX 96
#define PROCS_MAX 256
#define WALL_ZERO INT64_C(1735689600000000) /* 2025-01-01 */

struct task {
    struct proc *proc;
    ucontext_t ctx;
    void *stack;
    void (*run)(void *arg);
    void *arg;
    int64_t wake_us;
    uint64_t order; /* among those that wake at the same time */
    const void *key;
    bool notified, done;
};
struct proc {
    const char *name;
    int number, kill_in;
    bool alive, asked;
    int64_t frozen_until;
};

static struct {
    uint64_t rng, trace;
    int64_t mono;
    struct task *tasks[TASKS_MAX];
    size_t n_tasks;
    struct proc procs[PROCS_MAX];
    size_t n_procs;
    struct task *now;
    ucontext_t main;
    void *spare[TASKS_MAX];
    size_t n_spare;
    bool halted;
    char violation[400];
    void (*on_end)(struct proc *p);
} w;
struct faults faults;
bool world_verbose;

/* ---- chance ---- */
uint64_t world_random(void)
{
    uint64_t z = (w.rng += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

int64_t world_below(int64_t n)
{
    return n > 0 ? (int64_t)(world_random() % (uint64_t)n) : 0;
}

int64_t world_between(int64_t low, int64_t high)
{
    return low + world_below(high - low + 1);
}

bool world_chance(int64_t per_mille)
{
    return per_mille > 0 && world_below(1000) < per_mille;
}

uint64_t world_trace(void)
{
    return w.trace;
}

void world_note(uint64_t what)
{
    w.trace = (w.trace ^ what) * UINT64_C(0x100000001b3);
    w.trace ^= w.trace >> 29;
}

/* ---- verdicts ---- */
void world_say(const char *fmt, ...)
{
    va_list args;
    if (!world_verbose)
        return;
    (void)fprintf(stderr, "%11.6f %-10s ", (double)w.mono * 1e-6, w.now ? w.now->proc->name : "");
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fputc('\n', stderr);
}

void world_violation(const char *fmt, ...)
{
    va_list args;
    char text[sizeof w.violation];
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    world_say("VIOLATION: %s", text);
    if (!w.violation[0])
        memcpy(w.violation, text, sizeof text);
}

const char *world_violated(void)
{
    return w.violation[0] ? w.violation : NULL;
}

/* ---- tasks ---- */
static void task_main(void)
{
    w.now->run(w.now->arg);
    w.now->done = true;
    (void)swapcontext(&w.now->ctx, &w.main);
    abort();
}

static void *stack_new(void)
{
    if (w.n_spare)
        return w.spare[--w.n_spare];
    void *p = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        abort();
    return p;
}

static struct task *task_new(struct proc *p, void (*run)(void *arg), void *arg)
{
    struct task *t = calloc(1, sizeof *t);
    if (!t || w.n_tasks == TASKS_MAX)
        abort();
    *t = (struct task){.proc = p, .stack = stack_new(), .run = run, .arg = arg, .wake_us = w.mono, .order = world_random()};
    (void)getcontext(&t->ctx);
    t->ctx.uc_stack.ss_sp = t->stack;
    t->ctx.uc_stack.ss_size = STACK_BYTES;
    t->ctx.uc_link = NULL;
    makecontext(&t->ctx, task_main, 0);
    w.tasks[w.n_tasks++] = t;
    return t;
}

static void task_free(size_t at)
{
    struct task *t = w.tasks[at];
    w.tasks[at] = w.tasks[--w.n_tasks];
    w.spare[w.n_spare++] = t->stack;
    free(t);
}

/* Those that have ended, and whose process has. */
static void tasks_sweep(void)
{
    for (size_t i = w.n_tasks; i-- > 0;)
        if (w.tasks[i]->done || !w.tasks[i]->proc->alive)
            task_free(i);
}

static int64_t wakes(const struct task *t)
{
    return t->wake_us > t->proc->frozen_until ? t->wake_us : t->proc->frozen_until;
}

static struct task *next_task(void)
{
    struct task *best = NULL;
    for (size_t i = 0; i < w.n_tasks; i++) {
        struct task *t = w.tasks[i];
        if (!best || wakes(t) < wakes(best) || (wakes(t) == wakes(best) && t->order < best->order))
            best = t;
    }
    return best;
}

/* Back to the world; another has its turn. */
static void switch_out(void)
{
    struct task *t = w.now;
    (void)swapcontext(&t->ctx, &w.main);
    w.now = t;
}

static void kill_if_due(struct proc *p)
{
    if (p->kill_in > 0 && --p->kill_in == 0) {
        world_say("killed here");
        proc_exit();
    }
}

void world_sleep(int64_t us)
{
    struct task *t = w.now;
    kill_if_due(t->proc);
    t->wake_us = w.mono + (us > 0 ? us : 0) + world_below(50);
    t->order = world_random();
    switch_out();
    kill_if_due(t->proc);
}

bool world_wait(const void *key, int64_t until_us)
{
    struct task *t = w.now;
    kill_if_due(t->proc);
    t->key = key;
    t->notified = false;
    t->wake_us = until_us > w.mono ? until_us : w.mono;
    t->order = world_random();
    switch_out();
    t->key = NULL;
    kill_if_due(t->proc);
    return t->notified;
}

void world_notify(const void *key)
{
    for (size_t i = 0; i < w.n_tasks; i++)
        if (w.tasks[i]->key == key) {
            w.tasks[i]->notified = true;
            w.tasks[i]->key = NULL;
            w.tasks[i]->wake_us = w.mono + world_below(200);
        }
}

void world_point(void)
{
    if (!w.now)
        return;
    kill_if_due(w.now->proc);
    if (faults.freeze_of_10000 && world_below(10000) < faults.freeze_of_10000) { /* here, where it matters most */
        proc_freeze(w.now->proc, world_below(5 * USEC_PER_SEC));
        world_sleep(0);
    }
    if (world_chance(faults.per_mille_yield))
        world_sleep(world_chance(30) ? world_below(200 * USEC_PER_MSEC) : world_below(2 * USEC_PER_MSEC));
}

void world_begin(uint64_t seed)
{
    w.rng = seed * UINT64_C(0xd1342543de82ef95) + 1;
    w.trace = seed;
    w.mono = 1000 * USEC_PER_SEC + world_below(USEC_PER_SEC);
    w.halted = false;
    w.violation[0] = '\0';
    w.now = NULL;
    w.n_procs = 0;
    faults = (struct faults){0};
}

void world_end(void)
{
    for (size_t i = 0; i < w.n_procs; i++)
        w.procs[i].alive = false;
    tasks_sweep();
}

void world_halt(void)
{
    w.halted = true;
}

void world_run(int64_t until_us)
{
    while (!w.halted && !w.violation[0]) {
        struct task *t = next_task();
        if (!t || wakes(t) > until_us)
            break;
        w.mono = wakes(t) > w.mono ? wakes(t) : w.mono;
        world_note((uint64_t)w.mono ^ (uint64_t)t->proc->number << 48);
        w.now = t;
        (void)swapcontext(&w.main, &t->ctx);
        w.now = NULL;
        tasks_sweep();
    }
}

/* ---- processes ---- */
struct proc *proc_start(const char *name, void (*run)(void *arg), void *arg)
{
    if (w.n_procs == PROCS_MAX)
        abort();
    struct proc *p = &w.procs[w.n_procs];
    *p = (struct proc){.name = name, .number = (int)w.n_procs++, .alive = true};
    (void)task_new(p, run, arg);
    world_say("start %s", name);
    return p;
}

void proc_task(void (*run)(void *arg), void *arg)
{
    (void)task_new(w.now->proc, run, arg);
}

struct proc *proc_now(void)
{
    return w.now ? w.now->proc : NULL;
}

const char *proc_name(const struct proc *p)
{
    return p->name;
}

bool proc_alive(const struct proc *p)
{
    return p->alive;
}

static void ended(struct proc *p)
{
    if (!p->alive)
        return;
    p->alive = false;
    world_note((uint64_t)p->number * 31 + 7);
    if (w.on_end)
        w.on_end(p);
}

void proc_kill(struct proc *p)
{
    world_say("kill %s", p->name);
    ended(p);
}

void proc_kill_in(struct proc *p, int points)
{
    p->kill_in = points;
}

void proc_freeze(struct proc *p, int64_t for_us)
{
    world_say("freeze %s for %.3f s", p->name, (double)for_us * 1e-6);
    p->frozen_until = w.mono + for_us;
}

bool proc_frozen(const struct proc *p)
{
    return p->frozen_until > w.mono;
}

void proc_ask_stop(struct proc *p)
{
    p->asked = true;
    world_notify(p);
}

bool proc_asked(const struct proc *p)
{
    return p->asked;
}

void proc_exit(void)
{
    ended(w.now->proc);
    (void)swapcontext(&w.now->ctx, &w.main);
    abort();
}

void world_on_end(void (*fn)(struct proc *p))
{
    w.on_end = fn;
}

/* ---- the seams of base/clock.h ---- */
int64_t clock_now_us(void)
{
    return WALL_ZERO + w.mono;
}

int64_t clock_mono_us(void)
{
    return w.mono;
}

int64_t clock_cpu_us(void)
{
    return w.mono;
}

void clock_sleep_us(int64_t us)
{
    world_sleep(us);
}

void clock_cond_init(pthread_cond_t *c)
{
    (void)pthread_cond_init(c, NULL);
}

bool clock_cond_wait(pthread_cond_t *c, pthread_mutex_t *lock, int64_t until_us)
{
    (void)c; /* who signals it does not say so: looked at each millisecond */
    if (w.mono >= until_us)
        return false;
    (void)pthread_mutex_unlock(lock);
    world_sleep(USEC_PER_MSEC);
    (void)pthread_mutex_lock(lock);
    return true;
}

/* ---- the seam of service/worker.h: thread is 1 once it runs, wake_fd 1 when it was woken ---- */
static void worker_main(void *arg)
{
    struct worker *worker = arg;
    worker->run(worker, worker->arg);
    worker->end_fd = 1;
    world_notify(&worker->end_fd);
}

rc_t worker_start(struct worker *worker, const char *name, void (*run)(struct worker *w, void *arg), void *arg,
                  struct err *e)
{
    (void)e;
    *worker = (struct worker){.run = run, .arg = arg};
    (void)snprintf(worker->name, sizeof worker->name, "%s", name);
    worker->running = true;
    proc_task(worker_main, worker);
    return OK;
}

bool worker_stopping(struct worker *worker)
{
    return worker->stop;
}

bool worker_wait(struct worker *worker, int64_t us)
{
    if (worker->stop)
        return true;
    if (!worker->wake_fd)
        (void)world_wait(worker, us < 0 ? INT64_MAX : w.mono + us);
    bool woken = worker->wake_fd || worker->stop;
    worker->wake_fd = 0;
    return woken;
}

void worker_wake(struct worker *worker)
{
    worker->wake_fd = 1;
    world_notify(worker);
}

void worker_stop(struct worker *worker)
{
    if (!worker->running)
        return;
    worker->stop = true;
    worker_wake(worker);
}

rc_t worker_join(struct worker *worker, int64_t us)
{
    int64_t until = us < INT64_MAX - w.mono ? w.mono + us : INT64_MAX;
    while (worker->running && !worker->end_fd && w.mono < until)
        (void)world_wait(&worker->end_fd, until);
    if (worker->running && !worker->end_fd)
        return E_AGAIN;
    worker->running = false;
    return OK;
}
