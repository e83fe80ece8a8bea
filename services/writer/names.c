/* From what an event says (uid, app name, metric name) to the integers of the tables; remembered with bounds. */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "db/endpoint.h"
#include "db/project.h"
#include "db/result.h"
#include "event/names.h"
#include "log/log.h"
#include "writer.h"

#define ENDPOINTS_KNOWN_MAX 200000u
#define METRICS_KNOWN_MAX 200000u
#define NEGATIVE_TTL_US (2 * USEC_PER_SEC) /* an unknown endpoint may be registered any moment */
#define REFRESH_EVERY_US USEC_PER_SEC
#define KEY_MAX 320

struct known_endpoint {
    int64_t id; /* 0: there is none */
    int64_t until_us;
};
struct known_app {
    int32_t id;
};
struct known_metric {
    int32_t id;
};

/* Bytes, not text: this is done for every event. */
static struct str make_key(char out[KEY_MAX], int64_t owner, int type, struct str name)
{
    size_t n = name.n < KEY_MAX - sizeof owner - 1 ? name.n : KEY_MAX - sizeof owner - 1;
    memcpy(out, &owner, sizeof owner);
    out[sizeof owner] = (char)type;
    memcpy(out + sizeof owner + 1, name.p, n);
    return (struct str){out, sizeof owner + 1 + n};
}

/* The events of a window come together: the endpoint and the app of the last one are most often the next one's. */
static bool is_last(const struct last_name *last, int32_t project_id, struct str name)
{
    return last->known && last->project_id == project_id && str_eq(name, (struct str){last->name, last->n});
}

static void set_last(struct last_name *last, int32_t project_id, struct str name, void *known)
{
    last->known = name.n <= sizeof last->name ? known : NULL;
    last->project_id = project_id;
    last->n = name.n;
    if (last->known)
        memcpy(last->name, name.p, name.n);
}

static void drop_all(struct map *m)
{
    struct map_iter it = {0};
    while (map_next(m, &it))
        mem_free(it.value);
    map_done(m);
    *m = (struct map){0};
}

void names_done(struct names *n)
{
    drop_all(&n->endpoints);
    drop_all(&n->apps);
    drop_all(&n->metrics);
    n->last_endpoint.known = n->last_app.known = NULL;
}

void names_forget_endpoints(struct names *n)
{
    drop_all(&n->endpoints);
    n->last_endpoint.known = NULL;
}

/* Deleted ones: a new one may have the same uid. */
static rc_t forget_gone(struct names *n, struct db *db, struct err *e)
{
    CLEANUP(mem_freep) int64_t *ids = mem_array(n->endpoints.len, sizeof *ids);
    CLEANUP(mem_freep) int64_t *gone = NULL;
    size_t some = 0, n_gone = 0;
    for (struct map_iter it = {0}; map_next(&n->endpoints, &it);)
        if (((const struct known_endpoint *)it.value)->id)
            ids[some++] = ((const struct known_endpoint *)it.value)->id;
    rc_t rc = endpoints_gone(db, ids, some, &gone, &n_gone, e);
    if (!rc && n_gone) /* seldom, and all come again at their next event */
        names_forget_endpoints(n);
    return rc;
}

rc_t names_refresh(struct names *n, struct db *db, struct err *e)
{
    n->now_us = clock_mono_us();
    if (n->now_us < n->next_refresh_us)
        return OK;
    for (size_t got = 1; got > 0;) {
        struct endpoint *eps = NULL;
        rc_t rc = endpoints_changed(db, &n->change_seq, &eps, &got, e);
        if (rc)
            return rc;
        n->last_endpoint.known = NULL;
        for (size_t i = 0; i < got; i++) {
            char text[KEY_MAX];
            mem_free(map_del(&n->endpoints, make_key(text, eps[i].project_id, 0, str_of(eps[i].uid))));
        }
        endpoints_free(eps, got);
    }
    bool look = false;
    rc_t rc = gone_watch_due(&n->gone, db, &look, e);
    if (!rc && look && n->endpoints.len)
        rc = forget_gone(n, db, e);
    if (rc)
        return rc;
    n->next_refresh_us = n->now_us + REFRESH_EVERY_US;
    return OK;
}

rc_t names_endpoint(struct names *n, struct db *db, int32_t project_id, struct str uid, int64_t *ret,
                    struct reject *why, struct err *e)
{
    char text[KEY_MAX];
    struct known_endpoint *k = is_last(&n->last_endpoint, project_id, uid) ? n->last_endpoint.known : NULL;
    struct str key = {0};
    if (!k) {
        key = make_key(text, project_id, 0, uid);
        k = map_get(&n->endpoints, key);
    }
    if (!k || n->now_us > k->until_us) {
        struct endpoint ep = {0};
        rc_t rc = endpoint_get(db, project_id, uid, &ep, e);
        if (rc && rc != E_NOTFOUND)
            return rc;
        if (!k) {
            if (n->endpoints.len > ENDPOINTS_KNOWN_MAX)
                drop_all(&n->endpoints);
            k = mem_alloc(sizeof *k);
            map_put(&n->endpoints, key, k);
        }
        k->id = rc ? 0 : ep.id;
        k->until_us = n->now_us + (rc ? NEGATIVE_TTL_US : n->opts->names_ttl_us);
        endpoint_done(&ep);
    }
    set_last(&n->last_endpoint, project_id, uid, k);
    if (k->id == 0)
        return reject_set(why, REJECT_UNKNOWN_ENDPOINT, "endpoint_id", 0, "the project has no such endpoint");
    *ret = k->id;
    return OK;
}

static void remember_app(struct names *n, int32_t project_id, struct str name, int32_t id)
{
    char text[KEY_MAX];
    struct str key = make_key(text, project_id, 0, name);
    struct known_app *k = map_get(&n->apps, key);
    if (!k) {
        k = mem_alloc(sizeof *k);
        map_put(&n->apps, key, k);
    }
    k->id = id;
}

/* Reads the project's apps; *ret_n is how many there are. */
static rc_t read_apps(struct names *n, struct db *db, int32_t project_id, size_t *ret_n, struct err *e)
{
    struct app_row *rows = NULL;
    rc_t rc = apps_list(db, project_id, &rows, ret_n, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < *ret_n; i++)
        remember_app(n, project_id, str_of(rows[i].name), rows[i].id);
    apps_free(rows, *ret_n);
    return OK;
}

static rc_t register_app(struct names *n, struct db *db, int32_t project_id, struct str name, int32_t *ret,
                         struct reject *why, struct err *e)
{
    char *text = mem_dup(name.p, name.n);
    rc_t rc = app_add(db, project_id, text, ret, e);
    if (rc == OK) {
        remember_app(n, project_id, name, *ret);
        metric_add(metrics_at(&writer_metrics, M_APPS, 0, 0), 1);
        log_info("app_registered", LF_STR("app", name), LF_I64("project_id", project_id), LF_BOOL("active", false));
    } else if (rc == E_CONFLICT || rc == E_NOTFOUND) {
        rc = reject_set(why, REJECT_UNKNOWN_PROJECT, NULL, 0, "the project was deleted");
    }
    mem_free(text);
    return rc;
}

rc_t names_app(struct names *n, struct db *db, int32_t project_id, struct str name, int32_t *ret, struct reject *why,
               struct err *e)
{
    char text[KEY_MAX];
    if (!name_is_app(name))
        return reject_set(why, REJECT_BAD_NAME, "application_name", 0, "not a name of an application");
    if (is_last(&n->last_app, project_id, name)) {
        *ret = ((const struct known_app *)n->last_app.known)->id;
        return OK;
    }
    struct str key = make_key(text, project_id, 0, name);
    struct known_app *k = map_get(&n->apps, key);
    size_t there = 0;
    if (!k) {
        rc_t rc = read_apps(n, db, project_id, &there, e);
        if (rc)
            return rc;
        k = map_get(&n->apps, key);
    }
    if (k) {
        set_last(&n->last_app, project_id, name, k);
        *ret = k->id;
        return OK;
    }
    if ((int64_t)there >= n->opts->max_apps)
        return reject_set(why, REJECT_UNKNOWN_APP, "application_name", 0, "the project has %zu applications already", there);
    return register_app(n, db, project_id, name, ret, why, e);
}

rc_t names_metric(struct names *n, struct db *db, int32_t project_id, int32_t app_id, int metric, struct str name,
                  int kind, int32_t *ret, struct reject *why, struct err *e)
{
    char text[KEY_MAX];
    struct str key = make_key(text, app_id, metric, name);
    struct known_metric *k = map_get(&n->metrics, key);
    if (k) {
        *ret = k->id;
        return OK;
    }
    int32_t id = 0;
    rc_t rc = metric_intern(db, project_id, app_id, (enum metric_type)metric, name, kind, &id, e);
    if (rc == E_CONFLICT || rc == E_NOTFOUND) {
        drop_all(&n->apps); /* the app was deleted with its project */
        n->last_app.known = NULL;
        return reject_set(why, REJECT_UNKNOWN_APP, "application_name", 0, "the application was deleted");
    }
    if (rc)
        return rc;
    if (n->metrics.len > METRICS_KNOWN_MAX)
        drop_all(&n->metrics);
    k = mem_alloc(sizeof *k);
    k->id = id;
    map_put(&n->metrics, key, k);
    *ret = id;
    return OK;
}
