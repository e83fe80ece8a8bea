/* The process_* metrics of Prometheus' client libraries. */
#include "metrics/process.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "metrics/metrics.h"

enum { P_CPU, P_RESIDENT, P_FDS, P_MAX_FDS, P_THREADS, P_START };

static const struct metric_row rows[] = {
    [P_CPU] = {.name = "process_cpu_seconds_total", .kind = METRIC_COUNTER, .scale = 1e-6, .help = "User and system CPU time."},
    [P_RESIDENT] = {.name = "process_resident_memory_bytes", .kind = METRIC_GAUGE, .help = "Resident memory."},
    [P_FDS] = {.name = "process_open_fds", .kind = METRIC_GAUGE, .help = "Open file descriptors."},
    [P_MAX_FDS] = {.name = "process_max_fds", .kind = METRIC_GAUGE, .help = "How many it may open."},
    [P_THREADS] = {.name = "process_threads", .kind = METRIC_GAUGE, .help = "Threads."},
    [P_START] = {.name = "process_start_time_seconds", .kind = METRIC_GAUGE, .help = "Start, in seconds since 1970."},
};
static struct metric_set set = METRIC_SET(rows);

static void count_entries(const char *folder, size_t row, double minus)
{
    DIR *d = opendir(folder);
    if (d == NULL)
        return; /* not dumpable and not root: the kernel says no */
    double n = -minus;
    for (const struct dirent *at; (at = readdir(d)) != NULL;)
        n += at->d_name[0] != '.';
    (void)closedir(d); /* only read */
    metric_set(metrics_at(&set, row, 0, 0), n);
}

static void read_resident(void)
{
    long long size, resident;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL)
        return;
    if (fscanf(f, "%lld %lld", &size, &resident) == 2)
        metric_set(metrics_at(&set, P_RESIDENT, 0, 0), (double)resident * (double)sysconf(_SC_PAGESIZE));
    (void)fclose(f); /* only read */
}

static void read_start(void)
{
    struct metric *m = metrics_at(&set, P_START, 0, 0);
    long long ticks;
    FILE *f = metric_read(m) == 0 ? fopen("/proc/self/stat", "re") : NULL;
    if (f == NULL)
        return;
    /* the 22nd field, counted behind the name in brackets */
    if (fscanf(f, "%*d (%*[^)]) %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lld",
               &ticks) == 1) {
        int64_t up = ticks * USEC_PER_SEC / sysconf(_SC_CLK_TCK);
        metric_set(m, (double)(clock_now_us() - clock_mono_us() + up) / 1e6);
    }
    (void)fclose(f); /* only read */
}

/* Two renderings at once must not both add the same time. */
static void count_cpu(void)
{
    static pthread_mutex_t one_by_one = PTHREAD_MUTEX_INITIALIZER;
    struct metric *cpu = metrics_at(&set, P_CPU, 0, 0);
    (void)pthread_mutex_lock(&one_by_one); /* a plain mutex fails only by misuse */
    int64_t more = clock_cpu_us() - (int64_t)(metric_read(cpu) * 1e6 + 0.5);
    metric_add(cpu, more > 0 ? more : 0);
    (void)pthread_mutex_unlock(&one_by_one);
}

void process_refresh(void)
{
    struct rlimit files;
    metrics_register(&set);
    count_cpu();
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        metric_set(metrics_at(&set, P_MAX_FDS, 0, 0), (double)files.rlim_cur);
    count_entries("/proc/self/fd", P_FDS, 1); /* one is the folder being read */
    count_entries("/proc/self/task", P_THREADS, 0);
    read_resident();
    read_start();
}
