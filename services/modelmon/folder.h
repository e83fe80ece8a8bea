/* The data folder of `modelmon run`: made when missing, and one process's at a time. */
#pragma once
#include "base/rc.h"

rc_t folder_make(const char *path, struct err *e) MUST_CHECK; /* with those above it */
/* E_CONFLICT: another process has it; the words name the folder and, if known, that process. *ret_fd holds it until closed. */
rc_t folder_take(const char *path, int *ret_fd, struct err *e) MUST_CHECK;
