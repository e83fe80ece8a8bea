/* One writer a database file: SQLite would answer "busy" to the second one of this process, here it waits its turn. */
#include <pthread.h>

#include "base/mem.h"
#include "db/sqlite.h"

struct waiter {
    struct waiter *behind;
    bool granted;
};

struct sqlite_file {
    char *path;
    size_t users;
    bool writing;
    struct waiter *first, **end; /* turns are taken in order: who comes again at once waits behind the others */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct sqlite_file *after;
};

/* The files open in this process: what they share cannot hang on any one connection. */
static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sqlite_file *files;

static struct sqlite_file *file_new(const char *path)
{
    struct sqlite_file *f = mem_alloc(sizeof *f);
    f->path = mem_dupz(path);
    f->end = &f->first;
    pthread_mutex_init(&f->lock, NULL);
    clock_cond_init(&f->changed);
    return f;
}

struct sqlite_file *sqlite_file_get(const char *path)
{
    pthread_mutex_lock(&files_lock);
    struct sqlite_file *f = files;
    while (f && strcmp(f->path, path) != 0)
        f = f->after;
    if (!f) {
        f = file_new(path);
        f->after = files;
        files = f;
    }
    f->users++;
    pthread_mutex_unlock(&files_lock);
    return f;
}

void sqlite_file_put(struct sqlite_file *f)
{
    pthread_mutex_lock(&files_lock);
    bool last = --f->users == 0;
    struct sqlite_file **at = &files;
    while (last && *at != f)
        at = &(*at)->after;
    if (last)
        *at = f->after;
    pthread_mutex_unlock(&files_lock);
    if (!last)
        return;
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
    mem_free(f->path);
    mem_free(f);
}

/* Lock held. */
static void leave(struct sqlite_file *f, struct waiter *w)
{
    struct waiter **at = &f->first;
    while (*at != w)
        at = &(*at)->behind;
    *at = w->behind;
    if (!*at)
        f->end = at;
}

/* Lock held. */
static bool wait_turn(struct sqlite_file *f, int64_t timeout_us)
{
    int64_t end = clock_mono_us() + timeout_us;
    struct waiter *w = mem_alloc(sizeof *w); /* not on the stack: gcc 14 cannot see that it leaves the list before the end */
    bool in_time = true;
    *f->end = w;
    f->end = &w->behind;
    while (!w->granted && in_time)
        in_time = clock_cond_wait(&f->changed, &f->lock, end);
    bool granted = w->granted;
    if (!granted)
        leave(f, w);
    mem_free(w);
    return granted;
}

bool sqlite_file_lock(struct sqlite_file *f, int64_t timeout_us)
{
    bool ours = true;
    pthread_mutex_lock(&f->lock);
    if (f->writing)
        ours = wait_turn(f, timeout_us);
    else
        f->writing = true;
    pthread_mutex_unlock(&f->lock);
    return ours;
}

void sqlite_file_unlock(struct sqlite_file *f)
{
    pthread_mutex_lock(&f->lock);
    struct waiter *next = f->first;
    f->writing = next != NULL;
    if (next) {
        leave(f, next);
        next->granted = true;
        pthread_cond_broadcast(&f->changed);
    }
    pthread_mutex_unlock(&f->lock);
}
