/* Holding rows until a flush, and the flush.
 *
 *   lake_add → files by (partition, endpoint, hour, schema)
 *   lake_write: write each to the temporary folder
 *   lake_place: syncfs ─ rename into place ─ syncfs; then the manifest rows are the caller's to keep
 *
 * Nothing of a flush can be seen before the first syncfs made its bytes durable; what a rename shows is whole. A flush that
 * is cut off at any place is repeated over the same range (the ledger pins it) and puts the same rows there. Its names may be others:
 * with the first attempt schemas came while it decoded, and a record may have changed since. So the first syncfs makes a plan durable
 * too, and what it names and the repeat does not is deleted (plan.c). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/crash.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/sha.h"
#include "base/time.h"
#include "db/ledger.h"
#include "lake/lake_export.h"
#include "lake/lake_path.h"
#include "log/log.h"

#define USEC_PER_HOUR (INT64_C(3600) * USEC_PER_SEC)

struct part {
    struct part *next;
    char *topic;
    int32_t partition, index;
    int64_t oldest_mono_us;
    struct lake_file *files, **tail;
};

struct lake_writer {
    struct lake_config cfg;
    bool opened;             /* export and tmp */
    bool unplaced;           /* there are temporary files that nobody has put in place */
    struct lake_plan *plans; /* of each range, from the first lake_place of a flush to its last */
    size_t n_plans, n_placed;
    struct export export;
    struct lake_tmp tmp;
    struct part *parts, *last_part;
    int32_t n_parts;
    struct map files; /* struct file_key → struct lake_file, or a count */
    int64_t bytes, rows, n_files;
    struct manifest_row *manifest;
    size_t n_manifest;
};

struct file_key {
    int64_t endpoint_id, hour_us;
    int32_t part, schema;
};
#define ANY_SCHEMA (-1) /* under this key stands how many schemas there are, as a pointer */

rc_t lake_writer_open(struct lake_writer **ret, const struct lake_config *cfg, struct err *e)
{
    if (!cfg->root || !*cfg->root)
        return err_set(e, E_INVALID, "LAKE_DIR is empty");
    struct lake_writer *w = mem_alloc(sizeof *w);
    w->cfg = *cfg;
    w->cfg.root = mem_dupz(cfg->root);
    *ret = w;
    return OK;
}

static void manifest_clear(struct lake_writer *w)
{
    for (size_t i = 0; i < w->n_manifest; i++) {
        mem_free((char *)(uintptr_t)w->manifest[i].topic.p);
        mem_free((char *)(uintptr_t)w->manifest[i].path.p);
        mem_free((char *)(uintptr_t)w->manifest[i].sha256.p);
    }
    mem_free(w->manifest);
    w->manifest = NULL;
    w->n_manifest = 0;
}

static void close_disk(struct lake_writer *w)
{
    if (w->opened) {
        export_close(&w->export);
        lake_tmp_close(&w->tmp);
    }
    w->opened = false;
}

static void end_plans(struct lake_writer *w, bool in_place)
{
    for (size_t i = 0; i < w->n_plans; i++)
        lake_plan_end(&w->plans[i], &w->tmp, in_place);
    mem_free(w->plans);
    w->plans = NULL;
    w->n_plans = w->n_placed = 0;
}

void lake_writer_free(struct lake_writer *w)
{
    if (!w)
        return;
    lake_forget(w, NULL);
    close_disk(w);
    while (w->parts) {
        struct part *p = w->parts;
        w->parts = p->next;
        mem_free(p->topic);
        mem_free(p);
    }
    map_done(&w->files);
    end_plans(w, false);
    mem_free(w->cfg.root);
    mem_free(w);
}

static struct part *part_find(struct lake_writer *w, const struct lake_part *part)
{
    struct part *p = w->last_part;
    if (p && p->partition == part->partition && strcmp(p->topic, part->topic) == 0)
        return p;
    for (p = w->parts; p; p = p->next)
        if (p->partition == part->partition && strcmp(p->topic, part->topic) == 0)
            return w->last_part = p;
    return NULL;
}

static struct part *part_get(struct lake_writer *w, const struct lake_part *part)
{
    struct part *p = part_find(w, part);
    if (p)
        return p;
    p = mem_alloc(sizeof *p);
    p->topic = mem_dupz(part->topic);
    p->partition = part->partition;
    p->index = w->n_parts++;
    p->tail = &p->files;
    p->next = w->parts;
    w->parts = p;
    return w->last_part = p;
}

static struct str key_of(struct file_key *out, const struct part *p, int64_t endpoint_id, int64_t hour_us, int schema)
{
    *out = (struct file_key){endpoint_id, hour_us, p->index, schema};
    return (struct str){(const char *)out, sizeof *out};
}

/* How many schemas this endpoint and hour have in the partition. */
static size_t count_schemas(const struct lake_writer *w, const struct part *p, const struct lake_file *f)
{
    struct file_key key;
    return (uintptr_t)map_get(&w->files, key_of(&key, p, f->endpoint_id, f->hour_us, ANY_SCHEMA));
}

rc_t lake_add(struct lake_writer *w, const struct lake_part *part, int64_t offset, const struct lake_endpoint *ep,
              const struct inference_event *ev, int64_t first_request_us, size_t *ret_nulled, struct err *e)
{
    struct file_key key;
    if (ev->n_rows == 0) {
        *ret_nulled = 0;
        return OK;
    }
    struct part *p = part_get(w, part);
    int64_t hour = time_floor(ev->when_us, USEC_PER_HOUR);
    struct str k = key_of(&key, p, ep->endpoint_id, hour, ep->schema->version);
    struct lake_file *f = map_get(&w->files, k);
    bool fresh = !f;
    rc_t rc = OK;
    if (fresh && (rc = lake_check_names(ep->project, ep->uid, part->topic, e)))
        return rc;
    if (fresh)
        f = lake_file_new(ep, hour);
    int64_t before = fresh ? 0 : lake_file_bytes(f);
    rc = lake_file_add(f, ev, offset, first_request_us, ret_nulled, e);
    if (rc) {
        if (fresh)
            lake_file_free(f);
        return rc;
    }
    w->bytes += lake_file_bytes(f) - before;
    w->rows += (int64_t)ev->n_rows;
    if (!p->files)
        p->oldest_mono_us = clock_mono_us();
    if (fresh) {
        map_put(&w->files, k, f);
        uintptr_t schemas = count_schemas(w, p, f) + 1;
        map_put(&w->files, key_of(&key, p, ep->endpoint_id, hour, ANY_SCHEMA), (void *)schemas);
        *p->tail = f;
        p->tail = &f->next;
        w->n_files++;
    }
    return OK;
}

struct lake_held lake_held(const struct lake_writer *w)
{
    struct lake_held h = {.bytes = w->bytes, .rows = w->rows, .files = w->n_files};
    for (const struct part *p = w->parts; p; p = p->next)
        if (p->files && (h.oldest_mono_us == 0 || p->oldest_mono_us < h.oldest_mono_us))
            h.oldest_mono_us = p->oldest_mono_us;
    return h;
}

/* *at: a link of the partition's list. */
static void forget_file(struct lake_writer *w, const struct part *p, struct lake_file **at)
{
    struct file_key key;
    struct lake_file *f = *at;
    *at = f->next;
    w->bytes -= lake_file_bytes(f);
    w->rows -= (int64_t)f->n_rows;
    w->n_files--;
    map_del(&w->files, key_of(&key, p, f->endpoint_id, f->hour_us, f->schema.version));
    map_del(&w->files, key_of(&key, p, f->endpoint_id, f->hour_us, ANY_SCHEMA));
    lake_file_free(f);
}

static void forget_part(struct lake_writer *w, struct part *p)
{
    while (p->files)
        forget_file(w, p, &p->files);
    p->tail = &p->files;
}

void lake_holds(const struct lake_writer *w, int64_t **ret, size_t *n)
{
    int64_t *ids = mem_array((size_t)w->n_files + 1, sizeof *ids);
    size_t all = 0, kept = 0;
    for (const struct part *p = w->parts; p; p = p->next)
        for (const struct lake_file *f = p->files; f; f = f->next)
            ids[all++] = f->endpoint_id;
    qsort(ids, all, sizeof *ids, num_order_i64);
    for (size_t i = 0; i < all; i++)
        if (i == 0 || ids[i] != ids[kept - 1])
            ids[kept++] = ids[i];
    *ret = ids;
    *n = kept;
}

int64_t lake_drop(struct lake_writer *w, int64_t endpoint_id)
{
    int64_t before = w->rows;
    for (struct part *p = w->parts; p; p = p->next) {
        struct lake_file **at = &p->files;
        while (*at) {
            if ((*at)->endpoint_id == endpoint_id)
                forget_file(w, p, at);
            else
                at = &(*at)->next;
        }
        p->tail = at;
    }
    return before - w->rows;
}

void lake_forget(struct lake_writer *w, const struct lake_part *part)
{
    manifest_clear(w);
    for (struct part *p = w->parts; p; p = p->next)
        if (!part || (p->partition == part->partition && strcmp(p->topic, part->topic) == 0))
            forget_part(w, p);
}

/* ---- flush ---- */

static rc_t open_disk(struct lake_writer *w, struct err *e)
{
    if (w->opened)
        return OK;
    rc_t rc = lake_tmp_open(&w->tmp, w->cfg.root, e);
    if (rc)
        return rc;
    if ((rc = export_open(&w->export, &w->cfg, e)))
        lake_tmp_close(&w->tmp);
    w->opened = rc == OK;
    return rc;
}

static struct str own(struct buf *b)
{
    struct str s = buf_str(b);
    return (struct str){mem_dup(s.p, s.n), s.n};
}

static rc_t fill_manifest(struct manifest_row *m, const char *tmp, const struct lake_range *range,
                          const struct lake_file *f, bool sibling, struct err *e)
{
    CLEANUP(buf_done) struct buf path = {0};
    char sha[SHA256_TEXT];
    struct stat st;
    rc_t rc = sha256_file_hex(tmp, sha, e);
    if (rc)
        return err_prefix(e, E_AGAIN, "reading back %.120s: ", tmp);
    if (stat(tmp, &st) != 0)
        return err_set(e, E_AGAIN, "%.150s: %s", tmp, strerror(errno));
    lake_folder(&path, f);
    buf_addc(&path, '/');
    lake_file_name(&path, range, f, sibling);
    *m = (struct manifest_row){
        .project_id = f->project_id,
        .partition = range->part.partition,
        .endpoint_id = f->endpoint_id,
        .hour_us = f->hour_us,
        .start_offset = ledger_key(range->part.generation, range->start_offset),
        .end_offset = ledger_key(range->part.generation, range->end_offset),
        .rows = (int64_t)f->n_rows,
        .bytes = st.st_size,
        .min_us = f->min_us,
        .max_us = f->max_us,
        .schema_version = f->schema.version,
        .topic = {mem_dupz(range->part.topic), strlen(range->part.topic)},
        .path = own(&path),
        .sha256 = {mem_dupz(sha), strlen(sha)},
    };
    return OK;
}

static void tmp_name(struct buf *out, const struct lake_writer *w, size_t i)
{
    buf_clear(out);
    buf_addf(out, "%s/%zu.parquet", w->tmp.path, i);
}

static rc_t write_files(struct lake_writer *w, const struct lake_range *range, const struct part *p, struct err *e)
{
    CLEANUP(buf_done) struct buf tmp = {0};
    rc_t rc = OK;
    for (const struct lake_file *f = p->files; f && !rc; f = f->next) {
        tmp_name(&tmp, w, w->n_manifest);
        if ((rc = export_write(&w->export, f, tmp.data, e)))
            break;
        CRASH_POINT(lake_file);
        rc = fill_manifest(&w->manifest[w->n_manifest], tmp.data, range, f, count_schemas(w, p, f) > 1, e);
        w->n_manifest += rc == OK;
    }
    return rc;
}

static rc_t sync_lake(const struct lake_writer *w, struct err *e)
{
    return syncfs(w->tmp.root_fd) == 0 ? OK : err_set(e, E_FATAL, "syncfs of %.150s: %s", w->cfg.root, strerror(errno));
}

static rc_t make_folders(struct lake_writer *w, struct err *e)
{
    rc_t rc = OK;
    for (size_t i = 0; i < w->n_manifest && !rc; i++) {
        char *path = (char *)(uintptr_t)w->manifest[i].path.p, *slash = strrchr(path, '/');
        *slash = '\0';
        rc = lake_mkdirs(w->tmp.root_fd, path, e);
        *slash = '/';
    }
    return rc;
}

/* A file system that cannot tell (NFS) replaces always. */
static int move_file(const struct lake_writer *w, const char *tmp, const char *path, bool replace)
{
    int failed = replace ? -1 : renameat2(AT_FDCWD, tmp, w->tmp.root_fd, path, RENAME_NOREPLACE);
    return replace || (failed && (errno == EINVAL || errno == ENOSYS)) ? renameat(AT_FDCWD, tmp, w->tmp.root_fd, path)
                                                                       : failed;
}

/* Its folder may have been empty, and be gone again by now: who deletes files deletes empty folders. */
static rc_t put_in_place(const struct lake_writer *w, const char *tmp, const char *path, bool replace, struct err *e)
{
    CLEANUP(mem_freep) char *folder = mem_dup(path, (size_t)(strrchr(path, '/') - path));
    int failed = move_file(w, tmp, path, replace);
    for (int i = 0; failed && errno == ENOENT && i < 3; i++) {
        if (lake_mkdirs(w->tmp.root_fd, folder, e))
            return E_FATAL;
        failed = move_file(w, tmp, path, replace);
    }
    if (failed && errno == EEXIST)
        return err_set(e, E_CONFLICT, "%.150s is there already", path);
    return failed ? err_set(e, E_FATAL, "renaming to %.150s: %s", path, strerror(errno)) : OK;
}

static rc_t write_plans(struct lake_writer *w, const struct lake_range *ranges, size_t n, struct err *e)
{
    w->plans = mem_array(n + 1, sizeof *w->plans);
    rc_t rc = OK;
    for (; w->n_plans < n && !rc; w->n_plans++)
        rc = lake_plan_write(&w->plans[w->n_plans], &w->tmp, &ranges[w->n_plans], w->manifest, w->n_manifest, e);
    CRASH_POINT(lake_plan);
    if (!rc)
        rc = sync_lake(w, e);
    CRASH_POINT(lake_sync);
    return rc;
}

/* From the first rename on a failure leaves a state that nobody knows; a conflict leaves the rest where it was. */
static rc_t move_files(struct lake_writer *w, bool replace, struct err *e)
{
    CLEANUP(buf_done) struct buf tmp = {0};
    rc_t rc = OK;
    while (w->n_placed < w->n_manifest && !rc) {
        tmp_name(&tmp, w, w->n_placed);
        rc = put_in_place(w, tmp.data, w->manifest[w->n_placed].path.p, replace, e);
        w->n_placed += rc == OK;
        CRASH_POINT(lake_rename);
    }
    return rc;
}

static size_t count_files(struct lake_writer *w, const struct lake_range *ranges, size_t n)
{
    size_t files = 0;
    for (size_t i = 0; i < n; i++) {
        const struct part *p = part_find(w, &ranges[i].part);
        for (const struct lake_file *f = p ? p->files : NULL; f; f = f->next)
            files++;
    }
    return files;
}

void lake_unlink(const struct lake_writer *w, struct str path)
{
    char *name = mem_dup(path.p, path.n);
    if (w->opened)
        (void)unlinkat(w->tmp.root_fd, name, 0); /* what stays is deleted as an orphan */
    mem_free(name);
}

static rc_t end_flush(struct lake_writer *w, rc_t rc)
{
    w->unplaced = false;
    end_plans(w, false);
    if (rc == OK)
        return OK;
    manifest_clear(w);
    if (w->opened && !lake_tmp_there(&w->tmp))
        close_disk(w); /* the next flush makes a new one */
    else if (w->opened)
        lake_tmp_clear(&w->tmp);
    return rc;
}

rc_t lake_write(struct lake_writer *w, const struct lake_range *ranges, size_t n, struct manifest_row **ret,
                size_t *ret_n, struct err *e)
{
    manifest_clear(w);
    size_t files = count_files(w, ranges, n);
    bool any = files > 0;
    for (size_t i = 0; i < n; i++)
        any = any || ranges[i].again; /* what was put in place before goes, whether rows are left or not */
    rc_t rc = any ? open_disk(w, e) : OK;
    if (any && !rc) {
        if (w->unplaced)
            lake_tmp_clear(&w->tmp);
        end_plans(w, false);
        w->manifest = mem_array(files + 1, sizeof *w->manifest);
        for (size_t i = 0; i < n && !rc; i++) {
            const struct part *p = part_find(w, &ranges[i].part);
            if (p)
                rc = write_files(w, &ranges[i], p, e);
        }
    }
    if (rc)
        return end_flush(w, rc);
    w->unplaced = any;
    *ret = w->manifest;
    *ret_n = w->n_manifest;
    return OK;
}

rc_t lake_place(struct lake_writer *w, const struct lake_range *ranges, size_t n, bool replace, struct err *e)
{
    if (!w->unplaced)
        return OK;
    rc_t rc = w->plans ? OK : make_folders(w, e);
    CRASH_POINT(lake_folders);
    if (!rc && !w->plans)
        rc = write_plans(w, ranges, n, e);
    if (!rc)
        rc = move_files(w, replace, e);
    if (rc == E_CONFLICT)
        return rc;
    if (!rc)
        end_plans(w, true);
    CRASH_POINT(lake_clean);
    if (!rc)
        rc = sync_lake(w, e);
    CRASH_POINT(lake_publish);
    return end_flush(w, rc);
}

rc_t lake_flush(struct lake_writer *w, const struct lake_range *ranges, size_t n, struct manifest_row **ret,
                size_t *ret_n, struct err *e)
{
    rc_t rc = lake_write(w, ranges, n, ret, ret_n, e);
    return rc ? rc : lake_place(w, ranges, n, true, e);
}
