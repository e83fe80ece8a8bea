/* Its own process group, so that Ctrl-C reaches us and we end it in order; the kernel ends it should we be killed. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "files.h"
#include "json/doc.h"

#define START_US (60 * USEC_PER_SEC)
#define STOP_US (15 * USEC_PER_SEC)
#define LOG_MAX ((size_t)64 << 20)

static sigset_t ours(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};
    sigset_t set;
    (void)sigemptyset(&set); /* these cannot fail */
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        (void)sigaddset(&set, numbers[i]);
    return set;
}

static void apply(const char *const *settings)
{
    for (; *settings; settings++) {
        const char *eq = strchr(*settings, '=');
        if (eq == NULL) {
            (void)unsetenv(*settings); /* a valid name */
            continue;
        }
        char *name = strndup(*settings, (size_t)(eq - *settings));
        if (name == NULL || setenv(name, eq + 1, 1) != 0)
            _exit(127);
        free(name);
    }
}

static _Noreturn void become(const char *const *settings, int out, int log, pid_t parent)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent || dup2(out, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0)
        _exit(127);
    apply(settings);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)execl("/proc/self/exe", "modelmon", "run", (char *)NULL);
    _exit(127);
}

static rc_t launch(struct child *c, const char *const *settings, struct err *e)
{
    int pipes[2], log = open(c->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log < 0)
        return err_set(e, E_FATAL, "%s: %s", c->log, strerror(errno));
    if (pipe2(pipes, O_CLOEXEC) != 0) {
        (void)close(log); /* nothing was written */
        return err_set(e, E_FATAL, "pipe: %s", strerror(errno));
    }
    sigset_t set = ours();
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    pid_t self = getpid();
    c->pid = fork();
    if (c->pid == 0)
        become(settings, pipes[1], log, self);
    (void)close(pipes[1]);
    (void)close(log);
    c->out = pipes[0];
    return c->pid > 0 ? OK : err_set(e, E_FATAL, "fork: %s", strerror(errno));
}

void child_words(const struct child *c, struct err *e)
{
    CLEANUP(buf_done) struct buf text = {0};
    struct err ignored = {{0}};
    (void)err_set(e, E_INVALID, "`modelmon run` ended");
    if (files_read(c->log, LOG_MAX, &text, &ignored) != OK || text.len == 0)
        return;
    for (size_t at = 0, n; at < text.len; at += n + 1) {
        CLEANUP(json_freep) struct json *j = NULL;
        struct str ev = {0}, words = {0};
        const char *line = text.data + at;
        n = strcspn(line, "\n");
        if (json_parse(&j, line, n, NULL, &ignored) != OK)
            (void)err_set(e, E_INVALID, "`modelmon run`: %.*s", (int)n, line); /* wrong configuration, in plain words */
        else if (json_opt_str(j, "ev", &ev, &ignored) == OK && str_eqz(ev, "fatal") &&
                 json_opt_str(j, json_get(j, "error") ? "error" : "words", &words, &ignored) == OK)
            (void)err_set(e, E_INVALID, "`modelmon run` ended: %.*s", STR_FMT(words));
    }
}

/* "modelmon runs at URL (…": its first line. */
static rc_t read_url(struct child *c, struct arena *a, struct err *e)
{
    char line[512];
    size_t n = 0;
    int64_t until = clock_mono_us() + START_US;
    while (n < sizeof line - 1 && !memchr(line, '\n', n)) {
        struct pollfd p = {.fd = c->out, .events = POLLIN};
        if (clock_mono_us() > until)
            return err_set(e, E_AGAIN, "`modelmon run` did not start within a minute; its log is %s", c->log);
        if (poll(&p, 1, 50) <= 0) {
            if (!child_rest(c, 0) && c->interrupted)
                return err_set(e, E_AGAIN, "interrupted");
            continue;
        }
        ssize_t got = read(c->out, line + n, sizeof line - 1 - n);
        if (got <= 0) {
            child_words(c, e);
            return E_INVALID;
        }
        n += (size_t)got;
    }
    line[n] = '\0';
    const char *url = strstr(line, "http://");
    if (url == NULL)
        return err_set(e, E_FATAL, "`modelmon run` said: %s", line);
    c->url = arena_dup(a, url, strcspn(url, " \n"));
    return OK;
}

rc_t child_start(struct child *c, const char *folder, const char *const *settings, struct arena *a, struct err *e)
{
    c->log = arena_printf(a, "%s/run.ndjson", folder);
    rc_t rc = launch(c, settings, e);
    return rc ? rc : read_url(c, a, e);
}

static bool has_ended(struct child *c)
{
    if (c->pid > 0 && waitpid(c->pid, NULL, WNOHANG) == c->pid)
        c->pid = 0;
    return c->pid <= 0;
}

bool child_rest(struct child *c, int64_t us)
{
    sigset_t set = ours();
    int64_t until = clock_mono_us() + us;
    do {
        int64_t left = until - clock_mono_us();
        struct timespec ts = {.tv_sec = left > 0 ? left / USEC_PER_SEC : 0,
                              .tv_nsec = left > 0 ? left % USEC_PER_SEC * 1000 : 0};
        int number = sigtimedwait(&set, NULL, &ts);
        if (number > 0 && number != SIGCHLD)
            c->interrupted = true;
        if (c->interrupted || has_ended(c))
            return false;
    } while (clock_mono_us() < until);
    return true;
}

void child_stop(struct child *c)
{
    int64_t until = clock_mono_us() + STOP_US;
    if (c->pid > 0)
        (void)kill(c->pid, SIGTERM); /* it is ours and not waited for yet */
    while (!has_ended(c)) {
        const struct timespec ts = {.tv_nsec = 10 * 1000000};
        (void)nanosleep(&ts, NULL); /* woken early: it looks again */
        if (clock_mono_us() > until)
            (void)kill(c->pid, SIGKILL);
    }
    if (c->out > 0)
        (void)close(c->out); /* only read */
    c->out = 0;
}
