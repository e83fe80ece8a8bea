/* Contract of projects, apps, endpoint records, schemas and references; on a real PostgreSQL. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../support/testdb.h"
#include "base/clock.h"
#include "base/mem.h"
#include "db/deletion.h"
#include "db/endpoint.h"
#include "db/window.h"
#include "db/project.h"

#define S(literal) ((struct str){literal, sizeof literal - 1})

static struct testdb t;
static struct err e;
static int32_t project;

static void ok(rc_t rc)
{
    if (rc)
        fail_msg("%s: %s", rc_name(rc), e.text);
}

static int setup(void **state)
{
    (void)state;
    testdb_open(&t, true);
    struct project p = {.name = (char[]){"p"}, .base_period_us = 600000000, .monitoring = true};
    testdb_must(project_put(t.db, &p, &e), &e, "project");
    project = p.id;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    testdb_close(&t);
    return 0;
}

static char fn[] = "fn";

static struct endpoint wanted(const char *uid, const char *name)
{
    return (struct endpoint){.project_id = project,
                             .uid = (char *)uid,
                             .name = (char *)name,
                             .function_name = fn,
                             .endpoint_type = 1,
                             .sampling_percentage = 100};
}

static struct endpoint registered(const char *uid, const char *name)
{
    struct endpoint in = wanted(uid, name), ep = {0};
    bool created = false;
    ok(endpoint_register(t.db, &in, NULL, 0, &ep, &created, &e));
    return ep;
}

static struct endpoint created(const char *uid, const char *name, const char *strategy)
{
    struct endpoint in = wanted(uid, name), ep = {0};
    ok(endpoint_create(t.db, &in, strategy, &ep, &e));
    return ep;
}

/* --- windows in which nothing came --- */
static void endpoints_asked_lately_get_empty_windows(void **state)
{
    (void)state;
    const int64_t hour = INT64_C(3600000000), start = 100 * hour, end = 101 * hour;
    const struct {
        const char *uid;
        int64_t first, last;
    } all[] = {{"a", 90 * hour, 95 * hour}, {"b", 1, 60 * hour}, {"c", end, end + 1}, {"d", 99 * hour, end + hour}};
    int64_t a = 0, d = 0;
    for (size_t i = 0; i < 4; i++) {
        struct endpoint ep = registered(all[i].uid, all[i].uid);
        const struct endpoint_seen seen = {ep.id, all[i].first, all[i].last};
        ok(endpoints_seen(t.db, &seen, 1, &e));
        a = i == 0 ? ep.id : a;
        d = i == 3 ? ep.id : d;
        endpoint_done(&ep);
    }
    for (int again = 0; again < 2; again++)
        ok(pending_add_empty(t.db, project, start, end, start - 24 * hour, &e));
    struct pending_window *due = NULL;
    struct db_rows *held = NULL;
    size_t n = 0;
    ok(pending_due(t.db, project, end, 0, 10, &due, &n, &held, &e));
    assert_int_equal(n, 2); /* b is long silent, c was not there yet */
    assert_true(due[0].endpoint_id == a && due[1].endpoint_id == d);
    assert_true(due[0].start_us == start && due[0].end_us == end && due[0].rows == 0);
    mem_free(due);
    db_rows_free(held);
}

/* --- projects --- */
static void projects_are_made_and_changed(void **state)
{
    (void)state;
    struct project p = {.name = (char[]){"q"},
                        .artifact_path = (char[]){"/a"},
                        .document = (char[]){"{\"x\":1}"},
                        .base_period_us = 60000000,
                        .default_app = true};
    ok(project_put(t.db, &p, &e));
    int32_t id = p.id;
    int64_t made = p.created_us;
    assert_true(id > project && made > 0);
    p.monitoring = true;
    p.base_period_us = 1;
    ok(project_put(t.db, &p, &e));
    assert_int_equal(p.id, id);
    assert_int_equal(p.created_us, made);
    assert_true(p.updated_us > made);
    struct project got;
    ok(project_get(t.db, S("q"), &got, &e));
    assert_string_equal(got.artifact_path, "/a");
    assert_string_equal(got.document, "{\"x\":1}");
    assert_true(got.monitoring && got.default_app && got.base_period_us == 1 && got.id == id);
    project_done(&got);
    assert_int_equal(project_get(t.db, S("none"), &got, &e), E_NOTFOUND);
    assert_int_equal(project_put(t.db, &(struct project){.name = (char[]){""}}, &e), E_INVALID);
    struct project *all = NULL;
    size_t n = 0;
    ok(projects_list(t.db, &all, &n, &e));
    assert_int_equal(n, 2);
    assert_string_equal(all[0].name, "p");
    assert_string_equal(all[1].name, "q");
    projects_free(all, n);
}

static void apps_are_interned(void **state)
{
    (void)state;
    int32_t a = 0, b = 0, again = 0;
    ok(app_put(t.db, project, "drift", false, true, &a, &e));
    ok(app_put(t.db, project, "llm", true, true, &b, &e));
    ok(app_put(t.db, project, "drift", false, true, &again, &e));
    assert_true(a == again && a != b);
    ok(app_put(t.db, project, "drift", true, false, &again, &e));
    assert_int_equal(a, again);
    assert_int_equal(app_put(t.db, 9999, "drift", true, false, &again, &e), E_CONFLICT);
    struct app_row *rows = NULL;
    size_t n = 0;
    ok(apps_list(t.db, project, &rows, &n, &e));
    assert_int_equal(n, 2);
    assert_string_equal(rows[0].name, "drift");
    assert_true(rows[0].needs_rows && !rows[0].active && rows[1].active);
    apps_free(rows, n);
    ok(apps_list(t.db, 0, &rows, &n, &e));
    assert_int_equal(n, 2);
    apps_free(rows, n);
    ok(apps_list(t.db, 77, &rows, &n, &e));
    assert_int_equal(n, 0);
    apps_free(rows, n);
    struct app_row watchful = {
        .project_id = project, .name = (char *)(uintptr_t) "drift", .active = true, .wants_empty = true};
    ok(app_register(t.db, &watchful, &again, &e));
    ok(app_register(t.db, &watchful, &again, &e));
    assert_int_equal(a, again);
    ok(apps_list(t.db, project, &rows, &n, &e));
    assert_int_equal(n, 2);
    assert_true(rows[0].wants_empty && rows[0].active && !rows[0].needs_rows && !rows[1].wants_empty);
    apps_free(rows, n);
}

/* --- registering --- */
static void unknown_endpoints_register_once(void **state)
{
    (void)state;
    struct endpoint in = wanted("0123456789abcdef0123456789abcdef", "m"), ep, again;
    char alias[] = "0123456789abcdef0123456789abcdef01234567";
    bool made = false;
    ok(endpoint_register(t.db, &in, alias, 10, &ep, &made, &e));
    assert_true(made && ep.self_registered && ep.latest && ep.id > 0 && ep.change_seq > 0 && ep.created_us > 0);
    assert_string_equal(ep.monitoring_mode, "enabled");
    assert_string_equal(ep.labels, "{}");
    assert_int_equal(ep.first_request_us, 0);
    ok(endpoint_register(t.db, &in, alias, 10, &again, &made, &e));
    assert_true(!made && again.id == ep.id);
    endpoint_done(&again);
    ok(endpoint_get(t.db, project, str_of(alias), &again, &e));
    assert_true(again.id == ep.id);
    endpoint_done(&again);
    in.uid = alias; /* the long form, from another sender */
    ok(endpoint_register(t.db, &in, NULL, 10, &again, &made, &e));
    assert_true(!made && again.id == ep.id);
    endpoint_done(&again);
    ok(endpoint_get_id(t.db, ep.id, &again, &e));
    assert_string_equal(again.uid, ep.uid);
    endpoint_done(&again);
    assert_int_equal(endpoint_get(t.db, project, S("nope"), &again, &e), E_NOTFOUND);
    assert_int_equal(endpoint_get(t.db, project + 1, str_of(ep.uid), &again, &e), E_NOTFOUND);
    assert_int_equal(endpoint_get_id(t.db, 999, &again, &e), E_NOTFOUND);
    in.uid = NULL;
    assert_int_equal(endpoint_register(t.db, &in, NULL, 10, &again, &made, &e), E_INVALID);
    endpoint_done(&ep);
}

static void registering_is_capped(void **state)
{
    (void)state;
    struct endpoint in = wanted("a", "a"), ep;
    char b[] = "b", c[] = "c";
    bool made = false;
    ok(endpoint_register(t.db, &in, NULL, 2, &ep, &made, &e));
    endpoint_done(&ep);
    in.uid = b;
    ok(endpoint_register(t.db, &in, NULL, 2, &ep, &made, &e));
    endpoint_done(&ep);
    in.uid = c;
    assert_int_equal(endpoint_register(t.db, &in, NULL, 2, &ep, &made, &e), E_LIMIT);
    in.uid = b;
    ok(endpoint_register(t.db, &in, NULL, 2, &ep, &made, &e));
    assert_false(made);
    endpoint_done(&ep);
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM endpoints"), 2);
}

static void the_cap_is_not_for_what_clients_made(void **state)
{
    (void)state;
    struct endpoint in = wanted("a", "a"), ep;
    char b[] = "b", c[] = "c";
    bool made = false;
    ok(endpoint_create(t.db, &in, "inplace", &ep, &e));
    endpoint_done(&ep);
    in.uid = b;
    ok(endpoint_register(t.db, &in, NULL, 1, &ep, &made, &e));
    assert_true(made);
    endpoint_done(&ep);
    in.uid = c;
    assert_int_equal(endpoint_register(t.db, &in, NULL, 1, &ep, &made, &e), E_LIMIT);
}

static void who_caches_hears_of_deletions(void **state)
{
    (void)state;
    struct endpoint in = wanted("a", "a"), ep, kept;
    char b[] = "b";
    bool made = false;
    int64_t before = 0, after = 0, *gone = NULL;
    size_t n = 0;
    ok(endpoint_register(t.db, &in, NULL, 0, &ep, &made, &e));
    in.uid = b;
    ok(endpoint_register(t.db, &in, NULL, 0, &kept, &made, &e));
    const int64_t ids[] = {ep.id, kept.id};
    ok(change_seq_last(t.db, &before, &e));
    ok(endpoints_gone(t.db, ids, 2, &gone, &n, &e));
    assert_int_equal(n, 0);
    mem_free(gone);
    ok(endpoint_delete(t.db, ep.id, &e));
    ok(change_seq_last(t.db, &after, &e));
    assert_true(after > before);
    ok(endpoints_gone(t.db, ids, 2, &gone, &n, &e));
    assert_int_equal(n, 1);
    assert_int_equal(gone[0], ep.id);
    mem_free(gone);
    ok(endpoints_gone(t.db, ids, 0, &gone, &n, &e));
    assert_int_equal(n, 0);
    mem_free(gone);
    endpoint_done(&ep);
    endpoint_done(&kept);
}

struct worker {
    pthread_t thread;
    int64_t id;
    int made;
    rc_t rc;
    struct err e;
};

static void *register_ten(void *arg)
{
    struct worker *w = arg;
    struct db *db = NULL;
    w->rc = db_open(&db, &t.cfg, &w->e);
    for (int i = 0; i < 10 && !w->rc; i++) {
        char uid[32];
        snprintf(uid, sizeof uid, "uid%d", i);
        struct endpoint in = wanted(uid, uid), ep = {0};
        bool made = false;
        w->rc = endpoint_register(db, &in, NULL, 7, &ep, &made, &w->e);
        w->made += made;
        if (w->rc == E_LIMIT)
            w->rc = OK;
        else
            endpoint_done(&ep);
    }
    db_free(db);
    return NULL;
}

static void four_at_once_register_once(void **state)
{
    (void)state;
    struct worker w[4] = {0};
    int made = 0;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&w[i].thread, NULL, register_ten, &w[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(w[i].thread, NULL);
    for (int i = 0; i < 4; i++) {
        if (w[i].rc)
            fail_msg("%d: %s: %s", i, rc_name(w[i].rc), w[i].e.text);
        made += w[i].made;
    }
    assert_int_equal(made, 7);
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM endpoints"), 7);
}

/* --- creating --- */
static void create_adopts_what_registered_itself(void **state)
{
    (void)state;
    struct endpoint self = registered("selfuid", "m");
    const struct endpoint_seen seen = {self.id, 100, 200};
    ok(endpoints_seen(t.db, &seen, 1, &e));
    struct endpoint ep = created(NULL, "m", "overwrite");
    assert_true(ep.id == self.id && !ep.self_registered && ep.latest);
    assert_string_equal(ep.uid, "selfuid");
    assert_string_equal(ep.function_tag, "latest");
    assert_true(ep.first_request_us == 100 && ep.last_request_us == 200 && ep.change_seq > self.change_seq);
    endpoint_done(&ep);
    endpoint_done(&self);
    struct endpoint other = registered("u2", "m2");
    ep = created("u2", "another name", "archive"); /* by its uid */
    assert_true(ep.id == other.id);
    assert_string_equal(ep.name, "another name");
    endpoint_done(&ep);
    endpoint_done(&other);
    struct endpoint late = registered("u3", "m"); /* the client's record stays the latest */
    assert_false(late.latest);
    endpoint_done(&late);
}

static void inplace_keeps_the_uid(void **state)
{
    (void)state;
    struct endpoint a = created(NULL, "m", "inplace");
    assert_int_equal(strlen(a.uid), 32);
    const struct endpoint_seen seen = {a.id, 100, 200};
    ok(endpoints_seen(t.db, &seen, 1, &e));
    struct endpoint in = wanted(NULL, "m"), b;
    char tag[] = "latest", labels[] = "{\"a\":\"b\"}";
    in.function_tag = tag;
    in.labels = labels;
    in.mode = 2;
    ok(endpoint_create(t.db, &in, "inplace", &b, &e));
    assert_true(a.id == b.id && b.first_request_us == 100 && b.last_request_us == 200 && b.mode == 2);
    assert_string_equal(a.uid, b.uid);
    assert_string_equal(b.labels, "{\"a\":\"b\"}");
    endpoint_done(&b);
    in.labels = NULL; /* not sent: kept */
    ok(endpoint_create(t.db, &in, "inplace", &b, &e));
    assert_string_equal(b.labels, "{\"a\":\"b\"}");
    endpoint_done(&b);
    b = created(NULL, "m", "skip");
    assert_true(b.id == a.id && b.mode == 2);
    endpoint_done(&b);
    endpoint_done(&a);
    assert_int_equal(endpoint_create(t.db, &in, "sideways", &b, &e), E_INVALID);
    in.name = NULL;
    assert_int_equal(endpoint_create(t.db, &in, "inplace", &b, &e), E_INVALID);
}

static void overwrite_replaces(void **state)
{
    (void)state;
    struct endpoint a = created(NULL, "m", "overwrite"), b = created(NULL, "m", "overwrite");
    assert_true(a.id != b.id && strcmp(a.uid, b.uid) != 0 && b.latest);
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM endpoints"), 1);
    struct endpoint in = wanted(b.uid, "other"), c;
    assert_int_equal(endpoint_create(t.db, &in, "archive", &c, &e), E_CONFLICT); /* the uid is another's */
    endpoint_done(&a);
    endpoint_done(&b);
}

static void archive_keeps_five(void **state)
{
    (void)state;
    struct endpoint ep[8];
    for (int i = 0; i < 8; i++)
        ep[i] = created(NULL, "m", "archive");
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM endpoints"), 5);
    assert_int_equal(testdb_number(t.db, "SELECT count(*) FROM endpoints WHERE latest"), 1);
    struct endpoint got;
    assert_int_equal(endpoint_get_id(t.db, ep[2].id, &got, &e), E_NOTFOUND);
    ok(endpoint_get_id(t.db, ep[3].id, &got, &e));
    assert_false(got.latest);
    endpoint_done(&got);
    ok(endpoint_get_id(t.db, ep[7].id, &got, &e));
    assert_true(got.latest);
    endpoint_done(&got);
    for (int i = 0; i < 8; i++)
        endpoint_done(&ep[i]);
}

/* --- changing and listing --- */
static void update_never_takes_requests_back(void **state)
{
    (void)state;
    struct endpoint ep = created(NULL, "m", "inplace"), got;
    const struct endpoint_seen seen[] = {{ep.id, 500, 600}, {ep.id, 400, 550}, {ep.id + 1, 1, 1}};
    ok(endpoints_seen(t.db, seen, 3, &e));
    ok(endpoints_seen(t.db, seen, 0, &e));
    mem_free(ep.model_uri);
    ep.model_uri = mem_dupz("store://m");
    ep.sampling_percentage = 12.5;
    ep.last_request_us = 0;
    ok(endpoint_update(t.db, &ep, &e));
    ok(endpoint_get_id(t.db, ep.id, &got, &e));
    assert_string_equal(got.model_uri, "store://m");
    assert_true(got.sampling_percentage == 12.5 && got.first_request_us == 400 && got.last_request_us == 600);
    assert_true(got.change_seq > ep.change_seq);
    endpoint_done(&got);
    ep.last_request_us = 550;
    ok(endpoint_update(t.db, &ep, &e));
    ok(endpoint_get_id(t.db, ep.id, &got, &e));
    assert_int_equal(got.last_request_us, 600);
    endpoint_done(&got);
    ep.id = 12345;
    assert_int_equal(endpoint_update(t.db, &ep, &e), E_NOTFOUND);
    endpoint_done(&ep);
}

static void expect_names(const struct endpoint_filter *f, const char *names)
{
    struct endpoint *eps = NULL;
    size_t n = 0;
    CLEANUP(buf_done) struct buf got = {0};
    ok(endpoints_list(t.db, f, &eps, &n, &e));
    for (size_t i = 0; i < n; i++)
        buf_addf(&got, "%s ", eps[i].name);
    buf_addz(&got, "");
    assert_string_equal(got.data ? got.data : "", names);
    endpoints_free(eps, n);
}

static void filters_select(void **state)
{
    (void)state;
    const char *labels[] = {"{\"k\":\"v\",\"n\":5}", "{\"k\":\"w=x\"}", "{}"};
    int64_t made[3], ids[3];
    for (int i = 0; i < 3; i++) {
        char name[] = "a", function[] = "f0", tag[] = "t0", model[] = "m0";
        struct endpoint in = wanted(NULL, name), ep;
        name[0] = (char)('a' + i);
        function[1] = tag[1] = model[1] = (char)('0' + i);
        in.function_name = function;
        in.function_tag = tag;
        in.model_name = model;
        in.labels = (char *)labels[i];
        in.mode = i;
        in.endpoint_type = i + 1; /* 3 is a leaf */
        ok(endpoint_create(t.db, &in, "inplace", &ep, &e));
        made[i] = ep.created_us;
        ids[i] = ep.id;
        endpoint_done(&ep);
    }
    struct str ab[] = {S("a"), S("b")}, f1 = S("f1"), t2 = S("t2"), m0 = S("m0"), evil = S("x' OR 'a'='a");
    struct str kv = S("k=v"), k = S("k"), kwx = S("k=w=x"), n5 = S("n=5"), two[] = {S("k=v"), S("n")};
    const struct endpoint_filter any = {.project_id = project, .mode = -1};
    struct endpoint_filter f = any;
    expect_names(&f, "a b c ");
#define WITH(names_, ...) (f = any, __VA_ARGS__, expect_names(&f, names_))
    WITH("a b ", f.names = ab, f.n_names = 2);
    WITH("", f.names = &evil, f.n_names = 1);
    WITH("b ", f.function_names = &f1, f.n_function_names = 1);
    WITH("c ", f.function_tags = &t2, f.n_function_tags = 1);
    WITH("a ", f.model_names = &m0, f.n_model_names = 1);
    WITH("a ", f.labels = &kv, f.n_labels = 1);
    WITH("a b ", f.labels = &k, f.n_labels = 1);
    WITH("b ", f.labels = &kwx, f.n_labels = 1);
    WITH("a ", f.labels = &n5, f.n_labels = 1);
    WITH("a ", f.labels = two, f.n_labels = 2);
    WITH("c ", f.mode = 2);
    WITH("a b ", f.top_level = true);
    WITH("b c ", f.created_from_us = made[1]);
    WITH("a b ", f.created_to_us = made[1]);
    WITH("b ", f.after_id = ids[0], f.limit = 1);
    WITH("a b c ", f.latest_only = true);
    WITH("", f.project_id = project + 1);
    WITH("a ", f.names = ab, f.n_names = 2, f.labels = &kv, f.n_labels = 1, f.mode = 0, f.latest_only = true);
}

static void changes_are_told_in_order(void **state)
{
    (void)state;
    struct endpoint a = created(NULL, "a", "inplace"), b = created(NULL, "b", "inplace"), *eps = NULL;
    int64_t seq = 0;
    size_t n = 0;
    ok(endpoints_changed(t.db, &seq, &eps, &n, &e));
    assert_int_equal(n, 2);
    assert_true(eps[0].id == a.id && eps[1].id == b.id && seq == b.change_seq);
    endpoints_free(eps, n);
    ok(endpoints_changed(t.db, &seq, &eps, &n, &e));
    assert_int_equal(n, 0);
    endpoints_free(eps, n);
    const struct endpoint_seen seen = {b.id, 1, 2};
    ok(endpoints_seen(t.db, &seen, 1, &e)); /* no news for caches */
    int version = 0;
    ok(reference_put(t.db, project, a.id, S("{}"), S("[]"), "test", &version, &e));
    ok(endpoints_changed(t.db, &seq, &eps, &n, &e));
    assert_int_equal(n, 1);
    assert_true(eps[0].id == a.id && eps[0].reference_version == 1);
    endpoints_free(eps, n);
    endpoint_done(&a);
    endpoint_done(&b);
}

static void delete_takes_every_row(void **state)
{
    (void)state;
    struct endpoint a = created(NULL, "a", "inplace"), b = created(NULL, "b", "inplace");
    int version = 0;
    int64_t day = 0;
    struct endpoint_schema s;
    ok(db_days_ensure(t.db, &day, 1, &e));
    const struct endpoint *both[] = {&a, &b};
    for (int i = 0; i < 2; i++) {
        ok(reference_put(t.db, project, both[i]->id, S("{}"), S("[]"), "test", &version, &e));
        ok(schema_put(t.db, project, both[i]->id, S("{}"), true, NULL, &s, &e));
        endpoint_schema_done(&s);
        const struct db_value v[] = {DBV_I64(project), DBV_I64(both[i]->id)};
        const char *sql[] = {
            "INSERT INTO endpoint_aliases VALUES ($1, 'x' || $2, $2)",
            "INSERT INTO slots VALUES ($1, $2, 0, 1, 0, 1, 1, 't', 0, 5, 1, 1, 0, 1, 1, '')",
            "INSERT INTO pending_windows VALUES ($1, $2, 0, 1, 1, 1, '')",
            "INSERT INTO windows VALUES ($1, $2, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, false, '')",
            "INSERT INTO manifest VALUES ($1, $2, 0, 't', 0, 0, 1, 1, 'p', 1, 1, 0, 0, '', 0)",
            "INSERT INTO results VALUES ($1, $2, 1, 0, 1, 0, 1, 1, 1, '', '', 0)",
            "INSERT INTO app_statistics VALUES ($1, $2, 1, 'n', 0, 1, 0, 1, '', 0, 0)",
            "INSERT INTO dead_letters (pipeline, topic, partition, \"offset\", at_us, project_id, endpoint_id, reason, "
            "error, "
            "payload, size) VALUES ('p', 't', 0, $2, 0, $1, $2, 'r', 'e', '', 0)",
        };
        for (size_t j = 0; j < sizeof sql / sizeof *sql; j++)
            ok(db_exec(t.db, sql[j], v, 2, NULL, &e));
    }
    ok(endpoint_delete(t.db, a.id, &e));
    assert_int_equal(endpoint_delete(t.db, a.id, &e), E_NOTFOUND);
    struct deletion d = {0};
    struct deletion_cursor at = {0};
    bool more = true;
    ok(deletion_next(t.db, INT64_MAX, &d, &e));
    ok(deletion_rows(t.db, &d, &at, INT64_MAX, &more, &e));
    deletion_done(&d);
    const char *tables[] = {"endpoints", "endpoint_aliases", "endpoint_schemas", "endpoint_references",
                            "slots",     "pending_windows",  "windows",          "manifest",
                            "results",   "app_statistics",   "dead_letters"};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        char sql[128];
        snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", tables[i]);
        if (testdb_number(t.db, sql) != 1)
            fail_msg("%s: not one row is left", tables[i]);
        snprintf(sql, sizeof sql, "SELECT count(*) FROM %s WHERE %s = %lld", tables[i], i ? "endpoint_id" : "id",
                 (long long)b.id);
        assert_int_equal(testdb_number(t.db, sql), 1);
    }
    endpoint_done(&a);
    endpoint_done(&b);
}

/* --- schemas and references --- */
static void schemas_are_numbered(void **state)
{
    (void)state;
    struct endpoint ep = created(NULL, "a", "inplace"), other = created(NULL, "b", "inplace"), got;
    struct endpoint_schema s;
    int64_t before = 0, after = 0;
    assert_int_equal(schema_get(t.db, ep.id, 0, 0, &s, &e), E_NOTFOUND);
    ok(schema_seq_now(t.db, &before, &e));
    assert_true(before > 0);
    ok(schema_put(t.db, project, ep.id, S("one"), true, NULL, &s, &e));
    assert_true(s.version == 1 && s.named && s.seq > before);
    endpoint_schema_done(&s);
    ok(schema_seq_now(t.db, &after, &e));
    ok(schema_put(t.db, project, ep.id, S("two"), false, NULL, &s, &e));
    assert_true(s.version == 2 && !s.named);
    endpoint_schema_done(&s);
    ok(schema_put(t.db, project, other.id, S("two"), false, NULL, &s, &e));
    assert_int_equal(s.version, 1);
    endpoint_schema_done(&s);
    const struct schema_from record = {.us = 12, .partition = 3, .generation = 1, .offset = 40};
    ok(schema_put(t.db, project, ep.id, S("one"), true, &record, &s, &e)); /* the same document: its version */
    assert_int_equal(s.version, 1);
    endpoint_schema_done(&s);
    ok(schema_get(t.db, ep.id, 0, 0, &s, &e));
    assert_int_equal(s.version, 2);
    assert_true(s.from.partition == -1 && s.from.us > s.created_us); /* a client's: from a moment on */
    endpoint_schema_done(&s);
    ok(schema_get(t.db, ep.id, 0, after, &s, &e)); /* as a replay sees it */
    assert_true(s.version == 1 && strcmp(s.document, "one") == 0);
    endpoint_schema_done(&s);
    assert_int_equal(schema_get(t.db, ep.id, 0, before, &s, &e), E_NOTFOUND);
    assert_int_equal(schema_get(t.db, ep.id, 3, 0, &s, &e), E_NOTFOUND);
    ok(endpoint_get_id(t.db, ep.id, &got, &e));
    assert_int_equal(got.schema_version, 2);
    endpoint_done(&got);
    endpoint_done(&ep);
    endpoint_done(&other);
    assert_int_equal(schema_put(t.db, project, 4711, S("x"), true, NULL, &s, &e), E_CONFLICT); /* no such endpoint */
}

static void schemas_know_where_they_begin(void **state)
{
    (void)state;
    struct endpoint ep = created(NULL, "a", "inplace");
    struct endpoint_schema s, *all;
    size_t n;
    const struct schema_from record = {.us = 12, .partition = 3, .generation = 1, .offset = 40};
    ok(schema_put(t.db, project, ep.id, S("one"), true, &record, &s, &e));
    endpoint_schema_done(&s);
    ok(schema_put(t.db, project, ep.id, S("two"), true, NULL, &s, &e));
    endpoint_schema_done(&s);
    ok(schema_put(t.db, project, ep.id, S("one"), true, NULL, &s, &e)); /* a client's are the newest from now on */
    assert_int_equal(s.version, 3);
    endpoint_schema_done(&s);
    ok(schema_put(t.db, project, ep.id, S("one"), true, NULL, &s, &e));
    assert_int_equal(s.version, 3);
    endpoint_schema_done(&s);
    ok(schema_list(t.db, ep.id, &all, &n, &e));
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(all[i].version, (int)(n - i));
    assert_memory_equal(&all[2].from, &record, sizeof record);
    schemas_free(all, n);
    ok(schema_list(t.db, 4711, &all, &n, &e));
    assert_int_equal(n, 0);
    schemas_free(all, n);
    endpoint_done(&ep);
}

static void references_are_in_force_by_time(void **state)
{
    (void)state;
    struct endpoint ep = created(NULL, "a", "inplace"), got;
    int version = -1;
    ok(reference_in_force(t.db, ep.id, 1, &version, &e));
    assert_int_equal(version, 0);
    struct endpoint_reference r;
    assert_int_equal(reference_get(t.db, ep.id, 0, &r, &e), E_NOTFOUND);
    ok(reference_put(t.db, project, ep.id, S("{\"a\":1}"), S("[\"l\"]"), "api_rows", &version, &e));
    assert_int_equal(version, 1);
    ok(reference_put(t.db, project, ep.id, S("{\"a\":1}"), S("[\"l\"]"), "other", &version, &e));
    assert_int_equal(version, 1);
    ok(reference_put(t.db, project, ep.id, S("{\"a\":1}"), S("[]"), "api_rows", &version, &e));
    assert_int_equal(version, 2);
    ok(reference_put(t.db, project, ep.id, S("{\"a\":1}"), S("[\"l\"]"), "api_rows", &version, &e)); /* back again: new */
    assert_int_equal(version, 3);
    struct endpoint_reference *all = NULL;
    size_t n = 0;
    ok(references_list(t.db, ep.id, &all, &n, &e));
    assert_int_equal(n, 3);
    assert_string_equal(all[0].labels, "[\"l\"]");
    assert_string_equal(all[0].source, "api_rows");
    const struct {
        int64_t end;
        int version;
    } rows[] = {{1, 1},
                {all[0].created_us, 1},
                {all[1].created_us - 1, 1},
                {all[1].created_us, 2},
                {all[2].created_us, 3},
                {INT64_MAX, 3}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ok(reference_in_force(t.db, ep.id, rows[i].end, &version, &e));
        assert_int_equal(version, rows[i].version);
    }
    references_free(all, n);
    ok(reference_get(t.db, ep.id, 2, &r, &e));
    assert_string_equal(r.labels, "[]");
    endpoint_reference_done(&r);
    ok(reference_get(t.db, ep.id, 0, &r, &e));
    assert_int_equal(r.version, 3);
    endpoint_reference_done(&r);
    ok(endpoint_get_id(t.db, ep.id, &got, &e));
    assert_int_equal(got.reference_version, 3);
    endpoint_done(&got);
    endpoint_done(&ep);
}

/* A reference of first rows is in force from the last of them on, and never takes another one's place. */
static void first_rows_are_in_force_from_their_end(void **state)
{
    (void)state;
    struct endpoint ep = created(NULL, "a", "inplace"), got;
    int version = -1;
    ok(reference_put_first(t.db, project, ep.id, S("{\"a\":1}"), S("[]"), 5000, &e));
    assert_int_equal(reference_put_first(t.db, project, ep.id, S("{\"a\":2}"), S("[]"), 5000, &e), E_CONFLICT);
    const struct {
        int64_t end;
        int version;
    } rows[] = {{1, 0}, {4999, 0}, {5000, 1}, {INT64_MAX, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ok(reference_in_force(t.db, ep.id, rows[i].end, &version, &e));
        assert_int_equal(version, rows[i].version);
    }
    ok(reference_put(t.db, project, ep.id, S("{\"a\":1}"), S("[]"), "api_rows", &version, &e)); /* somebody says the same: that is new */
    assert_int_equal(version, 2);
    ok(reference_in_force(t.db, ep.id, INT64_MAX, &version, &e));
    assert_int_equal(version, 2);
    ok(reference_in_force(t.db, ep.id, 4999, &version, &e));
    assert_int_equal(version, 0);
    struct endpoint_reference *all = NULL;
    size_t n = 0;
    ok(references_list(t.db, ep.id, &all, &n, &e));
    assert_int_equal(n, 2);
    assert_string_equal(all[0].source, REFERENCE_AUTO);
    assert_int_equal(all[0].created_us, 5000);
    references_free(all, n);
    ok(endpoint_get_id(t.db, ep.id, &got, &e));
    assert_int_equal(got.reference_version, 2);
    endpoint_done(&got);
    endpoint_done(&ep);
}

#define PERIOD INT64_C(600000000)

/* Windows 1 to n, closed without a reference; the third has no rows. */
static void close_windows(const struct endpoint *ep, int n)
{
    int64_t day = 0;
    ok(db_days_ensure(t.db, &day, 1, &e));
    for (int i = 1; i <= n; i++) {
        const struct window w = {.project_id = project,
                                 .endpoint_id = ep->id,
                                 .start_us = (i - 1) * PERIOD,
                                 .end_us = i * PERIOD,
                                 .revision = 1,
                                 .rows = i == 3 ? 0 : 10,
                                 .closed_us = 1000};
        ok(window_put(t.db, &w, S(""), &e));
    }
}

static size_t pending_ends(int64_t ret[8])
{
    struct pending_window *due = NULL;
    struct db_rows *held = NULL;
    size_t n = 0;
    ok(pending_due(t.db, project, INT64_MAX / 2, 0, 8, &due, &n, &held, &e));
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(due[i].rows, 0);
        ret[i] = due[i].end_us / PERIOD;
    }
    mem_free(due);
    db_rows_free(held);
    return n;
}

static void the_first_reference_makes_closed_windows_pending(void **state)
{
    (void)state;
    struct endpoint ep = created(NULL, "a", "inplace"), other = created(NULL, "b", "inplace");
    int64_t ends[8], found = 0;
    int version;
    close_windows(&ep, 4);
    close_windows(&other, 2);
    ok(windows_sweep(t.db, project, 0, 2000, 5000, &found, &e)); /* without a reference there is nothing to look for */
    assert_int_equal(found, 0);
    ok(reference_put(t.db, project, ep.id, S("{}"), S("[]"), "api_rows", &version, &e));
    assert_int_equal(pending_ends(ends), 3);
    assert_true(ends[0] == 1 && ends[1] == 2 && ends[2] == 4);
    ok(db_exec(t.db, "DELETE FROM pending_windows", NULL, 0, NULL, &e));
    ok(reference_put(t.db, project, ep.id, S("{\"a\":{}}"), S("[]"), "api_rows", &version,
                     &e)); /* the second concerns none that is closed */
    assert_int_equal(pending_ends(ends), 0);
    ok(reference_put_first(t.db, project, other.id, S("{}"), S("[]"), 2 * PERIOD, &e));
    assert_int_equal(pending_ends(ends), 1);
    assert_true(ends[0] == 2);
    endpoint_done(&ep);
    endpoint_done(&other);
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest everywhere[] = {
        cmocka_unit_test_setup_teardown(projects_are_made_and_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(apps_are_interned, setup, teardown),
        cmocka_unit_test_setup_teardown(endpoints_asked_lately_get_empty_windows, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_endpoints_register_once, setup, teardown),
        cmocka_unit_test_setup_teardown(registering_is_capped, setup, teardown),
        cmocka_unit_test_setup_teardown(the_cap_is_not_for_what_clients_made, setup, teardown),
        cmocka_unit_test_setup_teardown(who_caches_hears_of_deletions, setup, teardown),
        cmocka_unit_test_setup_teardown(four_at_once_register_once, setup, teardown),
        cmocka_unit_test_setup_teardown(create_adopts_what_registered_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(inplace_keeps_the_uid, setup, teardown),
        cmocka_unit_test_setup_teardown(overwrite_replaces, setup, teardown),
        cmocka_unit_test_setup_teardown(archive_keeps_five, setup, teardown),
        cmocka_unit_test_setup_teardown(update_never_takes_requests_back, setup, teardown),
        cmocka_unit_test_setup_teardown(filters_select, setup, teardown),
        cmocka_unit_test_setup_teardown(changes_are_told_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(delete_takes_every_row, setup, teardown),
        cmocka_unit_test_setup_teardown(schemas_are_numbered, setup, teardown),
        cmocka_unit_test_setup_teardown(schemas_know_where_they_begin, setup, teardown),
        cmocka_unit_test_setup_teardown(references_are_in_force_by_time, setup, teardown),
        cmocka_unit_test_setup_teardown(first_rows_are_in_force_from_their_end, setup, teardown),
        cmocka_unit_test_setup_teardown(the_first_reference_makes_closed_windows_pending, setup, teardown),
    };
    for (int sqlite = 0; sqlite < 2; sqlite++) {
        print_message("on %s\n", sqlite ? "SQLite" : "PostgreSQL");
        testdb_use(sqlite);
        failed += cmocka_run_group_tests(everywhere, NULL, NULL);
    }
    return failed;
}
