/* The log of a folder: who has it, its options, its topics. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/crash.h"
#include "base/mem.h"
#include "base/num.h"
#include "bus/local.h"
#include "log/log.h"

#define PARTITIONS_MAX 1000
#define NEW ".new" /* a topic in the making; no topic has this name */

/* The logs open in this process: what they share cannot hang on any one producer or consumer. */
static pthread_mutex_t logs_lock = PTHREAD_MUTEX_INITIALIZER;
static struct local_log *logs;

/* --- folders --- */
rc_t local_folder_sync(const char *dir, struct err *e)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    rc_t rc = ok ? OK : err_set(e, E_AGAIN, "syncing the folder %s: %s", dir, strerror(errno));
    if (fd >= 0)
        (void)close(fd); /* it was synced */
    return rc;
}

static rc_t folder_make(const char *path, struct err *e)
{
    CLEANUP(mem_freep) char *dir = mem_dupz(path);
    for (char *p = strchr(dir + 1, '/');; p = strchr(p + 1, '/')) {
        if (p)
            *p = '\0';
        if (mkdir(dir, 0700) && errno != EEXIST)
            return err_set(e, E_INVALID, "KAFKA_BROKERS: making the folder %s: %s", dir, strerror(errno));
        if (!p)
            return OK;
        *p = '/';
    }
}

/* --- options --- */
static rc_t option_set(struct local_log *log, struct str name, struct str value, struct err *e)
{
    const struct {
        const char *name;
        int64_t *at, min;
    } rows[] = {
        {"segment.bytes", &log->segment_bytes, 4096},
        {"retention.bytes", &log->retention_bytes, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t v = 0;
        if (!str_eqz(name, rows[i].name))
            continue;
        if (num_i64(value, &v) || v < rows[i].min)
            return err_set(e, E_INVALID, "KAFKA_OPTIONS: %s wants a number from %lld on", rows[i].name,
                           (long long)rows[i].min);
        *rows[i].at = v;
        return OK;
    }
    return err_set(e, E_INVALID, "KAFKA_OPTIONS: the local log has no option %.*s", STR_FMT(name));
}

static rc_t options_read(struct local_log *log, const struct bus_config *cfg, struct err *e)
{
    log->segment_bytes = 64 << 20;
    log->retention_us = cfg->retention_us > 0 ? cfg->retention_us : 7 * USEC_PER_DAY;
    log->partitions = cfg->partitions > 0 ? cfg->partitions : 8;
    log->linger_us = cfg->linger_us;
    const char *p = cfg->extra ? cfg->extra : "";
    rc_t rc = OK;
    while (*p && !rc) {
        size_t n = strcspn(p, ";");
        const char *eq = memchr(p, '=', n);
        if (n && !eq)
            return err_set(e, E_INVALID, "KAFKA_OPTIONS: an option without \"=\"");
        if (n)
            rc = option_set(log, (struct str){p, (size_t)(eq - p)}, (struct str){eq + 1, n - (size_t)(eq - p) - 1}, e);
        p += n + (p[n] == ';');
    }
    return rc;
}

/* --- the lock file --- */
static rc_t lock_take(struct local_log *log, struct err *e)
{
    CLEANUP(buf_done) struct buf path = {0};
    char owner[32] = "";
    buf_addf(&path, "%s/lock", log->path);
    int fd = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(e, E_INVALID, "KAFKA_BROKERS: opening %s: %s", path.data, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        bool taken = errno == EWOULDBLOCK;
        rc_t rc = err_set(e, E_INVALID, "KAFKA_BROKERS: locking %s: %s", path.data, strerror(errno));
        ssize_t n = pread(fd, owner, sizeof owner - 1, 0);
        owner[n > 0 ? strspn(owner, "0123456789") : 0] = '\0';
        if (taken)
            rc = err_set(e, E_CONFLICT, "%s is in use by process %s: one process at a time may have it", log->path,
                         *owner ? owner : "?");
        (void)close(fd); /* nothing was written */
        return rc;
    }
    int n = snprintf(owner, sizeof owner, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) || pwrite(fd, owner, (size_t)n, 0) != n)
        log_debug("local_log_owner", LF_STR("path", path.data)); /* only words for the second one */
    log->lock_fd = fd;
    return OK;
}

/* --- topics; the log's lock is held --- */
static bool name_is_good(const char *name)
{
    size_t n = strlen(name);
    return n && n < 250 && *name != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static void topic_free(struct local_topic *t)
{
    for (int32_t i = 0; i < t->n; i++)
        local_part_done(&t->parts[i]);
    mem_free(t->parts);
    mem_free(t->name);
    mem_free(t);
}

static int32_t partitions_in(const char *dir)
{
    CLEANUP(buf_done) struct buf path = {0};
    struct stat st;
    int32_t n = 0;
    for (; n < PARTITIONS_MAX; n++) {
        buf_clear(&path);
        buf_addf(&path, "%s/%d", dir, n);
        if (stat(path.data, &st) || !S_ISDIR(st.st_mode))
            break;
    }
    return n;
}

static rc_t topic_load(struct local_log *log, const char *name, struct local_topic **ret, struct err *e)
{
    CLEANUP(buf_done) struct buf dir = {0};
    buf_addf(&dir, "%s/%s", log->path, name);
    int32_t n = name_is_good(name) ? partitions_in(dir.data) : 0;
    if (!n)
        return err_set(e, E_NOTFOUND, "there is no topic %.100s", name);
    struct local_topic *t = mem_alloc(sizeof *t);
    t->name = mem_dupz(name);
    t->parts = mem_array((size_t)n, sizeof *t->parts);
    rc_t rc = OK;
    for (; t->n < n && !rc; t->n += !rc) {
        CLEANUP(buf_done) struct buf part = {0};
        buf_addf(&part, "%s/%d", dir.data, t->n);
        rc = local_part_load(&t->parts[t->n], part.data, e);
    }
    if (rc) {
        topic_free(t);
        return rc;
    }
    map_put(&log->topics, str_of(name), t);
    *ret = t;
    return OK;
}

rc_t local_topic_find(struct local_log *log, const char *name, struct local_topic **ret, struct err *e)
{
    struct local_topic *t = map_get(&log->topics, str_of(name));
    if (!t)
        return topic_load(log, name, ret, e);
    *ret = t;
    return OK;
}

/* Made under another name, then renamed: a topic has all its partitions or is not there. */
static rc_t folders_make(const struct local_log *log, const char *name, int32_t n, struct err *e)
{
    CLEANUP(buf_done) struct buf from = {0}, to = {0}, part = {0};
    buf_addf(&from, "%s/" NEW, log->path);
    buf_addf(&to, "%s/%s", log->path, name);
    int bad = mkdir(from.data, 0700) && errno != EEXIST;
    for (int32_t i = 0; i < PARTITIONS_MAX && !bad; i++) {
        buf_clear(&part);
        buf_addf(&part, "%s/%d", from.data, i);
        if (i < n)
            bad = mkdir(part.data, 0700) && errno != EEXIST;
        else if (rmdir(part.data)) /* one of an earlier attempt */
            break;
    }
    if (bad)
        return err_set(e, E_AGAIN, "making topic %s: %s", name, strerror(errno));
    CRASH_POINT(log_topic_folders);
    rc_t rc = local_folder_sync(from.data, e);
    if (!rc && rename(from.data, to.data))
        rc = err_set(e, E_AGAIN, "making topic %s: %s", name, strerror(errno));
    CRASH_POINT(log_topic_rename);
    rc = rc ? rc : local_folder_sync(log->path, e);
    CRASH_POINT(log_topic_sync);
    return rc;
}

rc_t local_topic_make(struct local_log *log, const char *name, int32_t n, struct local_topic **ret, struct err *e)
{
    if (!name_is_good(name))
        return err_set(e, E_INVALID, "not a topic's name: %.100s", name);
    if (n < 1 || n > PARTITIONS_MAX)
        return err_set(e, E_INVALID, "a topic has 1 to %d partitions", PARTITIONS_MAX);
    rc_t rc = local_topic_find(log, name, ret, e);
    if (rc != E_NOTFOUND)
        return rc;
    rc = folders_make(log, name, n, e);
    if (!rc)
        rc = topic_load(log, name, ret, e);
    if (!rc)
        local_topic_appeared(log, name);
    return rc;
}

/* --- life --- */
static void log_free(struct local_log *log)
{
    struct map_iter it = {0};
    while (map_next(&log->topics, &it))
        topic_free(it.value);
    map_done(&log->topics);
    local_batch_done(&log->refused);
    if (log->lock_fd >= 0)
        (void)close(log->lock_fd); /* and with it the lock */
    pthread_mutex_destroy(&log->lock);
    pthread_cond_destroy(&log->work);
    pthread_cond_destroy(&log->changed);
    mem_free(log->path);
    mem_free(log);
}

static struct local_log *log_new(const char *path)
{
    struct local_log *log = mem_alloc(sizeof *log);
    pthread_condattr_t attr;
    log->path = mem_dupz(path);
    log->lock_fd = -1;
    log->queue_end = &log->queue;
    pthread_mutex_init(&log->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&log->work, &attr);
    pthread_cond_init(&log->changed, &attr);
    pthread_condattr_destroy(&attr);
    return log;
}

static rc_t log_begin(const char *path, const struct bus_config *cfg, struct local_log **ret, struct err *e)
{
    struct local_log *log = log_new(path);
    rc_t rc = options_read(log, cfg, e);
    if (!rc)
        rc = lock_take(log, e);
    if (!rc && pthread_create(&log->thread, NULL, local_writer_thread, log))
        rc = err_set(e, E_AGAIN, "local log: no thread");
    if (rc) {
        log_free(log);
        return rc;
    }
    *ret = log;
    return OK;
}

static rc_t path_read(const char *brokers, char real[PATH_MAX], struct err *e)
{
    const char *path = local_folder(brokers);
    if (strncmp(path, "//", 2) == 0)
        path += 2;
    if (*path != '/' || strlen(path) > 512)
        return err_set(e, E_INVALID, "KAFKA_BROKERS: the local bus wants local:/path/of/a/folder");
    rc_t rc = folder_make(path, e);
    if (!rc && !realpath(path, real))
        rc = err_set(e, E_INVALID, "KAFKA_BROKERS: %s: %s", path, strerror(errno));
    return rc;
}

rc_t local_log_get(const struct bus_config *cfg, struct local_log **ret, struct err *e)
{
    char path[PATH_MAX];
    rc_t rc = path_read(cfg->brokers, path, e);
    if (rc)
        return rc;
    pthread_mutex_lock(&logs_lock);
    struct local_log *log = logs;
    while (log && strcmp(log->path, path) != 0)
        log = log->after;
    if (!log && !(rc = log_begin(path, cfg, &log, e))) {
        log->after = logs;
        logs = log;
    }
    if (!rc) {
        log->users++;
        *ret = log;
    }
    pthread_mutex_unlock(&logs_lock);
    return rc;
}

void local_log_put(struct local_log *log)
{
    pthread_mutex_lock(&logs_lock);
    bool end = --log->users == 0;
    struct local_log **at = &logs;
    while (end && *at != log)
        at = &(*at)->after;
    if (end)
        *at = log->after;
    if (end) { /* under the lock: who opens the folder anew must find it free */
        pthread_mutex_lock(&log->lock);
        log->stop = true;
        pthread_cond_signal(&log->work);
        pthread_mutex_unlock(&log->lock);
        pthread_join(log->thread, NULL);
        log_free(log);
    }
    pthread_mutex_unlock(&logs_lock);
}
