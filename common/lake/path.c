/* Folders and names of the lake, and the folders for what is not finished.
 *
 * Unfinished files are not beside the finished ones but in {root}/.tmp/<unique>/, on the same file system, so that a
 * rename puts them in place and a sweep has one short list to look at instead of the whole lake. A writer holds a lock on
 * its folder: another's sweep leaves it alone. */
#include "lake/lake_path.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/time.h"
#include "event/names.h"

#define LOCK "lock"

#define AT(field) offsetof(struct lake_config, field)
const struct config_key lake_keys[] = {
    {.env = "LAKE_DIR",
     .def = "/var/lib/modelmon/lake",
     .type = CONFIG_STR,
     .flags = CONFIG_REQUIRED,
     .offset = AT(root),
     .help = "Folder of the Parquet lake."},
    {.env = "LAKE_MEMORY",
     .def = "256MiB",
     .type = CONFIG_BYTES,
     .offset = AT(memory_bytes),
     .min = 1 << 20,
     .max = INT64_C(1) << 40,
     .help = "Rows held in memory before they are written; beyond it everything is."},
};
const size_t lake_keys_n = sizeof lake_keys / sizeof *lake_keys;

static bool topic_is_plain(const char *topic)
{
    size_t n = strlen(topic);
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    return n > 0 && n <= NAME_TOPIC_MAX && topic[0] != '.' && strspn(topic, allowed) == n;
}

rc_t lake_check_names(struct str project, struct str uid, const char *topic, struct err *e)
{
    if (!name_is_project(project))
        return err_set(e, E_INVALID, "not a project's name: %.*s", (int)(project.n < 80 ? project.n : 80), project.p);
    if (!name_is_uid(uid))
        return err_set(e, E_INVALID, "not an endpoint's uid: %.*s", (int)(uid.n < 80 ? uid.n : 80), uid.p);
    if (!topic_is_plain(topic))
        return err_set(e, E_INVALID, "not a topic's name: %.80s", topic);
    return OK;
}

bool lake_is_below_root(struct str path)
{
    for (size_t at = 0, end; at <= path.n; at = end + 1) {
        for (end = at; end < path.n && path.p[end] != '/'; end++)
            ;
        if (end == at || (path.p[at] == '.' && (end - at == 1 || (end - at == 2 && path.p[at + 1] == '.'))))
            return false;
    }
    return true;
}

void lake_folder(struct buf *ret, const struct lake_file *f)
{
    struct civil c = time_civil(f->hour_us);
    buf_addf(ret, "%s/model-endpoints/parquet/key=%s/year=%04d/month=%02d/day=%02d/hour=%02d", f->project, f->uid,
             c.year, c.month, c.day, c.hour);
}

void lake_file_name(struct buf *ret, const struct lake_range *range, const struct lake_file *f, bool with_schema)
{
    buf_addf(ret, "%s-%d", range->part.topic, range->part.partition);
    if (range->part.generation)
        buf_addf(ret, "-g%d", range->part.generation);
    buf_addf(ret, "-%020lld-%020lld", (long long)range->start_offset, (long long)range->end_offset);
    if (with_schema)
        buf_addf(ret, "-s%d", f->schema.version);
    buf_addz(ret, ".parquet");
}

rc_t lake_errno_rc(int err)
{
    switch (err) {
    case ENOSPC:
    case EDQUOT:
    case EROFS:
    case EACCES:
    case EPERM:
    case ENOENT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EINTR:
        return E_AGAIN;
    default:
        return E_FATAL;
    }
}

static rc_t mkdir_failed(const char *folder, struct err *e)
{
    int err = errno;
    return err_set(e, lake_errno_rc(err), "making %.150s: %s", folder, strerror(err));
}

rc_t lake_mkdirs(int root_fd, const char *folder, struct err *e)
{
    if (mkdirat(root_fd, folder, 0755) == 0 || errno == EEXIST)
        return OK;
    if (errno != ENOENT)
        return mkdir_failed(folder, e);
    CLEANUP(mem_freep) char *path = mem_dupz(folder);
    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdirat(root_fd, path, 0755) != 0 && errno != EEXIST)
            return mkdir_failed(path, e);
        *slash = '/';
    }
    return mkdirat(root_fd, path, 0755) == 0 || errno == EEXIST ? OK : mkdir_failed(path, e);
}

/* Removes what is in the folder, but its lock. */
static void clear(int root_fd, const char *folder)
{
    int fd = openat(root_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (struct dirent *d; (d = readdir(dir));)
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0 && strcmp(d->d_name, LOCK) != 0)
            (void)unlinkat(fd, d->d_name, 0);
    closedir(dir);
}

static int lock_folder(int root_fd, const char *folder)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/" LOCK, folder);
    int fd = openat(root_fd, path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void remove_folder(int root_fd, const char *folder)
{
    char path[300];
    clear(root_fd, folder);
    (void)snprintf(path, sizeof path, "%s/" LOCK, folder);
    (void)unlinkat(root_fd, path, 0);
    (void)unlinkat(root_fd, folder, AT_REMOVEDIR);
}

static rc_t make_root(const char *root, int *ret, struct err *e)
{
    CLEANUP(mem_freep) char *path = mem_dupz(root);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0755);
        *slash = '/';
    }
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return mkdir_failed(path, e);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return mkdir_failed(path, e);
    *ret = fd;
    return OK;
}

rc_t lake_tmp_open(struct lake_tmp *ret, const char *root, struct err *e)
{
    char folder[64];
    struct lake_tmp t = {.lock_fd = -1};
    rc_t rc = make_root(root, &t.root_fd, e);
    if (rc)
        return rc;
    for (unsigned k = 0; !rc && t.lock_fd < 0 && k < 10000; k++) { /* hosts may share pids, so a name may be another's */
        (void)snprintf(folder, sizeof folder, LAKE_TMP "/%d-%u", (int)getpid(), k);
        if (mkdirat(t.root_fd, LAKE_TMP, 0755) != 0 && errno != EEXIST)
            rc = mkdir_failed(LAKE_TMP, e);
        else if (mkdirat(t.root_fd, folder, 0755) == 0)
            t.lock_fd = lock_folder(t.root_fd, folder);
        else if (errno != EEXIST)
            rc = mkdir_failed(folder, e);
    }
    if (!rc && t.lock_fd < 0)
        rc = err_set(e, E_AGAIN, "no folder for temporary files in %.150s", root);
    if (rc) {
        close(t.root_fd);
        return rc;
    }
    CLEANUP(buf_done) struct buf path = {0};
    buf_addf(&path, "%s/%s", root, folder);
    t.path = buf_take(&path);
    *ret = t;
    return OK;
}

static const char *tmp_folder(const struct lake_tmp *t)
{
    const char *name = strrchr(t->path, '/');
    return name - strlen(LAKE_TMP);
}

void lake_tmp_clear(const struct lake_tmp *t)
{
    clear(t->root_fd, tmp_folder(t));
}

bool lake_tmp_there(const struct lake_tmp *t)
{
    CLEANUP(buf_done) struct buf path = {0};
    struct stat held, found;
    buf_addf(&path, "%s/" LOCK, t->path);
    if (fstat(t->lock_fd, &held) != 0)
        return true;
    if (stat(path.data, &found) != 0)
        return errno != ENOENT && errno != ENOTDIR; /* anything else says nothing about it */
    return held.st_ino == found.st_ino && held.st_dev == found.st_dev;
}

void lake_tmp_close(struct lake_tmp *t)
{
    if (!t->path)
        return;
    if (lake_tmp_there(t)) /* else one of that name may be another's */
        remove_folder(t->root_fd, tmp_folder(t));
    close(t->lock_fd);
    close(t->root_fd);
    mem_free(t->path);
    *t = (struct lake_tmp){0};
}

void lake_sweep(const struct lake_config *cfg)
{
    int root = -1;
    struct err ignored; /* the first flush says it again */
    if (make_root(cfg->root, &root, &ignored) == OK)
        (void)mkdirat(root, LAKE_TMP, 0755);
    int fd = root < 0 ? -1 : openat(root, LAKE_TMP, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *d; dir && (d = readdir(dir));) {
        if (d->d_name[0] == '.')
            continue;
        int lock = lock_folder(fd, d->d_name);
        if (lock < 0)
            continue;
        remove_folder(fd, d->d_name);
        close(lock);
    }
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    if (root >= 0)
        close(root);
}
