/* LD_PRELOAD: system calls that fail as a bad or full disk makes them fail. FAULT_IO=CALL:N:HOW[:COUNT], FAULT_PATH=PREFIX.
 *
 *   CALL  write (pwrite, writev, … too) fsync (fdatasync, syncfs) rename open (with O_CREAT) truncate close
 *   N     the Nth such call on a file below PREFIX is the first to fail; COUNT calls fail (1; 0: all from there on)
 *         0 with FAULT_SITES=FILE: the first such call from a place in the code that FILE does not name, which is named there then
 *   HOW   EIO ENOSPC EROFS EDQUOT, or short: half is written and told, then ENOSPC; torn: half is written, then the process ends;
 *         power: the process ends, and what was appended to files and not synced is gone
 *
 * Sockets, pipes and other folders are left alone. What was done is written to FAULT_LOG, a byte a fault. */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum call { WRITE, FSYNC, RENAME, OPEN, TRUNCATE, CLOSE, CALLS };
enum how { ERROR, SHORT, TORN, POWER };

static struct {
    enum call call;
    long n, count;
    enum how how;
    int error;
    char prefix[512], log[512];
} plan;
static atomic_long seen;
static struct {
    uint64_t known[1 << 14];
    size_t n;
    int fd, struck;
    pthread_mutex_t lock;
} sites = {.fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER};
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int index_of(const char *const *names, size_t n, const char *word)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], word) == 0)
            return (int)i;
    abort(); /* a fault that is none would pass for nothing */
}

static void read_sites(const char *path)
{
    void *warm[2];
    (void)backtrace(warm, 2); /* loads its library now, not in the middle of a call */
    sites.fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (sites.fd < 0)
        abort();
    while (sites.n < sizeof sites.known / sizeof *sites.known &&
           read(sites.fd, &sites.known[sites.n], sizeof *sites.known) == sizeof *sites.known)
        sites.n++;
}

/* The nearest callers, by file and place in it: addresses are others in each process. */
static uint64_t site_of(enum call call)
{
    enum { OURS = 5, DEPTH = 5 }; /* frames of this file, callers that count */
    void *back[OURS + DEPTH];
    int n = backtrace(back, OURS + DEPTH);
    uint64_t site = UINT64_C(14695981039346656037) ^ (uint64_t)call;
    for (int i = 0; i < n; i++) {
        Dl_info at = {0};
        if (!dladdr(back[i], &at) || strstr(at.dli_fname, "faultio"))
            continue;
        site = (site ^ ((uintptr_t)back[i] - (uintptr_t)at.dli_fbase)) * UINT64_C(1099511628211);
    }
    return site;
}

/* One a process: each call is to fail alone. */
static int is_new_site(enum call call)
{
    uint64_t site = site_of(call);
    int found = 0;
    pthread_mutex_lock(&sites.lock);
    for (size_t i = 0; i < sites.n && !found; i++)
        found = sites.known[i] == site;
    found = found || sites.struck;
    if (!found)
        sites.struck = syscall(SYS_write, sites.fd, &site, sizeof site) == sizeof site;
    pthread_mutex_unlock(&sites.lock);
    return !found;
}

static void read_plan(void)
{
    static const char *const calls[CALLS] = {"write", "fsync", "rename", "open", "truncate", "close"};
    static const char *const hows[] = {"EIO", "ENOSPC", "EROFS", "EDQUOT", "short", "torn", "power"};
    static const int errors[] = {EIO, ENOSPC, EROFS, EDQUOT, ENOSPC, 0, 0};
    const char *text = getenv("FAULT_IO"), *prefix = getenv("FAULT_PATH"), *log = getenv("FAULT_LOG");
    char call[16], how[16];
    long n = 0, count = 1;
    plan.call = CALLS;
    if (!text || !prefix)
        return;
    if (sscanf(text, "%15[a-z]:%ld:%15[a-zA-Z]:%ld", call, &n, how, &count) < 3)
        abort();
    int h = index_of(hows, sizeof hows / sizeof *hows, how);
    plan.n = n;
    plan.count = count;
    plan.how = h == 4 ? SHORT : h == 5 ? TORN : h == 6 ? POWER : ERROR;
    plan.error = errors[h];
    (void)snprintf(plan.prefix, sizeof plan.prefix, "%s", prefix);
    (void)snprintf(plan.log, sizeof plan.log, "%s", log ? log : "");
    if (getenv("FAULT_SITES"))
        read_sites(getenv("FAULT_SITES"));
    plan.call = (enum call)index_of(calls, CALLS, call);
}

static void tell(void)
{
    int fd = plan.log[0] ? (int)syscall(SYS_openat, AT_FDCWD, plan.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)
                         : -1;
    if (fd >= 0) {
        (void)syscall(SYS_write, fd, "x", 1);
        (void)syscall(SYS_close, fd);
    }
}

static int below(const char *path)
{
    return strncmp(path, plan.prefix, strlen(plan.prefix)) == 0;
}

static int fd_below(int fd)
{
    char link[64], path[1024];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    return n > 0 && below(path);
}

static int path_below(int dir, const char *path)
{
    return *path == '/' ? below(path) : dir == AT_FDCWD ? 0 : fd_below(dir);
}

/* ---- what is on disk for sure, when the power is to go ---- */
enum { FILES_MAX = 65536 };
static struct file {
    dev_t dev;
    ino_t ino;
    off_t synced;
    char path[400];
} files[FILES_MAX];
static size_t n_files;
static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER;

/* Lock held. A file that is first seen: all it holds now is there. */
static struct file *file_of(int fd, const struct stat *st)
{
    char link[64];
    for (size_t i = 0; i < n_files; i++)
        if (files[i].ino == st->st_ino && files[i].dev == st->st_dev)
            return &files[i];
    if (n_files == FILES_MAX)
        abort();
    struct file *f = &files[n_files++];
    *f = (struct file){.dev = st->st_dev, .ino = st->st_ino, .synced = st->st_size};
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, f->path, sizeof f->path - 1);
    f->path[n > 0 ? n : 0] = '\0';
    return f;
}

static void note_file(int fd, int synced)
{
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        return;
    pthread_mutex_lock(&files_lock);
    struct file *f = file_of(fd, &st);
    if (synced)
        f->synced = st.st_size;
    pthread_mutex_unlock(&files_lock);
}

static void note_all(void)
{
    struct stat st;
    pthread_mutex_lock(&files_lock);
    for (size_t i = 0; i < n_files; i++)
        if (stat(files[i].path, &st) == 0 && st.st_ino == files[i].ino)
            files[i].synced = st.st_size;
    pthread_mutex_unlock(&files_lock);
}

static void note_rename(const char *to)
{
    struct stat st;
    pthread_mutex_lock(&files_lock);
    for (size_t i = 0; stat(to, &st) == 0 && i < n_files; i++)
        if (st.st_ino == files[i].ino && st.st_dev == files[i].dev)
            (void)snprintf(files[i].path, sizeof files[i].path, "%s", to);
    pthread_mutex_unlock(&files_lock);
}

__attribute__((noreturn)) static void power_off(void)
{
    struct stat st;
    pthread_mutex_lock(&files_lock); /* for good: nobody writes any more */
    for (size_t i = 0; i < n_files; i++)
        if (stat(files[i].path, &st) == 0 && st.st_ino == files[i].ino && st.st_size > files[i].synced)
            (void)syscall(SYS_truncate, files[i].path, files[i].synced);
    _exit(137);
}

static int watched(int fd)
{
    return plan.how == POWER && plan.call != CALLS && fd_below(fd);
}

/* 1: this call is to fail. Only after `where` said that it is one of ours. */
static int strikes(enum call call)
{
    long at = atomic_fetch_add(&seen, 1) + 1;
    if (sites.fd >= 0 ? !is_new_site(call) : at < plan.n || (plan.count && at >= plan.n + plan.count))
        return 0;
    tell();
    if (plan.how == POWER)
        power_off();
    return 1;
}

static int chosen(enum call call)
{
    (void)pthread_once(&once, read_plan);
    return plan.call == call;
}

static void before_write(int fd)
{
    (void)pthread_once(&once, read_plan);
    int saved = errno;
    if (watched(fd))
        note_file(fd, 0);
    errno = saved;
}

static int after_sync(int fd, int rc)
{
    (void)pthread_once(&once, read_plan);
    int saved = errno;
    if (rc == 0 && watched(fd))
        note_file(fd, 1);
    errno = saved;
    return rc;
}

static int fails_fd(enum call call, int fd)
{
    int saved = errno, yes = chosen(call) && fd_below(fd) && strikes(call);
    errno = yes ? plan.error : saved;
    return yes;
}

#define REAL(type, name, ...)                                                                                          \
    static type (*real)(__VA_ARGS__);                                                                                  \
    if (!real)                                                                                                         \
    *(void **)&real = dlsym(RTLD_NEXT, #name)

/* Half of it, for what is short or torn. Returns what the call is to return. */
static ssize_t half(int fd, const void *data, size_t n, off_t at, int has_at)
{
    if (plan.how == ERROR)
        return -1;
    size_t part = n / 2;
    ssize_t put = has_at ? (ssize_t)syscall(SYS_pwrite64, fd, data, part, at) : (ssize_t)syscall(SYS_write, fd, data, part);
    if (plan.how == TORN)
        _exit(137);
    return put > 0 ? put : -1;
}

ssize_t write(int fd, const void *data, size_t n)
{
    REAL(ssize_t, write, int, const void *, size_t);
    before_write(fd);
    return fails_fd(WRITE, fd) ? half(fd, data, n, 0, 0) : real(fd, data, n);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    before_write(fd);
    return fails_fd(WRITE, fd) ? half(fd, data, n, at, 1) : real(fd, data, n, at);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at)
{
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    before_write(fd);
    return fails_fd(WRITE, fd) ? half(fd, data, n, at, 1) : real(fd, data, n, at);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    REAL(ssize_t, writev, int, const struct iovec *, int);
    before_write(fd);
    return fails_fd(WRITE, fd) ? half(fd, v[0].iov_base, v[0].iov_len, 0, 0) : real(fd, v, n);
}

int fsync(int fd)
{
    REAL(int, fsync, int);
    return fails_fd(FSYNC, fd) ? -1 : after_sync(fd, real(fd));
}

int fdatasync(int fd)
{
    REAL(int, fdatasync, int);
    return fails_fd(FSYNC, fd) ? -1 : after_sync(fd, real(fd));
}

int syncfs(int fd)
{
    REAL(int, syncfs, int);
    if (fails_fd(FSYNC, fd))
        return -1;
    int rc = real(fd);
    if (rc == 0)
        note_all();
    return rc;
}

int ftruncate(int fd, off_t n)
{
    REAL(int, ftruncate, int, off_t);
    return fails_fd(TRUNCATE, fd) ? -1 : real(fd, n);
}

int ftruncate64(int fd, off64_t n)
{
    REAL(int, ftruncate64, int, off64_t);
    return fails_fd(TRUNCATE, fd) ? -1 : real(fd, n);
}

int close(int fd)
{
    REAL(int, close, int);
    int bad = fails_fd(CLOSE, fd), rc = real(fd);
    if (bad)
        errno = plan.error;
    return bad ? -1 : rc;
}

static int fails_path(enum call call, int dir, const char *path)
{
    int saved = errno, yes = chosen(call) && path_below(dir, path) && strikes(call);
    errno = yes ? plan.error : saved;
    return yes;
}

int rename(const char *from, const char *to)
{
    REAL(int, rename, const char *, const char *);
    int rc = fails_path(RENAME, AT_FDCWD, to) ? -1 : real(from, to);
    if (rc == 0)
        note_rename(to);
    return rc;
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    REAL(int, renameat, int, const char *, int, const char *);
    char path[1600] = "", link[64];
    int rc = fails_path(RENAME, to_dir, to) ? -1 : real(from_dir, from, to_dir, to), saved = errno;
    if (rc == 0 && *to != '/' && to_dir != AT_FDCWD) {
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", to_dir);
        ssize_t n = readlink(link, path, 1000);
        (void)snprintf(path + (n > 0 ? n : 0), sizeof path - 1000, "/%.500s", to);
    }
    if (rc == 0)
        note_rename(*path ? path : to);
    errno = saved;
    return rc;
}

static mode_t mode_of(int flags, va_list args)
{
    return flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(args, int) : 0;
}

#define OPEN_CALL(name)                                                                                                \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        REAL(int, name, const char *, int, ...);                                                                       \
        va_list args;                                                                                                  \
        va_start(args, flags);                                                                                         \
        mode_t mode = mode_of(flags, args);                                                                            \
        va_end(args);                                                                                                  \
        return (flags & O_CREAT) && fails_path(OPEN, AT_FDCWD, path) ? -1 : real(path, flags, mode);                   \
    }
#define OPENAT_CALL(name)                                                                                              \
    int name(int dir, const char *path, int flags, ...)                                                                \
    {                                                                                                                  \
        REAL(int, name, int, const char *, int, ...);                                                                  \
        va_list args;                                                                                                  \
        va_start(args, flags);                                                                                         \
        mode_t mode = mode_of(flags, args);                                                                            \
        va_end(args);                                                                                                  \
        return (flags & O_CREAT) && fails_path(OPEN, dir, path) ? -1 : real(dir, path, flags, mode);                   \
    }

OPEN_CALL(open)
OPEN_CALL(open64)
OPENAT_CALL(openat)
OPENAT_CALL(openat64)
