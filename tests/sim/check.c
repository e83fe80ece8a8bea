/* The judge: at each commit, and at the end of a seed. */
#include "check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "actors.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/time.h"
#include "bus.h"
#include "db/driver.h"
#include "event/names.h"
#include "event/window.h"
#include "stats/slot.h"
#include "store.h"
#include "world.h"

#define ROWS_MAX 512

/* ---- at each commit ---- */
struct seen { /* of the ledger, at the last commit */
    char key[300];
    int64_t next, epoch;
};
struct fired {
    struct str payload;
};
static struct {
    struct seen ledger[ROWS_MAX];
    size_t n_ledger;
    int64_t outbox_id;
    struct fired fired[ROWS_MAX];
    size_t n_fired;
} c;

static struct seen *seen_of(const char *key)
{
    for (size_t i = 0; i < c.n_ledger; i++)
        if (strcmp(c.ledger[i].key, key) == 0)
            return &c.ledger[i];
    if (c.n_ledger == ROWS_MAX)
        abort();
    struct seen *s = &c.ledger[c.n_ledger++];
    *s = (struct seen){.next = -1};
    (void)snprintf(s->key, sizeof s->key, "%s", key);
    return s;
}

/* Where the first record lies that was there before `at`, but not below next; -1: there is none. */
static int64_t unread(const struct sim_log *log, int64_t next, int64_t at)
{
    for (int64_t i = next < 0 ? 0 : next; i < log->n && log->records[i].appended_us < at; i++)
        if (!log->records[i].marker)
            return i;
    return -1;
}

/* Offsets and epochs go forward, nothing is skipped to; a frontier says that all before it was handled. */
static void ledger_promises(void)
{
    struct db_rows *r = sim_store_read(
        "SELECT pipeline, topic, partition, next_offset, owner_epoch, frontier_us FROM ledger", NULL, 0);
    for (size_t i = 0; i < r->n; i++) {
        char key[300];
        struct str pipeline = db_text(r, i, 0), name = db_text(r, i, 1);
        (void)snprintf(key, sizeof key, "%.*s %.*s/%lld", STR_FMT(pipeline), STR_FMT(name), (long long)db_i64(r, i, 2));
        struct seen *s = seen_of(key);
        char bare[NAME_TOPIC_MAX + 1];
        (void)snprintf(bare, sizeof bare, "%.*s", STR_FMT(name));
        const struct sim_topic *topic = sim_topic(bare);
        int64_t next = db_null(r, i, 3) ? -1 : db_i64(r, i, 3), epoch = db_i64(r, i, 4);
        if (next < s->next || epoch < s->epoch)
            world_violation("%s went back: offset %lld to %lld, epoch %lld to %lld", key, (long long)s->next,
                            (long long)next, (long long)s->epoch, (long long)epoch);
        s->next = next;
        s->epoch = epoch;
        if (!topic)
            continue;
        const struct sim_log *log = &topic->partitions[db_i64(r, i, 2)];
        if (next > log->n)
            world_violation("%s is at %lld, the log ends at %lld", key, (long long)next, (long long)log->n);
        int64_t left = db_null(r, i, 5) ? -1 : unread(log, next, db_i64(r, i, 5));
        if (left >= 0)
            world_violation("%s: the frontier says that all was handled %lld µs after record %lld came, which was not",
                            key, (long long)(db_i64(r, i, 5) - log->records[left].appended_us), (long long)left);
    }
    db_rows_free(r);
}

/* A closed window that is not pending has used, or counted as late, each row that there is. */
static void windows_whole(void)
{
    struct db_rows *r = sim_store_read(
        "SELECT w.endpoint_id, w.window_start_us, w.revision, w.rows, w.late_rows, (SELECT coalesce(sum(s.rows), 0) "
        "FROM slots s "
        "WHERE s.project_id = w.project_id AND s.endpoint_id = w.endpoint_id AND s.slot_start_us >= w.window_start_us "
        "AND s.slot_start_us < w.window_end_us) AS have FROM windows w WHERE w.revision > 0 AND have <> w.rows + "
        "w.late_rows "
        "AND NOT EXISTS (SELECT 1 FROM pending_windows p WHERE p.project_id = w.project_id AND p.endpoint_id = "
        "w.endpoint_id "
        "AND p.window_end_us = w.window_end_us AND p.window_start_us = w.window_start_us)",
        NULL, 0);
    if (r->n)
        world_violation("endpoint %lld, window %lld: revision %lld used %lld rows and %lld came late, but there are "
                        "%lld, and it is not pending",
                        (long long)db_i64(r, 0, 0), (long long)db_i64(r, 0, 1), (long long)db_i64(r, 0, 2),
                        (long long)db_i64(r, 0, 3), (long long)db_i64(r, 0, 4), (long long)db_i64(r, 0, 5));
    db_rows_free(r);
}

static int endpoint_number(int64_t id)
{
    struct db_rows *r = sim_store_read("SELECT name FROM endpoints WHERE id = $1", DB_PARAMS(DBV_I64(id)));
    int n = r->n ? (int)strtol(db_text(r, 0, 0).p + 1, NULL, 10) : -1;
    db_rows_free(r);
    return n;
}

/* Events of the endpoint in [start, end) that were there before `at`. */
static int64_t rows_before(int endpoint, int64_t start_us, int64_t end_us, int64_t at, int64_t *ret_sum)
{
    size_t n = 0;
    int64_t rows = 0, sum = 0;
    const struct sim_event *ev = load_events(&n);
    for (size_t i = 0; i < n; i++)
        if (!ev[i].poison && ev[i].offset >= 0 && ev[i].endpoint == endpoint && ev[i].when_us >= start_us &&
            ev[i].when_us < end_us && ev[i].first_us < at) {
            rows++;
            sum += ev[i].value;
        }
    if (ret_sum)
        *ret_sum = sum;
    return rows;
}

/* What the frontier of its closing covers is in a window. */
static void windows_full(void)
{
    struct db_rows *r = sim_store_read(
        "SELECT endpoint_id, window_start_us, window_end_us, rows + late_rows, frontier_us FROM windows "
        "WHERE revision > 0",
        NULL, 0);
    for (size_t i = 0; i < r->n; i++) {
        int64_t had = rows_before(endpoint_number(db_i64(r, i, 0)), db_i64(r, i, 1), db_i64(r, i, 2), db_i64(r, i, 4), NULL);
        if (had > db_i64(r, i, 3))
            world_violation("window %lld of endpoint %lld was closed with %lld rows, %lld had come by its frontier",
                            (long long)db_i64(r, i, 1), (long long)db_i64(r, i, 0), (long long)db_i64(r, i, 3),
                            (long long)had);
    }
    db_rows_free(r);
}

/* Each revision is told to an app once. */
static void fired_once(void)
{
    struct db_rows *r = sim_store_read("SELECT id, payload FROM outbox WHERE id > $1 ORDER BY id",
                                       DB_PARAMS(DBV_I64(c.outbox_id)));
    for (size_t i = 0; i < r->n; i++) {
        struct str payload = db_text(r, i, 1);
        c.outbox_id = db_i64(r, i, 0);
        for (size_t k = 0; k < c.n_fired; k++)
            if (str_eq(c.fired[k].payload, payload))
                world_violation("told twice: %.200s", c.fired[k].payload.p);
        if (c.n_fired < ROWS_MAX)
            c.fired[c.n_fired++].payload = (struct str){mem_dup(payload.p, payload.n), payload.n};
    }
    db_rows_free(r);
}

static void on_commit(unsigned tables)
{
    if (tables & TABLE_LEDGER)
        ledger_promises();
    if (tables & (TABLE_WINDOWS | TABLE_PENDING))
        windows_whole();
    if (tables & TABLE_WINDOWS)
        windows_full();
    if (tables & TABLE_OUTBOX)
        fired_once();
}

void check_begin(void)
{
    for (size_t i = 0; i < c.n_fired; i++)
        mem_free((char *)(uintptr_t)c.fired[i].payload.p);
    memset(&c, 0, sizeof c);
    sim_store_on_commit(on_commit);
}

/* ---- whether all is done ---- */
static int64_t number(const char *sql)
{
    struct db_rows *r = sim_store_read(sql, NULL, 0);
    int64_t n = db_i64(r, 0, 0);
    db_rows_free(r);
    return n;
}

static bool all_read(void)
{
    struct db_rows *r = sim_store_read("SELECT pipeline, topic, partition, next_offset FROM ledger", NULL, 0);
    bool all = r->n == (size_t)plan.partitions * (plan.archives ? 4 : 3); /* statistics, app, writer, archive have begun */
    for (size_t i = 0; all && i < r->n; i++) {
        char name[NAME_TOPIC_MAX + 1];
        (void)snprintf(name, sizeof name, "%.*s", STR_FMT(db_text(r, i, 1)));
        const struct sim_topic *t = sim_topic(name);
        all = t && !db_null(r, i, 3) && unread(&t->partitions[db_i64(r, i, 2)], db_i64(r, i, 3), INT64_MAX) < 0;
    }
    db_rows_free(r);
    return all;
}

bool check_settled(void)
{
    return load_done() && trouble_over() && all_read() && number("SELECT count(*) FROM pending_windows") == 0 &&
           number("SELECT count(*) FROM outbox") == 0;
}

/* ---- at the end ---- */
static void slots_right(int endpoint, int64_t id)
{
    struct db_rows *r = sim_store_read(
        "SELECT slot_start_us, slot_us, body FROM slots WHERE endpoint_id = $1 ORDER BY slot_start_us",
        DB_PARAMS(DBV_I64(id)));
    int64_t all = 0;
    for (size_t i = 0, end; i < r->n; i = end) {
        int64_t start = db_i64(r, i, 0), rows = 0, sum = 0, want_sum = 0;
        for (end = i; end < r->n && db_i64(r, end, 0) == start; end++) {
            struct slot *slot = NULL;
            struct err e;
            if (slot_decode(&slot, db_text(r, end, 2), &e)) {
                world_violation("a slot cannot be read: %s", e.text);
                break;
            }
            rows += (int64_t)slot->rows;
            sum += (int64_t)(slot->columns[0].moments.mean * (double)slot->columns[0].moments.n + 0.5);
            slot_free(slot);
        }
        int64_t want = rows_before(endpoint, start, start + db_i64(r, i, 1), INT64_MAX, &want_sum);
        if (rows != want || sum != want_sum)
            world_violation("slot %lld of m%d: %lld rows that sum up to %lld, %lld and %lld were sent: %s",
                            (long long)start, endpoint, (long long)rows, (long long)sum, (long long)want,
                            (long long)want_sum, rows > want ? "duplicated" : "lost");
        all += rows;
    }
    db_rows_free(r);
    int64_t want = rows_before(endpoint, INT64_MIN, INT64_MAX, INT64_MAX, NULL);
    if (all != want)
        world_violation("m%d: %lld rows in slots, %lld were sent", endpoint, (long long)all, (long long)want);
}

static void windows_right(int endpoint, int64_t id)
{
    struct db_rows *r = sim_store_read(
        "SELECT w.window_start_us, w.window_end_us, w.rows, w.late_rows, w.revision, r.revision, r.value "
        "FROM windows w LEFT JOIN results r ON r.endpoint_id = w.endpoint_id "
        "AND r.window_start_us = w.window_start_us AND r.window_end_us = w.window_end_us "
        "WHERE w.endpoint_id = $1 AND w.revision > 0",
        DB_PARAMS(DBV_I64(id)));
    int64_t all = 0;
    for (size_t i = 0; i < r->n; i++) {
        int64_t rows = db_i64(r, i, 2), late = db_i64(r, i, 3), start = db_i64(r, i, 0);
        int64_t want = rows_before(endpoint, start, db_i64(r, i, 1), INT64_MAX, NULL);
        if (rows + late != want)
            world_violation("window %lld of m%d has %lld rows and %lld late ones, %lld were sent", (long long)start,
                            endpoint, (long long)rows, (long long)late, (long long)want);
        if (late && plan.max_lateness_us > USEC_PER_DAY)
            world_violation("window %lld of m%d: late rows in no revision", (long long)start, endpoint);
        if (db_null(r, i, 5))
            world_violation("window %lld of m%d has no result", (long long)start, endpoint);
        else if (db_i64(r, i, 5) != db_i64(r, i, 4) || db_f64(r, i, 6) < (double)rows ||
                 db_f64(r, i, 6) > (double)(rows + late))
            world_violation(
                "window %lld of m%d: the result is of revision %lld and says %g, the window is at %lld with %lld rows",
                (long long)start, endpoint, (long long)db_i64(r, i, 5), db_f64(r, i, 6), (long long)db_i64(r, i, 4),
                (long long)rows);
        all += rows + late;
    }
    db_rows_free(r);
    int64_t want = rows_before(endpoint, INT64_MIN, INT64_MAX, INT64_MAX, NULL);
    if (all != want)
        world_violation("m%d: %lld rows in windows, %lld were sent", endpoint, (long long)all, (long long)want);
}

static void endpoints_right(void)
{
    struct db_rows *r = sim_store_read("SELECT id, name FROM endpoints", NULL, 0);
    bool there[SIM_ENDPOINTS] = {false};
    for (size_t i = 0; i < r->n; i++) {
        int n = (int)strtol(db_text(r, i, 1).p + 1, NULL, 10);
        if (n < 0 || n >= SIM_ENDPOINTS || there[n]) {
            world_violation("an endpoint that nobody named, or twice: %.*s", STR_FMT(db_text(r, i, 1)));
            continue;
        }
        there[n] = true;
        slots_right(n, db_i64(r, i, 0));
        windows_right(n, db_i64(r, i, 0));
    }
    for (int n = 0; n < SIM_ENDPOINTS; n++)
        if (!there[n] && rows_before(n, INT64_MIN, INT64_MAX, INT64_MAX, NULL))
            world_violation("m%d is not there", n);
    db_rows_free(r);
}

/* Of each record that is none a row, of nothing else. */
static void letters_right(const struct sim_topic *t)
{
    int64_t want = 0;
    for (int32_t p = 0; p < t->n_partitions; p++)
        for (int64_t i = 0; i < t->partitions[p].n; i++) {
            const struct sim_record *rec = &t->partitions[p].records[i];
            if (rec->marker || rec->value.p[0] != '!')
                continue;
            want++;
            struct db_rows *r = sim_store_read(
                "SELECT count(*) FROM dead_letters WHERE topic = $1 AND partition = $2 AND \"offset\" = $3",
                DB_PARAMS(DBV_TEXTZ(t->name), DBV_I64(p), DBV_I64(i)));
            if (db_i64(r, 0, 0) != 1)
                world_violation("record %lld of partition %d: %lld dead letters", (long long)i, (int)p,
                                (long long)db_i64(r, 0, 0));
            db_rows_free(r);
        }
    if (number("SELECT count(*) FROM dead_letters") != want)
        world_violation("%lld dead letters, %lld records were refused",
                        (long long)number("SELECT count(*) FROM dead_letters"), (long long)want);
}

/* Each record in one file. */
static void archive_right(const struct sim_topic *t)
{
    for (int32_t p = 0; p < t->n_partitions; p++) {
        const struct sim_log *log = &t->partitions[p];
        int *times = mem_array((size_t)log->n + 1, sizeof *times);
        for (const struct archive_file *f = archive_files(); f; f = f->next)
            for (size_t i = 0; strtol(f->name, NULL, 10) == p && i < f->n; i++)
                times[f->offsets[i]]++;
        for (int64_t i = 0; i < log->n; i++)
            if (times[i] != (log->records[i].marker ? 0 : 1))
                world_violation("record %lld of partition %d is in %d files of the archive", (long long)i, (int)p,
                                times[i]);
        mem_free(times);
    }
}

struct told {
    struct window_event ev;
    struct str text;
};

/* Whenever a revision is told, it is told alike. */
static void told_alike(const struct sim_topic *t)
{
    struct arena mem = {0};
    struct told *all = mem_array(ROWS_MAX, sizeof *all);
    size_t n = 0;
    for (int32_t p = 0; p < t->n_partitions; p++)
        for (int64_t i = 0; i < t->partitions[p].n && n < ROWS_MAX; i++) {
            const struct sim_record *rec = &t->partitions[p].records[i];
            struct reject why = {0};
            if (rec->marker || window_decode(rec->value.p, rec->value.n, &mem, &all[n].ev, &why))
                continue;
            all[n].text = rec->value;
            for (size_t k = 0; k < n; k++) {
                const struct window_event *x = &all[k].ev, *y = &all[n].ev;
                if (str_eq(x->endpoint_id, y->endpoint_id) && x->start_us == y->start_us &&
                    x->revision == y->revision && !str_eq(all[k].text, all[n].text))
                    world_violation("one revision was told in two ways: %.120s", all[k].text.p);
            }
            n++;
        }
    mem_free(all);
    arena_done(&mem);
}

void check_end(void)
{
    char name[NAME_TOPIC_MAX + 1];
    struct err e;
    endpoints_right();
    const struct sim_topic *t = topic_stream(name, SIM_SYSTEM, STR(SIM_PROJECT), &e) == OK ? sim_topic(name) : NULL;
    if (t) {
        letters_right(t);
        if (plan.archives)
            archive_right(t);
    }
    t = topic_function(name, SIM_SYSTEM, STR(SIM_PROJECT), STR(SIM_APP), &e) == OK ? sim_topic(name) : NULL;
    if (t)
        told_alike(t);
}
