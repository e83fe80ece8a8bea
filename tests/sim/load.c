/* Clients that send events, some late, some again, some that are none; and the book of what reached the log. */
#include <stdio.h>
#include <string.h>
#include "actors.h"
#include "base/mem.h"
#include "base/time.h"
#include "bus.h"
#include "event/names.h"
#include "world.h"

#define CLIENTS 3
#define TRIES_MAX 60

static struct {
    struct sim_event *events;
    size_t n;
    int running;
} load;

static void send_once(const char *topic, struct sim_event *ev, size_t number, bool *ret_told)
{
    char text[200], when[TIME_TEXT];
    (void)time_rfc3339(when, ev->when_us);
    int n = ev->poison
                ? snprintf(text, sizeof text, "!%zu", number)
                : snprintf(text, sizeof text,
                           "{\"model\":\"m%d\",\"inputs\":[[%lld]],\"outputs\":[0],\"id\":\"e%zu\",\"when\":\"%s\"}",
                           ev->endpoint, (long long)ev->value, number, when);
    int64_t offset = -1;
    *ret_told = sim_append(topic, ev->partition, (struct str){0}, (struct str){text, (size_t)n}, &offset);
    if (offset >= 0 && ev->offset < 0) {
        ev->offset = offset;
        ev->first_us = clock_now_us();
    }
}

static int64_t time_of_event(void)
{
    int64_t now = clock_now_us();
    if (world_chance(120))
        return now - world_below(4 * plan.period_us);
    return now - world_below(300 * USEC_PER_MSEC);
}

static void client(void *arg)
{
    char topic[NAME_TOPIC_MAX + 1];
    struct err e;
    int64_t gap = plan.load_us * CLIENTS / (plan.events + 1);
    (void)arg;
    if (topic_stream(topic, SIM_SYSTEM, STR(SIM_PROJECT), &e))
        return;
    while (!sim_topic(topic))
        world_sleep(50 * USEC_PER_MSEC);
    for (int i = 0; i < plan.events / CLIENTS; i++) {
        world_sleep(world_chance(50) ? world_below(5 * gap) : world_below(2 * gap));
        size_t number = load.n++;
        struct sim_event *ev = &load.events[number];
        *ev = (struct sim_event){.endpoint = (int)world_below(SIM_ENDPOINTS),
                                 .value = (int64_t)number + 1,
                                 .offset = -1,
                                 .partition = (int32_t)world_below(1000),
                                 .poison = world_chance(20)};
        ev->when_us = time_of_event();
        bool told = false;
        for (int tries = 0; !told && tries < TRIES_MAX && (tries == 0 || !world_chance(20)); tries++) {
            send_once(topic, ev, number, &told);
            if (!told)
                world_sleep(world_below(300 * USEC_PER_MSEC));
        }
        while (world_chance(60)) /* it thinks that it was not told */
            send_once(topic, ev, number, &told);
    }
    load.running--;
}

static void clients(void *arg)
{
    (void)arg;
    for (int i = 1; i < CLIENTS; i++)
        proc_task(client, NULL);
    client(NULL);
}

void load_begin(void)
{
    load.events = mem_array((size_t)plan.events + CLIENTS, sizeof *load.events);
    load.n = 0;
    load.running = CLIENTS;
    (void)proc_start("clients", clients, NULL);
}

bool load_done(void)
{
    return load.running == 0;
}

const struct sim_event *load_events(size_t *ret_n)
{
    *ret_n = load.n;
    return load.events;
}

void load_end(void)
{
    mem_free(load.events);
    load.events = NULL;
    load.n = 0;
}
