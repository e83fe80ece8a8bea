/* The world of one seed: virtual time, and processes made of tasks that take turns on one thread. Whatever may happen in more than one
 * way is decided by the seed, so the same seed does the same.
 *
 * Real code runs in tasks. Where it waits (worker_wait, clock_sleep_us, clock_cond_wait, a statement, a poll) the world goes on with
 * another; a process can be killed or put to sleep at each of these places. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"

/* ---- chance ---- */
uint64_t world_random(void);
int64_t world_below(int64_t n);                   /* 0 … n-1 */
int64_t world_between(int64_t low, int64_t high); /* both included */
bool world_chance(int64_t per_mille);
uint64_t world_trace(void);     /* what has happened so far, as a number: the same for the same seed */
void world_note(uint64_t what); /* adds to it */

/* ---- time and turns ---- */
void world_begin(uint64_t seed);
void world_end(void);             /* frees tasks; processes are gone without a word */
void world_run(int64_t until_us); /* takes turns until then, or until world_halt */
void world_halt(void);
void world_sleep(int64_t us);
/* Until somebody notifies of key (true), or until then (monotonic). */
bool world_wait(const void *key, int64_t until_us);
void world_notify(const void *key);
/* A place where the process may end, and others may have their turn. */
void world_point(void);

/* ---- processes ---- */
struct proc;
struct proc *proc_start(const char *name, void (*run)(void *arg), void *arg);
void proc_task(void (*run)(void *arg), void *arg); /* one more task of the process that runs */
struct proc *proc_now(void);                       /* NULL: the world itself (world_begin … world_run) */
const char *proc_name(const struct proc *p);
bool proc_alive(const struct proc *p);
void proc_kill(struct proc *p);                   /* not the one that runs: that is proc_exit */
void proc_kill_in(struct proc *p, int points);    /* at the so-manieth place from now */
void proc_freeze(struct proc *p, int64_t for_us); /* SIGSTOP and SIGCONT */
bool proc_frozen(const struct proc *p);
void proc_ask_stop(struct proc *p); /* SIGTERM: what it does is its own business */
bool proc_asked(const struct proc *p);
void proc_exit(void) __attribute__((noreturn)); /* the process that runs, at once */
/* Told of each process that has ended, however it did. */
void world_on_end(void (*fn)(struct proc *p));

/* ---- faults of the surroundings, asked by bus and store ---- */
struct faults {
    int64_t per_mille_yield;               /* a point lets others have their turn */
    int64_t freeze_of_10000;               /* a point freezes its process for seconds */
    int64_t per_mille_db;                  /* a statement fails, its connection is lost */
    int64_t per_mille_commit;              /* the answer to a COMMIT is lost: done, not done, or done later */
    int64_t per_mille_bus;                 /* a message is not acknowledged, or a question not answered */
    int64_t per_mille_interleave;          /* a statement of a transaction lets others have their turn */
    int64_t db_down_until, bus_down_until; /* virtual, monotonic */
};
extern struct faults faults;

/* ---- verdicts ---- */
void world_violation(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
const char *world_violated(void); /* the first one; NULL: none */
extern bool world_verbose;
void world_say(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* with --verbose */
