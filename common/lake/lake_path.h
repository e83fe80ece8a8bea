/* Folders and names of the lake, and the folder for what is not finished. Internal to this folder. */
#pragma once
#include "base/buf.h"
#include "base/rc.h"
#include "lake/lake_rows.h"

/* E_INVALID: a part that could leave the lake's layout. */
rc_t lake_check_names(struct str project, struct str uid, const char *topic, struct err *e) MUST_CHECK;
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
void lake_tmp_close(struct lake_tmp *t);
