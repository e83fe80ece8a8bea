/* The walk of one key's folder: year, month, day, hour, files, in the order of time. */
#include "lake/clear.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "base/time.h"
#include "db/ledger.h"
#include "lake/lake_path.h"

#define DIGITS 20 /* of an offset */
static const char *const levels[] = {"year=", "month=", "day=", "hour="};
enum { HOUR = sizeof levels / sizeof *levels };

struct walk {
    struct lake_clearing *at;
    const char *root;
    size_t below; /* where, in a folder's path, the part below the key's begins */
    int64_t deadline_us;
    lake_fate_fn *fate;
    void *arg;
    bool more;
};

rc_t lake_root_check(const char *root, const char *project, struct err *e)
{
    const char *const proofs[] = {LAKE_TMP, project};
    static const char advice[] = "mount the lake, or set LAKE_DIR to the folder that stream writes to";
    if (access(root, X_OK) != 0)
        return err_set(e, E_AGAIN, "LAKE_DIR %.100s: %s: %s", root, strerror(errno), advice);
    for (size_t i = 0; i < (project ? 2 : 1); i++) {
        CLEANUP(buf_done) struct buf path = {0};
        buf_addf(&path, "%s/%s", root, proofs[i]);
        if (access(path.data, F_OK) == 0)
            return OK;
        if (errno != ENOENT)
            return err_set(e, E_AGAIN, "%.150s: %s", path.data, strerror(errno));
    }
    return err_set(e, E_AGAIN, "LAKE_DIR %.100s: no lake is there: %s", root, advice);
}

/* ---- names ---- */
/* Cuts "-<digits>" off the end of *s. */
static bool cut_number(struct str *s, size_t digits, int64_t *ret)
{
    size_t n = 0;
    while (n < s->n && s->p[s->n - 1 - n] >= '0' && s->p[s->n - 1 - n] <= '9')
        n++;
    if (n == 0 || n == s->n || (digits && n != digits) || s->p[s->n - n - 1] != '-')
        return false;
    if (num_i64((struct str){s->p + s->n - n, n}, ret) != OK)
        return false;
    s->n -= n + 1;
    return true;
}

/* Cuts "-<mark><digits>" off the end of *s when it is there. */
static int64_t cut_marked(struct str *s, char mark)
{
    int64_t got = 0;
    size_t at = s->n;
    while (at > 0 && s->p[at - 1] >= '0' && s->p[at - 1] <= '9')
        at--;
    if (at < 3 || at == s->n || s->p[at - 1] != mark || s->p[at - 2] != '-' ||
        num_i64((struct str){s->p + at, s->n - at}, &got) != OK)
        return 0;
    s->n = at - 2;
    return got;
}

/* <topic>-<partition>[-gN]-<start>-<end>[-sN].parquet */
static bool read_name(const char *name, struct lake_found *f)
{
    static const char suffix[] = ".parquet";
    struct str s = str_of(name);
    int64_t partition = 0;
    if (s.n <= sizeof suffix - 1 || strcmp(s.p + s.n - (sizeof suffix - 1), suffix) != 0)
        return false;
    s.n -= sizeof suffix - 1;
    (void)cut_marked(&s, 's');
    if (!cut_number(&s, DIGITS, &f->end_offset) || !cut_number(&s, DIGITS, &f->start_offset))
        return false;
    int64_t generation = cut_marked(&s, 'g');
    if (!cut_number(&s, 0, &partition) || s.n == 0 || partition > INT32_MAX || generation > INT32_MAX)
        return false;
    f->start_offset = ledger_key((int32_t)generation, f->start_offset);
    f->end_offset = ledger_key((int32_t)generation, f->end_offset);
    f->topic = s;
    f->partition = (int32_t)partition;
    return true;
}

/* year=YYYY/month=MM/day=DD/hour=HH */
static bool read_hour(const char *folder, int64_t *ret)
{
    int at[HOUR];
    char text[64];
    if (sscanf(folder, "year=%4d/month=%2d/day=%2d/hour=%2d", &at[0], &at[1], &at[2], &at[3]) != HOUR)
        return false;
    (void)snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:00:00Z", at[0], at[1], at[2], at[3]);
    return time_parse(str_of(text), 0, ret) == OK;
}

/* ---- the walk ---- */
static rc_t failed(const char *path, struct err *e)
{
    return err_set(e, E_AGAIN, "%.150s: %s", path, strerror(errno));
}

static rc_t list(const char *dir, struct dirent ***ret, int *n, struct err *e)
{
    *ret = NULL;
    *n = scandir(dir, ret, NULL, alphasort);
    if (*n >= 0)
        return OK;
    *n = 0;
    return errno == ENOENT || errno == ENOTDIR ? OK : failed(dir, e);
}

static rc_t judge(struct walk *w, const char *path, const char *name, int64_t hour_us, struct err *e)
{
    struct lake_found f = {.path = path + strlen(w->root) + 1, .hour_us = hour_us};
    enum lake_fate fate = LAKE_KEPT;
    f.named = read_name(name, &f);
    rc_t rc = w->fate(w->arg, &f, &fate, e);
    if (rc)
        return rc;
    w->at->open += fate == LAKE_OPEN;
    if (fate != LAKE_ORPHAN)
        return OK;
    if (unlink(path) != 0 && errno != ENOENT)
        return failed(path, e);
    w->at->files++;
    return OK;
}

/* folder: below the key's. */
static rc_t clear_hour(struct walk *w, const char *dir, const char *folder, struct err *e)
{
    struct dirent **names = NULL;
    int n = 0;
    int64_t hour = 0;
    if (strcmp(folder, w->at->behind) <= 0 || !read_hour(folder, &hour))
        return OK;
    rc_t rc = list(dir, &names, &n, e);
    for (int i = 0; i < n; i++) {
        CLEANUP(buf_done) struct buf path = {0};
        buf_addf(&path, "%s/%s", dir, names[i]->d_name);
        if (!rc && names[i]->d_type != DT_DIR)
            rc = judge(w, path.data, names[i]->d_name, hour, e);
        free(names[i]);
    }
    free(names);
    if (rc)
        return rc;
    (void)snprintf(w->at->behind, sizeof w->at->behind, "%s", folder);
    w->more = clock_mono_us() >= w->deadline_us;
    return OK;
}

static rc_t walk_level(struct walk *w, const char *dir, int level, struct err *e)
{
    struct dirent **names = NULL;
    int n = 0;
    if (level == HOUR)
        return clear_hour(w, dir, dir + w->below, e);
    rc_t rc = list(dir, &names, &n, e);
    for (int i = 0; i < n; i++) {
        CLEANUP(buf_done) struct buf path = {0};
        buf_addf(&path, "%s/%s", dir, names[i]->d_name);
        if (!rc && !w->more && strncmp(names[i]->d_name, levels[level], strlen(levels[level])) == 0) {
            rc = walk_level(w, path.data, level + 1, e);
            (void)rmdir(path.data); /* when empty; a writer makes what it needs anew */
        }
        free(names[i]);
    }
    free(names);
    return rc;
}

rc_t lake_clear(struct lake_clearing *at, const char *root, const char *project, const char *uid, int64_t deadline_us,
                lake_fate_fn *fate, void *arg, bool *ret_more, struct err *e)
{
    CLEANUP(buf_done) struct buf dir = {0};
    rc_t rc = lake_check_names(str_of(project), str_of(uid), "t", e);
    if (!rc)
        rc = lake_root_check(root, project, e);
    if (rc)
        return rc;
    buf_addf(&dir, "%s/%s/model-endpoints/parquet/key=%s", root, project, uid);
    struct walk w = {.at = at, .root = root, .below = dir.len + 1, .deadline_us = deadline_us, .fate = fate, .arg = arg};
    rc = walk_level(&w, dir.data, 0, e);
    if (rc)
        return rc;
    if (!w.more)
        (void)rmdir(dir.data);
    *ret_more = w.more;
    return OK;
}
