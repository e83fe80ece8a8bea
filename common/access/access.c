/* The guard: options, the thread that follows the database, the verdict on each request. */
#include "access/access.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>

#include "access/credential.h"
#include "access/rate.h"
#include "access/table.h"
#include "base/clock.h"
#include "base/mem.h"
#include "log/log.h"
#include "metrics/metrics.h"
#include "service/worker.h"

#define LOOK_US USEC_PER_SEC
#define GAP_US (50 * USEC_PER_MSEC)  /* between two looks, however many unknown tokens come */
#define PARKED_US (5 * USEC_PER_SEC) /* for the database's first answer */
#define PARKED_MAX 256
#define TELL_US (60 * USEC_PER_SEC) /* last_used is to the minute */
#define SECRET_MIN 32u
#define SECRET_MAX 256u
#define RETRY_AFTER_S 2
#define PAGE_MAX 1024 /* of a path */

enum mode { MODE_AUTO, MODE_OPEN, MODE_TOKENS };
struct access_options {
    int mode;
    char *admin_token;
    int64_t rate;
    bool metrics;
};

struct parked {
    struct http_request *request;
    int64_t until_us;
};

struct access {
    struct access_options options;
    struct db_config db_config;
    struct cache_config cache_config;
    struct config_table tables[3];
    struct service_guard guard;
    bool asks; /* for tokens; else everybody is let in */
    struct db *db;
    struct cache *cache; /* counts with other processes */
    int64_t identity;    /* the database's */
    struct health_dep *health;
    struct worker worker;
    int64_t version, told_us, looked_us; /* the worker's */
    pthread_rwlock_t lock;               /* of the next three */
    struct token_table *table;
    bool loaded, lost; /* it was read; the database does not answer now */
    pthread_mutex_t parking;
    struct parked parked[PARKED_MAX];
    size_t n_parked;
};

static const struct config_value modes[] = {{"auto", MODE_AUTO}, {"open", MODE_OPEN}, {"tokens", MODE_TOKENS}, {NULL, 0}};

static rc_t check_secret(const char *text, struct err *e)
{
    size_t n = strlen(text);
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~+/=";
    if (n >= SECRET_MIN && n <= SECRET_MAX && strspn(text, allowed) == n)
        return OK;
    return err_set(e, E_INVALID, "32 to 256 letters, digits and -_.~+/=: `modelmon token generate` makes one");
}

#define AT(field) .offset = offsetof(struct access_options, field)
static const struct config_key keys[] = {
    {.env = "ACCESS",
     .def = "auto",
     .type = CONFIG_ENUM,
     AT(mode),
     .values = modes,
     .help = "Who may ask: open: everybody who reaches the port; tokens: who shows one; auto: open where HTTP_ADDR is "
             "loopback, else there is no start."},
    {.env = "ACCESS_ADMIN_TOKEN",
     .def = "",
     .type = CONFIG_STR,
     .flags = CONFIG_SECRET,
     AT(admin_token),
     .check = check_secret,
     .help = "A token that may all, to make the others with."},
    {.env = "ACCESS_RATE",
     .def = "0",
     .type = CONFIG_I64,
     .max = 1000000,
     AT(rate),
     .help =
         "With ACCESS=tokens: requests a second of each token that has no rate of its own; 0: as many as it likes."},
    {.env = "ACCESS_METRICS",
     .def = "false",
     .type = CONFIG_BOOL,
     AT(metrics),
     .help = "With ACCESS=tokens: /metrics asks for one too, with the scope read for all projects."},
};

enum { M_VERDICTS };
enum { V_ADMITTED, V_NO_TOKEN, V_UNKNOWN, V_EXPIRED, V_FORBIDDEN, V_LIMITED, V_UNAVAILABLE };
static const struct metric_row rows[] = {
    [M_VERDICTS] = {.name = "modelmon_access_total",
                    .kind = METRIC_COUNTER,
                    .help = "Requests to what is not open, by what the check of their token said.",
                    .labels = {{.name = "outcome",
                                .values = (const char *const[]){[V_ADMITTED] = "admitted",
                                                                [V_NO_TOKEN] = "no_token",
                                                                [V_UNKNOWN] = "unknown",
                                                                [V_EXPIRED] = "expired",
                                                                [V_FORBIDDEN] = "forbidden",
                                                                [V_LIMITED] = "limited",
                                                                [V_UNAVAILABLE] = "unavailable",
                                                                NULL}}}},
};
static struct metric_set metrics = METRIC_SET(rows);

static void count(unsigned verdict)
{
    metric_add(metrics_at(&metrics, M_VERDICTS, verdict, 0), 1);
}

/* ---- the verdict ---- */

/* To where one signs in, and from there back. */
static void lead_to_login(struct http_request *r, bool shown)
{
    CLEANUP(buf_done) struct buf to = {0};
    buf_addf(&to, "/ui/login?%snext=", shown ? "unknown=1&" : "");
    for (const char *p = http_target(r, PAGE_MAX); *p; p++) {
        if (strchr("%&+#=", *p))
            buf_addf(&to, "%%%02X", (unsigned char)*p);
        else
            buf_addc(&to, *p);
    }
    http_add_header(r, "Location", to.data);
    http_add_header(r, "Cache-Control", "no-store");
    http_answer_empty(r, 303);
}

/* One answer for every token that does not count: which of them exist is nobody's business. */
static enum http_verdict refuse_unknown(struct http_request *r, unsigned why)
{
    count(why);
    if (http_route(r)->flags & HTTP_PAGE) {
        lead_to_login(r, why != V_NO_TOKEN);
        return HTTP_REFUSED;
    }
    http_add_header(r, "WWW-Authenticate", "Bearer realm=\"modelmon\"");
    http_problem(r, &(struct http_problem){.status = 401,
                                           .code = "unauthorized",
                                           .detail = "a valid token is wanted, as Authorization: Bearer TOKEN"});
    return HTTP_REFUSED;
}

static enum http_verdict refuse_forbidden(struct http_request *r, const struct token_row *t)
{
    struct str project;
    count(V_FORBIDDEN);
    log_warn("forbidden", LF_STR("token", t->name), LF_STR("method", http_route(r)->method),
             LF_STR("path", http_target(r, PAGE_MAX)), LF_STR("address", http_address(r)));
    http_fail(r, 403, "forbidden", "this token may not: it takes the scope %s for %s", http_scopes[http_scope(r)],
              http_project(r, &project) || http_route(r)->flags & HTTP_SOME_PROJECTS ? "this project" : "all projects");
    return HTTP_REFUSED;
}

static enum http_verdict refuse_limited(struct http_request *r, const struct token_row *t, int64_t wait_us)
{
    count(V_LIMITED);
    http_problem(r, &(struct http_problem){.status = 429,
                                           .code = "too_many",
                                           .detail = arena_printf(http_arena(r), "this token may ask %lld times a second",
                                                                  (long long)t->rate),
                                           .retry_after_s = (int)((wait_us + USEC_PER_SEC - 1) / USEC_PER_SEC)});
    return HTTP_REFUSED;
}

static enum http_verdict refuse_unavailable(struct http_request *r)
{
    count(V_UNAVAILABLE);
    http_problem(r, &(struct http_problem){.status = 503,
                                           .code = "unavailable",
                                           .detail = "this token cannot be looked up now: see /readyz",
                                           .retry_after_s = RETRY_AFTER_S});
    return HTTP_REFUSED;
}

static bool may(const struct token_row *t, struct http_request *r)
{
    struct str project;
    bool in = t->all_projects || (!http_project(r, &project) && (http_route(r)->flags & HTTP_SOME_PROJECTS));
    for (size_t i = 0; i < t->n_projects && !in; i++)
        in = http_project(r, &project) && str_eq(t->projects[i], project);
    return in && access_scope_has(t->scopes, http_scope(r));
}

/* Copies: the table may be another one while the request lasts. */
static void call_by(struct http_request *r, const struct token_row *t)
{
    struct arena *a = http_arena(r);
    struct str *projects = arena_array(a, t->n_projects + 1, sizeof *projects);
    for (size_t i = 0; i < t->n_projects; i++)
        projects[i] = arena_str(a, t->projects[i]);
    unsigned scopes = 0;
    for (unsigned s = HTTP_INGEST; s < HTTP_SCOPES; s++)
        scopes |= access_scope_has(t->scopes, (enum http_scope)s) ? 1U << s : 0;
    http_called_by(r, &(struct http_caller){.name = arena_dup(a, t->name, strlen(t->name)),
                                            .scopes = scopes,
                                            .all_projects = t->all_projects,
                                            .projects = projects,
                                            .n_projects = t->n_projects});
}

/* The lock is held. */
static enum http_verdict judge_row(struct http_request *r, struct token_row *t)
{
    int64_t now = clock_now_us(), wait = 0;
    if (t->expires_us && now >= t->expires_us)
        return refuse_unknown(r, V_EXPIRED);
    if (!may(t, r))
        return refuse_forbidden(r, t);
    if (!rate_take(t, clock_mono_us(), &wait))
        return refuse_limited(r, t, wait);
    atomic_store_explicit(&t->last_used_us, now, memory_order_relaxed);
    count(V_ADMITTED);
    call_by(r, t);
    return HTTP_ADMITTED;
}

static enum http_verdict judge(struct http_request *r, bool again, void *arg)
{
    struct access *a = arg;
    unsigned char hash[SHA256_BYTES];
    struct str token;
    if (!a->asks)
        return http_gate_open.judge(r, again, NULL);
    if (!credential_of(r, &token))
        return refuse_unknown(r, V_NO_TOKEN);
    sha256_bytes(token.p, token.n, hash);
    (void)pthread_rwlock_rdlock(&a->lock); /* these fail only by misuse */
    struct token_row *t = table_find(a->table, hash);
    bool known = a->loaded && !a->lost;
    enum http_verdict v = t ? judge_row(r, t) : HTTP_LATER;
    (void)pthread_rwlock_unlock(&a->lock);
    if (v != HTTP_LATER)
        return v;
    if (!access_token_is(token) || (again && known))
        return refuse_unknown(r, V_UNKNOWN);
    return again ? refuse_unavailable(r) : HTTP_LATER;
}

/* ---- tokens that are not known wait for a look into the database ---- */

static void park(struct http_request *r, void *arg)
{
    struct access *a = arg;
    http_suspend(r);
    (void)pthread_mutex_lock(&a->parking);
    bool room = a->n_parked < PARKED_MAX;
    if (room)
        a->parked[a->n_parked++] = (struct parked){r, clock_mono_us() + PARKED_US};
    (void)pthread_mutex_unlock(&a->parking);
    if (room)
        worker_wake(&a->worker);
    else
        http_resume(r);
}

static size_t count_parked(struct access *a)
{
    (void)pthread_mutex_lock(&a->parking);
    size_t n = a->n_parked;
    (void)pthread_mutex_unlock(&a->parking);
    return n;
}

/* The first n; when there is still hope, those alone that have waited enough. */
static void resume(struct access *a, size_t n, bool hope)
{
    struct http_request *go[PARKED_MAX];
    size_t n_go = 0, kept = 0;
    int64_t now = clock_mono_us();
    (void)pthread_mutex_lock(&a->parking);
    for (size_t i = 0; i < a->n_parked; i++) {
        if (i < n && (!hope || now >= a->parked[i].until_us))
            go[n_go++] = a->parked[i].request;
        else
            a->parked[kept++] = a->parked[i];
    }
    a->n_parked = kept;
    (void)pthread_mutex_unlock(&a->parking);
    for (size_t i = 0; i < n_go; i++)
        http_resume(go[i]);
}

/* ---- following the database ---- */

static void put_table(struct access *a, struct token_table *table, bool loaded)
{
    (void)pthread_rwlock_wrlock(&a->lock);
    struct token_table *old = a->table;
    a->table = table;
    a->loaded = loaded;
    (void)pthread_rwlock_unlock(&a->lock);
    table_free(old);
}

static rc_t load(struct access *a, struct err *e)
{
    struct token *tokens = NULL;
    size_t n = 0;
    int64_t version = 0;
    rc_t rc = a->loaded ? OK : db_ready(a->db, e);
    if (!rc && !a->loaded)
        rc = db_identity(a->db, &a->identity, e);
    if (!rc)
        rc = tokens_version(a->db, &version, e);
    if (rc || (a->loaded && version == a->version))
        return rc;
    rc = tokens_list(a->db, false, &tokens, &n, e);
    if (rc)
        return rc;
    put_table(a, table_new(tokens, n, a->options.rate, a->options.admin_token, a->table), true);
    a->version = version;
    tokens_free(tokens, n);
    return OK;
}

/* When each was used last, once a minute. The rows are this thread's to replace: no lock. */
static rc_t tell_use(struct access *a, struct err *e)
{
    rc_t rc = OK;
    if (clock_mono_us() - a->told_us < TELL_US)
        return OK;
    for (size_t i = 0; i < a->table->n && !rc; i++) {
        struct token_row *t = &a->table->rows[i];
        int64_t used = atomic_load(&t->last_used_us);
        if (t->id && used > t->told_us)
            rc = token_used(a->db, t->id, used, e);
        if (!rc)
            t->told_us = used;
    }
    if (!rc)
        a->told_us = clock_mono_us();
    return rc;
}

static void show(struct access *a, rc_t rc, const struct err *e)
{
    bool lost = rc != OK;
    (void)pthread_rwlock_wrlock(&a->lock);
    a->lost = lost;
    (void)pthread_rwlock_unlock(&a->lock);
    if (!lost)
        health_set(a->health, HEALTH_OK, "%s", "");
    else if (a->loaded)
        health_set(a->health, HEALTH_DEGRADED, "tokens as they were read last: %s", e->text);
    else
        health_set(a->health, HEALTH_STARTING, "tokens have not been read yet: %s", e->text);
}

/* What the database says now, and what waits for that. */
static void look(struct access *a)
{
    struct err e = {{0}};
    size_t n = count_parked(a);
    a->looked_us = clock_mono_us();
    rc_t rc = load(a, &e);
    if (rc == OK)
        rc = tell_use(a, &e);
    show(a, rc, &e);
    resume(a, n, !a->loaded);
}

static void follow(struct worker *w, void *arg)
{
    struct access *a = arg;
    while (!worker_stopping(w)) {
        int64_t since = clock_mono_us() - a->looked_us;
        if (since >= LOOK_US || (since >= GAP_US && count_parked(a)))
            look(a);
        rate_share(a->table, a->cache, a->identity, clock_mono_us());
        (void)worker_wait(w, count_parked(a) ? GAP_US : cache_exists(a->cache) ? RATE_SHARE_US : LOOK_US / 4);
    }
    resume(a, PARKED_MAX, false);
}

/* ---- a life ---- */

static bool is_loopback(const char *addr)
{
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, addr, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, addr, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

static rc_t check(const void *self, const struct http_options *http, struct err *e)
{
    const struct access *a = self;
    if (a->options.mode != MODE_AUTO || is_loopback(http->addr))
        return OK;
    return err_set(e, E_INVALID,
                   "others reach %s: ACCESS=tokens asks them for a token (ACCESS_ADMIN_TOKEN_FILE has the "
                   "first one), ACCESS=open lets them all in",
                   http->addr);
}

static rc_t open_guard(void *self, struct health *health, struct err *e)
{
    struct access *a = self;
    static char name[] = "modelmon-access";
    a->asks = a->options.mode == MODE_TOKENS;
    a->options.metrics = a->options.metrics && a->asks;
    metrics_register(&metrics);
    if (!a->asks)
        return OK;
    a->db_config.app_name = name;
    a->health = health_add(health, "access", HEALTH_REQUIRED, 0);
    a->told_us = clock_mono_us();
    put_table(a, table_new(NULL, 0, 0, a->options.admin_token, NULL), false);
    rc_t rc = db_open(&a->db, &a->db_config, e);
    if (!rc)
        rc = cache_open(&a->cache, &a->cache_config, e);
    return rc ? rc : worker_start(&a->worker, "access", follow, a, e);
}

static void close_guard(void *self)
{
    struct access *a = self;
    worker_stop(&a->worker);
    if (worker_join(&a->worker, 5 * USEC_PER_SEC))
        return; /* it waits for a server; the process ends anyway and the memory must stay */
    table_free(a->table);
    db_free(a->db);
    cache_free(a->cache);
}

const struct service_guard *access_guard(struct arena *arena)
{
    struct access *a = arena_alloc(arena, sizeof *a);
    (void)pthread_rwlock_init(&a->lock, NULL); /* cannot fail without attributes */
    (void)pthread_mutex_init(&a->parking, NULL);
    a->tables[0] = CONFIG_TABLE("Access", keys, &a->options);
    a->tables[1] = (struct config_table){"Database", db_keys, db_keys_n, &a->db_config};
    a->tables[2] = (struct config_table){"Cache", cache_keys, cache_keys_n, &a->cache_config};
    a->guard = (struct service_guard){.tables = a->tables,
                                      .table_count = sizeof a->tables / sizeof *a->tables,
                                      .option = keys[0].env,
                                      .check = check,
                                      .open = open_guard,
                                      .close = close_guard,
                                      .gate = {.judge = judge, .park = park, .arg = a},
                                      .guards_metrics = &a->options.metrics,
                                      .self = a};
    return &a->guard;
}
