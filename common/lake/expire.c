/* The walk: root, project, model-endpoints/parquet, key, year, month, day, hour, files; projects and keys in the order of
 * their names, so that it can go on where it stopped. What was touched a moment ago stays: a writer may just be putting a file there
 * whose row comes after it. */
#include "lake/expire.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/crash.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/time.h"

#define BELOW_PROJECT "model-endpoints/parquet"
#define QUIET_S 600
#define DEPTH_MAX 5 /* below a key's folder: year, month, day, hour, file */

struct walk {
    int64_t cutoff_us, deadline_us, files;
    lake_has_rows_fn *has_rows;
    void *arg;
    struct map days; /* day as 8 bytes ⇒ &kept or &free_day: asked once a walk */
};
static const char kept, free_day;

static rc_t list(const char *dir, struct dirent ***ret, int *n, struct err *e)
{
    *n = scandir(dir, ret, NULL, alphasort);
    if (*n >= 0)
        return OK;
    *n = 0;
    *ret = NULL;
    return errno == ENOENT || errno == ENOTDIR ? OK : err_set(e, E_AGAIN, "%.150s: %s", dir, strerror(errno));
}

static void list_free(struct dirent **names, int n)
{
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool is_quiet(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && (int64_t)st.st_mtime < clock_now_us() / USEC_PER_SEC - QUIET_S;
}

static void count_file(struct walk *w)
{
    w->files++;
    CRASH_POINT(retention_file);
}

/* All of a folder, then itself. */
static rc_t remove_all(struct walk *w, const char *dir, int depth, struct err *e)
{
    struct dirent **names = NULL;
    int n = 0;
    bool quiet = is_quiet(dir);
    rc_t rc = depth > DEPTH_MAX ? err_set(e, E_AGAIN, "%.150s: not a folder of the lake", dir) : list(dir, &names, &n, e);
    for (int i = 0; !rc && i < n; i++) {
        CLEANUP(buf_done) struct buf path = {0};
        if (is_dots(names[i]->d_name))
            continue;
        buf_addf(&path, "%s/%s", dir, names[i]->d_name);
        if (names[i]->d_type == DT_DIR)
            rc = remove_all(w, path.data, depth + 1, e);
        else if (!is_quiet(path.data))
            continue;
        else if (unlink(path.data) == 0)
            count_file(w);
        else if (errno != ENOENT)
            rc = err_set(e, E_AGAIN, "%.150s: %s", path.data, strerror(errno));
    }
    list_free(names, n);
    if (!rc && quiet && rmdir(dir) == 0) /* not when something is left in it */
        CRASH_POINT(retention_folder);
    return rc;
}

static rc_t is_free(struct walk *w, int64_t day_us, bool *ret, struct err *e)
{
    struct str key = {(const char *)&day_us, sizeof day_us};
    const void *known = map_get(&w->days, key);
    bool has = false;
    if (!known) {
        rc_t rc = w->has_rows(w->arg, day_us, &has, e);
        if (rc)
            return rc;
        known = has ? &kept : &free_day;
        map_put(&w->days, key, (void *)(uintptr_t)known);
    }
    *ret = known == &free_day;
    return OK;
}

static const char *const parts[] = {"year=", "month=", "day="};

/* dir: a key's folder (level 0), a year's, a month's. */
static rc_t walk_dates(struct walk *w, const char *dir, int level, const int at[3], struct err *e)
{
    struct dirent **names = NULL;
    int n = 0;
    bool quiet = is_quiet(dir);
    rc_t rc = list(dir, &names, &n, e);
    for (int i = 0; !rc && i < n; i++) {
        CLEANUP(buf_done) struct buf path = {0};
        size_t skip = strlen(parts[level]);
        if (strncmp(names[i]->d_name, parts[level], skip) != 0)
            continue;
        int next[3] = {at[0], at[1], at[2]};
        next[level] = (int)strtol(names[i]->d_name + skip, NULL, 10);
        char text[40];
        int64_t day = 0;
        bool free_of_rows = false;
        (void)snprintf(text, sizeof text, "%04d-%02d-%02dT00:00:00Z", next[0], next[1], next[2]);
        if (time_parse(str_of(text), 0, &day) != OK || (level == 2 ? day + USEC_PER_DAY : day) > w->cutoff_us)
            continue;
        buf_addf(&path, "%s/%s", dir, names[i]->d_name);
        if (level < 2)
            rc = walk_dates(w, path.data, level + 1, next, e);
        else
            rc = is_free(w, day, &free_of_rows, e);
        if (!rc && free_of_rows)
            rc = remove_all(w, path.data, 3, e);
    }
    list_free(names, n);
    if (!rc && quiet && level > 0)
        (void)rmdir(dir); /* when empty */
    return rc;
}

static void keep_name(char out[256], const char *name)
{
    (void)snprintf(out, 256, "%s", name);
}

static rc_t walk_keys(struct walk *w, struct lake_expiry *at, const char *project_dir, bool *ret_more, struct err *e)
{
    CLEANUP(buf_done) struct buf dir = {0};
    struct dirent **names = NULL;
    int n = 0;
    buf_addf(&dir, "%s/%s", project_dir, BELOW_PROJECT);
    rc_t rc = list(dir.data, &names, &n, e);
    for (int i = 0; !rc && !*ret_more && i < n; i++) {
        CLEANUP(buf_done) struct buf key = {0};
        if (strncmp(names[i]->d_name, "key=", 4) != 0 || strcmp(names[i]->d_name, at->key) <= 0)
            continue;
        buf_addf(&key, "%s/%s", dir.data, names[i]->d_name);
        rc = walk_dates(w, key.data, 0, (const int[3]){1, 1, 1}, e);
        keep_name(at->key, names[i]->d_name);
        *ret_more = clock_mono_us() >= w->deadline_us;
    }
    list_free(names, n);
    return rc;
}

rc_t lake_expire(struct lake_expiry *at, const char *root, int64_t cutoff_us, int64_t deadline_us,
                 lake_has_rows_fn *has_rows, void *arg, int64_t *ret_files, bool *ret_more, struct err *e)
{
    struct walk w = {.cutoff_us = cutoff_us, .deadline_us = deadline_us, .has_rows = has_rows, .arg = arg};
    struct dirent **names = NULL;
    int n = 0;
    bool more = false;
    rc_t rc = list(root, &names, &n, e);
    for (int i = 0; !rc && !more && i < n; i++) {
        CLEANUP(buf_done) struct buf dir = {0};
        int order = strcmp(names[i]->d_name, at->project);
        if (names[i]->d_name[0] == '.' || order < 0)
            continue;
        if (order > 0)
            *at = (struct lake_expiry){{0}, {0}};
        keep_name(at->project, names[i]->d_name);
        buf_addf(&dir, "%s/%s", root, names[i]->d_name);
        rc = walk_keys(&w, at, dir.data, &more, e);
    }
    list_free(names, n);
    map_done(&w.days);
    if (!rc && !more)
        *at = (struct lake_expiry){{0}, {0}};
    *ret_files = w.files;
    *ret_more = more;
    return rc;
}
