/* Stages out of rows: a pipeline's partitions become one line, the worst of them speaks. */
#include "stages.h"

#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/ledger.h"
#include "db/letter.h"
#include "db/project.h"
#include "db/window.h"
#include "operator.h"

#define LOOK_US (5 * USEC_PER_SEC)
#define LETTERS_US USEC_PER_DAY          /* older ones are no news */
#define FAILING_US (3600 * USEC_PER_SEC) /* an app that failed on a window this lately */
#define MINUTES(n) ((n)*60 * USEC_PER_SEC)

/* What is known by name; apps are "app:NAME". Patience is longer than what the stage's own options let things wait by default. */
static const struct known {
    const char *pipeline, *process;
    int64_t patience_us;
} known[] = {{"statistics", "stream", MINUTES(1)}, {"lake", "stream", MINUTES(5)}, {"writer", "writer", MINUTES(1)}};
static const struct known any_app = {"app:", "that app", MINUTES(5)};
#define CONTROLLER_PATIENCE_US MINUTES(5)
#define OUTBOX_PATIENCE_US MINUTES(1)

struct reading {
    const struct stages_from *from;
    struct arena *a;
    int64_t now_us;
    struct ledger_row *rows;
    size_t n_rows;
    struct err bus;
    struct stage *list;
    size_t n;
};

static const char *time_text(int64_t us, struct arena *a)
{
    char text[TIME_TEXT];
    size_t n = time_rfc3339(text, us);
    return arena_dup(a, text, n);
}

static int64_t patience(const struct reading *r, int64_t own)
{
    return r->from->patience_us ? r->from->patience_us : own;
}

static struct stage *add(struct reading *r, const char *name)
{
    struct stage *s = &r->list[r->n++];
    *s = (struct stage){.name = name, .state = "ok", .lag = -1};
    return s;
}

/* ---- the ends of a pipeline's logs ---- */
struct ends {
    struct bus_partition *at;
    int64_t *end;
    struct bus_mark *first; /* that waits */
    size_t n;
};

static void ends_of(struct reading *r, const struct ledger_row *rows, size_t n, struct ends *ends)
{
    *ends = (struct ends){arena_array(r->a, n + 1, sizeof *ends->at), arena_array(r->a, n + 1, sizeof *ends->end),
                          arena_array(r->a, n + 1, sizeof *ends->first), n};
    for (size_t i = 0; i < n; i++) {
        ends->at[i] = (struct bus_partition){rows[i].topic, rows[i].partition,
                                             rows[i].next_offset < 0 ? 0 : rows[i].next_offset};
        ends->end[i] = rows[i].end_offset;
        ends->first[i] = (struct bus_mark){-1, -1, 0};
    }
    if (!r->from->bus || r->bus.text[0])
        return; /* one time of waiting is enough */
    struct err why = {{0}};
    if (bus_look(r->from->bus, ends->at, n, ends->end, ends->first, LOOK_US, &why) != OK)
        r->bus = why;
}

/* ---- a pipeline ---- */
static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* When the oldest that waits in a partition came, or not later than that; 0: not known. */
static int64_t waits_since(const struct ledger_row *row, const struct bus_mark *first)
{
    return first->offset >= 0 && first->timestamp_us > 0 ? first->timestamp_us : row->frontier_us;
}

static void take_partition(struct reading *r, const struct known *k, const struct ledger_row *row, int64_t end,
                           const struct bus_mark *first, struct stage *s)
{
    int64_t next = row->next_offset < 0 ? (first->offset > 0 ? first->offset : 0) : row->next_offset;
    int64_t lag = end < 0 ? -1 : end > next ? end - next : 0;
    int64_t since = lag > 0 ? waits_since(row, first) : 0;
    if (lag >= 0)
        s->lag = (s->lag < 0 ? 0 : s->lag) + lag;
    if (since && (!s->oldest_us || since < s->oldest_us))
        s->oldest_us = since;
    /* A frontier goes on without records too. */
    int64_t moved = lag > 0 ? later(since, row->updated_us) : row->frontier_us ? row->updated_us : r->now_us;
    if (row->stopped[0]) {
        s->state = "stopped";
    } else if (strcmp(s->state, "stopped") != 0 && r->now_us - moved > patience(r, k->patience_us)) {
        s->state = "stalled";
        s->next = arena_printf(r->a,
                               "%s [%d] has not moved since %s: is %s running (%s had it)? Its log and /readyz say why",
                               row->topic, row->partition, time_text(row->updated_us ? row->updated_us : moved, r->a),
                               k->process, row->owner[0] ? row->owner : "nobody");
    } else if (lag > 0 && strcmp(s->state, "ok") == 0) {
        s->state = "behind";
    }
    if (row->stopped[0]) {
        CLEANUP(buf_done) struct buf line = {0};
        operator_add_skip(&line, str_of(row->pipeline), str_of(row->topic), row->partition);
        s->error = arena_dup(r->a, row->last_error, strlen(row->last_error));
        s->error_us = row->updated_us;
        s->next = arena_dup(r->a, line.data, line.len);
    }
}

/* The newest dead letter is the last error of a pipeline that has no other. */
static rc_t take_letter(struct reading *r, bool app, struct stage *s, struct err *e)
{
    const struct letter_filter f = {.pipeline = str_of(s->name), .limit = 1};
    struct letter_row *rows = NULL;
    struct db_rows *held = NULL;
    size_t n = 0;
    rc_t rc = letters_list(r->from->db, &f, &rows, &n, &held, e);
    if (rc)
        return rc;
    int64_t age = n ? r->now_us - rows[0].id.at_us : INT64_MAX;
    if (!s->error && age < LETTERS_US) {
        s->error = arena_printf(r->a, "%.*s: %.*s", STR_FMT(rows[0].reason), STR_FMT(rows[0].error));
        s->error_us = rows[0].id.at_us;
        if (app && age < FAILING_US && str_eqz(rows[0].reason, "app_failed") && strcmp(s->state, "stalled") != 0)
            s->state = "failing";
        if (!s->next)
            s->next = arena_printf(r->a, "modelmon dead-letters list --pipeline %s    # then retry or drop", s->name);
    }
    mem_free(rows);
    db_rows_free(held);
    return OK;
}

static rc_t add_pipeline(struct reading *r, const char *name, const struct known *k, struct err *e)
{
    struct stage *s = add(r, name);
    struct ends ends;
    size_t from = 0, n = 0;
    while (from < r->n_rows && strcmp(r->rows[from].pipeline, name) != 0)
        from++;
    while (from + n < r->n_rows && strcmp(r->rows[from + n].pipeline, name) == 0)
        n++;
    ends_of(r, r->rows + from, n, &ends);
    for (size_t i = 0; i < n; i++)
        take_partition(r, k, &r->rows[from + i], ends.end[i], &ends.first[i], s);
    if (n == 0 && k == &any_app) {
        bool alone = r->from->bus && bus_is_local(r->from->bus->brokers);
        s->state = alone ? "unserved" : "apart";
        s->next = alone
                      ? "its windows reach nobody: `modelmon run` without KAFKA_BROKERS has a log of its own, which no "
                        "other program reads. Set KAFKA_BROKERS, or PUT .../apps/NAME {\"active\": false}"
                      : "it keeps its own offsets: its consumer group says how far it is";
    }
    rc_t rc = take_letter(r, k == &any_app, s, e);
    s->hand = strcmp(s->state, "ok") != 0 && strcmp(s->state, "behind") != 0 && strcmp(s->state, "apart") != 0;
    return rc;
}

static bool is_listed(const struct reading *r, const char *name)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->list[i].name, name) == 0)
            return true;
    return false;
}

/* Those that are active in a project. */
static rc_t add_apps(struct reading *r, const struct app_row *apps, size_t n, struct err *e)
{
    rc_t rc = OK;
    for (size_t i = 0; !rc && i < n; i++) {
        const char *name = arena_printf(r->a, "app:%s", apps[i].name);
        if (apps[i].active && !is_listed(r, name))
            rc = add_pipeline(r, name, &any_app, e);
    }
    return rc;
}

/* ---- the controller ---- */
static int64_t least_frontier(const struct reading *r)
{
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < r->n_rows; i++)
        if (strcmp(r->rows[i].pipeline, "statistics") == 0 && r->rows[i].frontier_us < least)
            least = r->rows[i].frontier_us;
    return least;
}

static rc_t add_controller(struct reading *r, struct err *e)
{
    struct stage *s = add(r, "controller");
    rc_t rc = pending_depth(r->from->db, r->now_us, &s->lag, &s->oldest_us, e);
    if (rc || s->lag == 0)
        return rc;
    int64_t limit = patience(r, CONTROLLER_PATIENCE_US), frontier = least_frontier(r);
    s->hand = r->now_us - s->oldest_us > limit;
    s->state = s->hand ? "stalled" : "behind";
    if (s->hand && frontier < s->oldest_us)
        s->next = "it waits for `statistics`, which has not got past the window's end: mend that";
    else if (s->hand)
        s->next = "is controller running, and leader? Its log and /readyz say why; `modelmon status --patience` above "
                  "LATENESS";
    return OK;
}

static rc_t add_outbox(struct reading *r, struct err *e)
{
    struct stage *s = add(r, "outbox");
    rc_t rc = outbox_depth(r->from->db, &s->lag, &s->oldest_us, e);
    if (rc || s->lag == 0)
        return rc;
    s->hand = r->now_us - s->oldest_us > patience(r, OUTBOX_PATIENCE_US);
    s->state = s->hand ? "stalled" : "behind";
    if (s->hand)
        s->next = "is controller running, and does it reach the brokers (KAFKA_BROKERS)? Its log and /readyz say why";
    return OK;
}

static rc_t load(struct reading *r, const struct app_row *apps, size_t n_apps, struct err *e)
{
    rc_t rc = add_pipeline(r, known[0].pipeline, &known[0], e);
    if (!rc)
        rc = add_pipeline(r, known[1].pipeline, &known[1], e);
    if (!rc)
        rc = add_controller(r, e);
    if (!rc)
        rc = add_outbox(r, e);
    if (!rc)
        rc = add_apps(r, apps, n_apps, e);
    return rc ? rc : add_pipeline(r, known[2].pipeline, &known[2], e);
}

/* Of a project that is no more, or is not watched, nothing moves, and nothing needs to. */
static bool is_moving(const struct ledger_row *row, const struct project *projects, size_t n)
{
    bool streams = strcmp(row->pipeline, known[0].pipeline) == 0 || strcmp(row->pipeline, known[1].pipeline) == 0;
    for (size_t i = 0; i < n; i++)
        if (projects[i].id == row->project_id)
            return projects[i].monitoring || !streams;
    return false;
}

static rc_t load_rows(struct reading *r, struct err *e)
{
    struct project *projects = NULL;
    size_t n = 0, kept = 0;
    rc_t rc = projects_list(r->from->db, &projects, &n, e);
    if (!rc)
        rc = ledger_list(r->from->db, 0, NULL, &r->rows, &r->n_rows, e);
    for (size_t i = 0; i < r->n_rows; i++) {
        if (is_moving(&r->rows[i], projects, n))
            r->rows[kept++] = r->rows[i];
        else
            ledger_row_done(&r->rows[i]);
    }
    r->n_rows = kept;
    projects_free(projects, n);
    return rc;
}

rc_t stages_load(const struct stages_from *from, struct arena *a, struct stage **ret, size_t *n, struct err *ret_bus,
                 struct err *e)
{
    struct reading r = {.from = from, .a = a, .now_us = clock_now_us()};
    struct app_row *apps = NULL;
    size_t n_apps = 0;
    rc_t rc = apps_list(from->db, 0, &apps, &n_apps, e);
    if (!rc)
        rc = load_rows(&r, e);
    r.list = arena_array(a, n_apps + sizeof known / sizeof *known + 2, sizeof *r.list);
    if (!rc)
        rc = load(&r, apps, n_apps, e);
    ledger_rows_free(r.rows, r.n_rows);
    apps_free(apps, n_apps);
    if (rc)
        return rc;
    *ret = r.list;
    *n = r.n;
    *ret_bus = r.bus;
    return OK;
}
