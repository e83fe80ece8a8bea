/* Metrics: the text is valid, labels are bounded and escaped, no update is lost between threads. */
#include <math.h>
#include <pthread.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "metrics/metrics.h"

enum { EVENTS, SECONDS, DEPTH, BUSY, PROJECTS };
static const double bounds[] = {0.1, 1};
static const struct metric_row rows[] = {
    [EVENTS] = {.name = "t_events_total",
                .kind = METRIC_COUNTER,
                .help = "Events\nwith \\ in it.",
                .labels = {{.name = "trigger", .values = (const char *const[]){"http", "kafka", NULL}},
                           {.name = "ok", .values = (const char *const[]){"yes", "no", NULL}}}},
    [SECONDS] = {.name = "t_seconds", .kind = METRIC_HISTOGRAM, .help = "Time.", .buckets = bounds, .bucket_count = 2},
    [DEPTH] = {.name = "t_depth", .kind = METRIC_GAUGE, .help = "Depth."},
    [BUSY] = {.name = "t_busy_seconds_total", .kind = METRIC_COUNTER, .scale = 1e-6, .help = "Busy."},
    [PROJECTS] = {.name = "t_projects_total",
                  .kind = METRIC_COUNTER,
                  .help = "By project.",
                  .labels = {{.name = "project", .cap = 3}}},
};
static struct metric_set set = METRIC_SET(rows);

static struct buf render(void)
{
    struct buf b = {0};
    metrics_render(&b);
    return b;
}

static void assert_line(const char *line)
{
    struct buf b = render();
    if (strstr(b.data, line) == NULL)
        fail_msg("no \"%s\" in\n%s", line, b.data);
    buf_done(&b);
}

static void counters_gauges_histograms(void **state)
{
    (void)state;
    metric_add(metrics_at(&set, EVENTS, 1, 0), 3);
    metric_set(metrics_at(&set, DEPTH, 0, 0), -INFINITY);
    metric_add(metrics_at(&set, BUSY, 0, 0), 1500000);
    metric_observe(metrics_at(&set, SECONDS, 0, 0), 0.1);
    metric_observe(metrics_at(&set, SECONDS, 0, 0), 0.5);
    metric_observe(metrics_at(&set, SECONDS, 0, 0), 7);
    assert_line("# HELP t_events_total Events\\nwith \\\\ in it.\n# TYPE t_events_total counter\n"
                "t_events_total{trigger=\"http\",ok=\"yes\"} 0\n");
    assert_line("\nt_events_total{trigger=\"kafka\",ok=\"yes\"} 3\n");
    assert_line("\nt_depth -Inf\n");
    assert_line("\nt_busy_seconds_total 1.5\n");
    assert_line("\nt_seconds_bucket{le=\"0.1\"} 1\nt_seconds_bucket{le=\"1\"} 2\nt_seconds_bucket{le=\"+Inf\"} 3\n"
                "t_seconds_sum 7.6\nt_seconds_count 3\n");
    assert_true(metric_read(metrics_at(&set, BUSY, 0, 0)) == 1.5);
}

static void learned_labels_have_a_cap(void **state)
{
    (void)state;
    assert_int_equal(metrics_label(&set, PROJECTS, 0, STR("a\"b\\c\nd")), 0);
    assert_int_equal(metrics_label(&set, PROJECTS, 0, STR("two")), 1);
    assert_int_equal(metrics_label(&set, PROJECTS, 0, STR("\xFF")), 3); /* not text: other */
    assert_int_equal(metrics_label(&set, PROJECTS, 0, STR("three")), 2);
    for (int i = 0; i < 1000; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "p%d", i);
        size_t at = metrics_label(&set, PROJECTS, 0, str_of(name));
        assert_int_equal(at, 3);
        metric_add(metrics_at(&set, PROJECTS, at, 0), 1);
    }
    assert_int_equal(metrics_label(&set, PROJECTS, 0, STR("two")), 1);
    metric_add(metrics_at(&set, PROJECTS, 0, 0), 1);
    assert_line("\nt_projects_total{project=\"a\\\"b\\\\c\\nd\"} 1\nt_projects_total{project=\"other\"} 1000\n");
}

static void *add_many(void *arg)
{
    for (int i = 0; i < 20000; i++) {
        metric_add(arg, 1);
        metric_observe(metrics_at(&set, SECONDS, 0, 0), 1);
    }
    return NULL;
}

static void no_update_is_lost(void **state)
{
    (void)state;
    struct metric *m = metrics_at(&set, EVENTS, 0, 1), *h = metrics_at(&set, SECONDS, 0, 0);
    double before = metric_read(h);
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, add_many, m), 0);
    struct buf b = render(); /* meanwhile */
    buf_done(&b);
    for (int i = 0; i < 4; i++)
        (void)pthread_join(t[i], NULL);
    assert_true(metric_read(m) == 80000);
    assert_true(metric_read(h) == before + 80000);
    assert_line("\nt_seconds_sum 80007.6\n");
}

static void look_up(void *arg)
{
    metric_set(metrics_at(&set, DEPTH, 0, 0), *(const double *)arg);
}

static void gauges_are_looked_up(void **state)
{
    (void)state;
    double depth = 42.5;
    metrics_on_render(look_up, &depth);
    assert_line("\nt_depth 42.5\n");
    metrics_off_render(look_up, &depth);
    depth = 1;
    assert_line("\nt_depth 42.5\n");
}

/* Every line by the grammar of the text format; every sample behind its own HELP and TYPE. */
static void the_text_is_valid(void **state)
{
    (void)state;
    regex_t sample, comment;
    struct buf b = render();
    char family[128] = "";
    int samples = 0;
    assert_int_equal(regcomp(&sample,
                             "^[a-zA-Z_:][a-zA-Z0-9_:]*([{][a-z_]+=\"([^\"\\\\]|\\\\[\\\\\"n])*\"(,[a-z_]+=\"([^\"\\\\]"
                             "|\\\\[\\\\\"n])*\")*[}])? "
                             "([-+]?[0-9.]+(e-?[0-9]+)?|NaN|[+-]Inf)$",
                             REG_EXTENDED | REG_NOSUB),
                     0);
    assert_int_equal(regcomp(&comment, "^# (HELP [a-z_0-9]+ .+|TYPE [a-z_0-9]+ (counter|gauge|histogram))$",
                             REG_EXTENDED | REG_NOSUB),
                     0);
    assert_int_equal(b.data[b.len - 1], '\n');
    for (char *line = b.data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        if (regexec(*line == '#' ? &comment : &sample, line, 0, NULL, 0) != 0)
            fail_msg("not valid: %s", line);
        if (sscanf(line, "# TYPE %100s", family) == 1 || *line == '#')
            continue;
        samples++;
        if (strncmp(line, family, strlen(family)) != 0)
            fail_msg("%s stands under %s", line, family);
    }
    assert_true(samples >= 15);
    regfree(&sample);
    regfree(&comment);
    buf_done(&b);
}

static void the_process_is_there(void **state)
{
    (void)state;
    struct buf b = render();
    static const char *const names[] = {"process_cpu_seconds_total", "process_resident_memory_bytes",
                                        "process_open_fds", "process_threads", "process_start_time_seconds"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char want[64];
        double v = 0;
        (void)snprintf(want, sizeof want, "\n%s ", names[i]);
        const char *at = strstr(b.data, want);
        assert_non_null(at);
        assert_int_equal(sscanf(at + strlen(want), "%lf", &v), 1);
        if (!(v > 0))
            fail_msg("%s is %f", names[i], v);
    }
    buf_clear(&b);
    metrics_markdown(&b);
    assert_non_null(strstr(b.data, "| `t_depth` | gauge | | Depth. |\n"));
    assert_non_null(strstr(b.data, "| `t_events_total` | counter | `trigger`, `ok` |"));
    buf_done(&b);
}

int main(void)
{
    metrics_register(&set);
    metrics_register(&set);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_gauges_histograms), cmocka_unit_test(learned_labels_have_a_cap),
        cmocka_unit_test(no_update_is_lost),          cmocka_unit_test(gauges_are_looked_up),
        cmocka_unit_test(the_text_is_valid),          cmocka_unit_test(the_process_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
