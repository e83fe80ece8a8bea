/* Folders and names of the lake, and the folder for what is not finished. Internal to this folder. */
#pragma once
#include "base/buf.h"
#include "base/map.h"
#include "base/rc.h"
#include "lake/lake_rows.h"

/* E_INVALID: a part that could leave the lake's layout. */
rc_t lake_check_names(struct str project, struct str uid, const char *topic, struct err *e) MUST_CHECK;
bool lake_is_below_root(struct str path);                     /* relative, and without "." and ".." */
void lake_folder(struct buf *ret, const struct lake_file *f); /* {project}/…/hour=HH, relative */
void lake_file_name(struct buf *ret, const struct lake_range *range, const struct lake_file *f, bool with_schema);
/* Makes what is missing of a relative folder below the open root. */
rc_t lake_mkdirs(int root_fd, const char *folder, struct err *e) MUST_CHECK;
/* What to do about a failed system call on the lake's disk. */
rc_t lake_errno_rc(int err);

#define LAKE_TMP ".tmp" /* in every lake that was written to, and stays */
/* {root}/.tmp/<unique>: a folder of this writer alone, locked while it lives. */
struct lake_tmp {
    int root_fd, lock_fd;
    char *path; /* absolute or as root is */
};
rc_t lake_tmp_open(struct lake_tmp *ret, const char *root, struct err *e) MUST_CHECK;
void lake_tmp_clear(const struct lake_tmp *t); /* files in it */
/* False: somebody has deleted the folder, or mounted another file system over it. */
bool lake_tmp_there(const struct lake_tmp *t);
void lake_tmp_close(struct lake_tmp *t);

/* plan.c: what a flush of a range is about to put in place, for whoever repeats it. One for a partition's log, in
 * {root}/.tmp/.plans/; its next flush replaces it. */
struct lake_plan {
    struct map ours, others; /* paths: of this attempt; of those before it alone */
};
/* Before the first syncfs. With range->again the earlier attempts' names are read, and stay in the plan. */
rc_t lake_plan_write(struct lake_plan *ret, const struct lake_tmp *t, const struct lake_range *range,
                     const struct manifest_row *rows, size_t n, struct err *e) MUST_CHECK;
/* in_place: ours are; the others are deleted. Nothing has those in a manifest, since the range was never committed. */
void lake_plan_end(struct lake_plan *p, const struct lake_tmp *t, bool in_place);
