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

/* ---- what is written beside ---- */
#define SYSTEM_FILE "system-id"
#define PORT_FILE "port"

/* The first line; empty: nothing is written there. */
static void read_line(const char *path, const char *file, char *ret, size_t room)
{
    struct buf name = {0};
    buf_addf(&name, "%s/%s", path, file);
    FILE *f = fopen(name.data, "re");
    buf_done(&name);
    size_t n = f ? fread(ret, 1, room - 1, f) : 0;
    ret[n] = '\0';
    ret[strcspn(ret, "\n")] = '\0';
    if (f)
        (void)fclose(f); /* only read */
}

static rc_t write_line(const char *path, const char *file, const char *line, struct err *e)
{
    struct buf name = {0};
    buf_addf(&name, "%s/%s", path, file);
    FILE *f = fopen(name.data, "we");
    bool bad = !f || fprintf(f, "%s\n", line) < 0;
    bad = (f && fclose(f) != 0) || bad;
    buf_done(&name);
    return bad ? err_set(e, E_FATAL, "DATA_DIR: cannot write into %s: %s", path, strerror(errno)) : OK;
}

rc_t folder_system(const char *path, const char *system_id, struct err *e)
{
    char made[128];
    read_line(path, SYSTEM_FILE, made, sizeof made);
    if (*made == '\0')
        return write_line(path, SYSTEM_FILE, system_id, e);
    if (strcmp(made, system_id) == 0)
        return OK;
    return err_set(e, E_INVALID,
                   "SYSTEM_ID is %s, but this folder was made with SYSTEM_ID=%s, which its topics are named by: %s",
                   system_id, made, path);
}

void folder_port_write(const char *path, int port)
{
    char text[16];
    struct err ignored;                            /* it is a hint */
    (void)snprintf(text, sizeof text, "%d", port); /* fits */
    (void)write_line(path, PORT_FILE, text, &ignored);
}

bool folder_is_at(const char *path, const char *url)
{
    char port[16];
    const char *colon = strrchr(url, ':');
    read_line(path, PORT_FILE, port, sizeof port);
    size_t n = strlen(port);
    return n && colon && strncmp(colon + 1, port, n) == 0 && (colon[1 + n] == '\0' || colon[1 + n] == '/');
}
