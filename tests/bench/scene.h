/* What benchmarks of whole services share: a database and a project of their own, the service as a process, its CPU, result lines.
 * Anything that goes wrong ends the program with words; what was started ends with it. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>
#include "../support/testdb.h"
#include "base/buf.h"
#include "bus/bus.h"
#include "event/names.h"

enum { SCENE_FEATURES = 20, SCENE_PARTITIONS = 8, SCENE_ROUNDS = 3 };

struct scene {
    bool smoke; /* MM_BENCH_SMOKE: small sizes, the work is judged, not its speed */
    struct testdb db;
    struct bus_config bus;
    struct bus_producer *producer;
    char system[24], project[24];
    int32_t project_id;
    char dir[300];
};
void scene_open(struct scene *s);
void scene_close(struct scene *s);
int32_t scene_project(struct scene *s, const char *name);
int32_t scene_project_in(struct db *db, const char *name);
/* The topic is there with SCENE_PARTITIONS partitions. */
void scene_topic(struct scene *s, const char *topic);
void scene_need(rc_t rc, const char *what, const struct err *e);
__attribute__((noreturn)) void scene_die(const char *what, const char *words);

/* ---- the service ---- */
struct process {
    pid_t pid;
    int port;
    const char *verb; /* NULL: the binary has none */
};
/* more: NAME, value, NAME, value, …, NULL. Comes back when /readyz is 200; what it logs is in SCENE/BINARY.log. */
void process_start(struct process *p, const struct scene *s, const char *binary, const char *const *more);
void process_spawn(struct process *p, const struct scene *s, const char *binary, const char *const *more); /* at once */
void process_stop(struct process *p); /* SIGTERM; it must end well */
double process_cpu_us(const struct process *p);
double process_memory_mib(const struct process *p, const char *row); /* of /proc/PID/status, with its colon */

/* ---- numbers ---- */
double scene_median(double *values, size_t n); /* sorts them */
/* An inference event as V2ModelServer sends it: SCENE_FEATURES numbers of 17 digits, about 770 bytes. */
void scene_event(struct buf *out, const struct scene *s, size_t nth);
void scene_uid(char out[33], size_t nth);
/* One line on stdout. low: the ratio must be at most the bar, else at least. bar_is_value: the bar is about the value itself.
 * Gives whether it was met. */
struct scene_line {
    const char *bench, *unit;
    double value, yardstick, ratio, bar; /* yardstick 0: none */
    bool met;
};
bool scene_print(const struct scene_line *line);
