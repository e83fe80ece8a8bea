/* The project's services as processes of the world, and who uses them. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "bus/bus.h"
#include "db/db.h"

#define SIM_PROJECT "shop"
#define SIM_SYSTEM "sim"
#define SIM_APP "counter"
#define SIM_ARCHIVE "archive"
#define SIM_ENDPOINTS 3

/* What differs from seed to seed. */
struct plan {
    int streams, controllers, writers, apps, archives;
    int32_t partitions;
    int64_t period_us, lateness_us, max_lateness_us, flush_us, load_us;
    int events;
    bool calm;   /* no faults */
    bool chores; /* goes on until windows were folded and swept */
};
extern struct plan plan;

/* services.c, readers.c: what runs in a process. */
struct bus_config sim_bus_config(void);
struct db_config sim_db_config(void);
void sim_must(rc_t rc, const struct err *e, const char *what);
void sim_wait_for_stop(void);
void stream_main(void *arg);
void controller_main(void *arg);
void writer_main(void *arg);
void app_main_of(void *arg);
void archive_main(void *arg);
void services_begin(void); /* the project, its app */

/* What the archive wrote: files by name, each put in place whole, again and again. */
struct archive_file {
    char name[64];
    int64_t *offsets;
    size_t n;
    struct archive_file *next;
};
struct archive_file *archive_files(void);
void archive_end(void);

/* load.c: events, and what is known of them. */
struct sim_event {
    int endpoint;
    int64_t when_us, value;
    int64_t offset;   /* in its log, where it came first; -1: it never did */
    int64_t first_us; /* … and when */
    int32_t partition;
    bool poison;
};
void load_begin(void);
bool load_done(void);
const struct sim_event *load_events(size_t *ret_n);
void load_end(void);

/* trouble.c: starts the services, ends them, starts them again; breaks what is around them. */
void trouble_begin(void);
bool trouble_over(void);
