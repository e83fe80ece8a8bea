/* Health: what makes a service not ready, and what it says then. */
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "log/log.h"
#include "service/health.h"

static void assert_state(struct health *h, bool ready, const char *text)
{
    struct buf b = {0};
    assert_int_equal(health_ready(h), ready);
    assert_int_equal(health_render(h, &b), ready);
    if (strstr(b.data, text) == NULL)
        fail_msg("no %s in %s", text, b.data);
    buf_done(&b);
}

static void dependencies_decide(void **state)
{
    (void)state;
    struct health *h = health_new("stream");
    assert_state(h, true, "{\"status\":\"ok\",\"service\":\"stream\",\"dependencies\":[]}");
    struct health_dep *bus = health_add(h, "bus", HEALTH_REQUIRED, 0);
    struct health_dep *cache = health_add(h, "cache", HEALTH_OPTIONAL, 0);
    assert_ptr_equal(health_add(h, "bus", HEALTH_REQUIRED, 0), bus);
    assert_state(h, false, "\"status\":\"starting\"");
    health_set(bus, HEALTH_OK, "%s", "");
    assert_state(h, true, "\"status\":\"degraded\""); /* the cache has not been there yet */
    health_set(cache, HEALTH_OK, "%s", "");
    assert_state(h, true, "\"status\":\"ok\"");
    health_set(cache, HEALTH_DOWN, "no \"redis\" at %s: check REDIS_URL", "r:6379");
    assert_state(h, true, "{\"name\":\"cache\",\"state\":\"down\",\"required\":false,\"since\":\"2");
    assert_state(h, true, "\"detail\":\"no \\\"redis\\\" at r:6379: check REDIS_URL\"}");
    health_set(bus, HEALTH_DEGRADED, "slow");
    assert_state(h, true, "\"status\":\"degraded\"");
    health_set(bus, HEALTH_DOWN, "gone");
    assert_state(h, false, "\"status\":\"down\"");
    health_set(bus, HEALTH_OK, "%s", "");
    health_drain(h);
    assert_state(h, false, "\"status\":\"draining\"");
    health_free(h);
    health_free(NULL);
}

static void a_short_outage_is_not_told(void **state)
{
    (void)state;
    struct health *h = health_new("stream");
    struct health_dep *bus = health_add(h, "bus", HEALTH_REQUIRED, 100 * USEC_PER_MSEC);
    health_set(bus, HEALTH_OK, "%s", "");
    health_set(bus, HEALTH_DOWN, "gone");
    int64_t from = clock_mono_us();
    assert_state(h, true, "\"state\":\"down\"");
    while (health_ready(h) && clock_mono_us() - from < 10 * USEC_PER_SEC)
        health_set(bus, HEALTH_DOWN, "still gone"); /* does not start it again */
    assert_true(clock_mono_us() - from >= 100 * USEC_PER_MSEC && clock_mono_us() - from < 10 * USEC_PER_SEC);
    health_free(h);
}

static void parts_of_one_process_are_told_together(void **state)
{
    (void)state;
    struct health *h = health_new("modelmon");
    struct health *stream = health_part(h, "stream"), *writer = health_part(h, "writer");
    struct health_dep *a = health_add(stream, "bus", HEALTH_REQUIRED, 0),
                      *b = health_add(writer, "bus", HEALTH_REQUIRED, 0);
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(health_add(stream, "bus", HEALTH_REQUIRED, 0), a);
    health_set(a, HEALTH_OK, "%s", "");
    health_set(b, HEALTH_DOWN, "gone");
    assert_state(h, false, "\"name\":\"writer/bus\",\"state\":\"down\"");
    health_set(b, HEALTH_OK, "%s", "");
    assert_state(h, true, "\"name\":\"stream/bus\",\"state\":\"ok\"");
    health_drain(stream);
    assert_state(h, false, "\"status\":\"draining\"");
    health_free(h);
}

int main(void)
{
    log_open("test", LOG_ERROR);
    const struct CMUnitTest tests[] = {cmocka_unit_test(dependencies_decide), cmocka_unit_test(a_short_outage_is_not_told),
                                       cmocka_unit_test(parts_of_one_process_are_told_together)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
