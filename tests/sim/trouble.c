/* Who starts the services, ends them and starts them again, and breaks what is around them, until the load is done. */
#include "actors.h"
#include "base/mem.h"
#include "bus.h"
#include "store.h"
#include "world.h"

#define SERVICES_MAX 16

struct running {
    const char *name;
    void (*run)(void *arg);
    struct proc *proc;
    int64_t again_us; /* when it is started; 0: it runs */
};
static struct {
    struct running list[SERVICES_MAX];
    size_t n;
    bool over;
} t;

static void add(const char *name, void (*run)(void *arg), int n)
{
    for (int i = 0; i < n && t.n < SERVICES_MAX; i++)
        t.list[t.n++] = (struct running){
            .name = name, .run = run, .again_us = clock_mono_us() + world_below(500 * USEC_PER_MSEC)};
}

static void look_after(struct running *r)
{
    int64_t now = clock_mono_us();
    if (r->proc && !proc_alive(r->proc) && !r->again_us)
        r->again_us = now + world_below(world_chance(200) ? 4 * USEC_PER_SEC : 600 * USEC_PER_MSEC);
    if (r->again_us && r->again_us <= now) {
        r->again_us = 0;
        r->proc = proc_start(r->name, r->run, NULL);
    }
}

static struct running *any(void)
{
    struct running *r = &t.list[world_below((int64_t)t.n)];
    return r->proc && proc_alive(r->proc) ? r : NULL;
}

static void kill_one(void)
{
    struct running *r = any();
    if (r)
        proc_kill_in(r->proc, (int)world_between(1, 300));
}

static void freeze_one(void)
{
    struct running *r = any();
    if (r)
        proc_freeze(r->proc, world_chance(500) ? world_below(6 * USEC_PER_SEC) : world_below(800 * USEC_PER_MSEC));
}

static void stop_one(void)
{
    struct running *r = any();
    if (r)
        proc_ask_stop(r->proc);
}

static void cut_one(void)
{
    struct running *r = any();
    if (r)
        sim_store_cut(r->proc);
}

static void part_one(void)
{
    struct running *r = any();
    if (r)
        sim_bus_cut(r->proc, clock_mono_us() + world_below(5 * USEC_PER_SEC));
}

static void kill_database(void)
{
    world_say("the database is killed");
    sim_store_kill(world_below(1500 * USEC_PER_MSEC));
}

static void bus_away(void)
{
    world_say("the bus is away");
    faults.bus_down_until = clock_mono_us() + world_below(2 * USEC_PER_SEC);
}

static void trouble(void *arg)
{
    static void (*const kinds[])(void) = {kill_one, kill_one, freeze_one,    freeze_one, stop_one,
                                          cut_one,  part_one, kill_database, bus_away,   sim_bus_shake};
    bool wanted[sizeof kinds / sizeof *kinds]; /* a seed has some kinds of trouble, seldom all */
    int64_t next_us = clock_mono_us() + world_below(2 * USEC_PER_SEC);
    (void)arg;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        wanted[i] = !plan.calm && world_chance(500);
    int64_t every = world_between(300, 3000) * USEC_PER_MSEC;
    for (;;) {
        for (size_t i = 0; i < t.n; i++)
            look_after(&t.list[i]);
        if (load_done() && !t.over) {
            t.over = true;
            faults = (struct faults){.per_mille_yield = faults.per_mille_yield,
                                     .per_mille_interleave = faults.per_mille_interleave};
            world_say("calm from here on");
        }
        size_t kind = (size_t)world_below((int64_t)(sizeof kinds / sizeof *kinds));
        if (!t.over && clock_mono_us() >= next_us) {
            if (wanted[kind])
                kinds[kind]();
            next_us = clock_mono_us() + world_below(every);
        }
        world_sleep(20 * USEC_PER_MSEC);
    }
}

void trouble_begin(void)
{
    t.n = 0;
    t.over = false;
    add("stream", stream_main, plan.streams);
    add("controller", controller_main, plan.controllers);
    add("writer", writer_main, plan.writers);
    add("app", app_main_of, plan.apps);
    add("archive", archive_main, plan.archives);
    (void)proc_start("trouble", trouble, NULL);
}

bool trouble_over(void)
{
    return t.over;
}
