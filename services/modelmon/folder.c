/* A lock file in the data folder, locked as long as its descriptor is open: a process that is killed leaves nothing behind. */
#include "folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

rc_t folder_make(const char *path, struct err *e)
{
    struct buf part = {0};
    int why = 0;
    for (const char *at = path; *at && why == 0;) {
        at += strspn(at, "/");
        at += strcspn(at, "/");
        buf_clear(&part);
        buf_add(&part, path, (size_t)(at - path));
        if (mkdir(part.data, 0755) != 0 && errno != EEXIST)
            why = errno;
    }
    buf_done(&part);
    return why ? err_set(e, E_FATAL, "DATA_DIR: cannot make %s: %s", path, strerror(why)) : OK;
}

/* The process that holds the lock wrote its id there. */
static rc_t taken(int fd, const char *path, struct err *e)
{
    char pid[16] = "";
    ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
    n = n > 0 ? (ssize_t)strspn(pid, "0123456789") : 0;
    return err_set(e, E_CONFLICT,
                   "%s is in use by another modelmon%s%.*s: stop that one, or choose another folder by DATA_DIR", path,
                   n ? ", process " : "", (int)n, pid);
}

static rc_t lock(int fd, const char *path, struct err *e)
{
    char pid[16];
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? taken(fd, path, e)
                                    : err_set(e, E_FATAL, "DATA_DIR: cannot lock %s: %s", path, strerror(errno));
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)n, 0) != n)
        return err_set(e, E_FATAL, "DATA_DIR: cannot write into %s: %s", path, strerror(errno));
    return OK;
}

rc_t folder_take(const char *path, int *ret_fd, struct err *e)
{
    rc_t rc = folder_make(path, e);
    if (rc)
        return rc;
    struct buf name = {0};
    buf_addf(&name, "%s/lock", path);
    int fd = open(name.data, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    int why = errno;
    buf_done(&name);
    if (fd < 0)
        return err_set(e, E_FATAL, "DATA_DIR: cannot write into %s: %s", path, strerror(why));
    rc = lock(fd, path, e);
    if (rc)
        (void)close(fd); /* nothing was written through it */
    else
        *ret_fd = fd;
    return rc;
}
