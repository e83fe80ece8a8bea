/* The data folder of `modelmon run`: made when missing, and one process's at a time. */
#pragma once
#include <stdbool.h>
#include "base/rc.h"

rc_t folder_make(const char *path, struct err *e) MUST_CHECK; /* with those above it */
/* E_CONFLICT: another process has it; the words name the folder and, if known, that process. *ret_fd holds it until closed. */
rc_t folder_take(const char *path, int *ret_fd, struct err *e) MUST_CHECK;
/* With the folder taken. It is one SYSTEM_ID's, because the log's topics have it in their names: E_INVALID when it was made with
 * another; kept there at the first time. */
rc_t folder_system(const char *path, const char *system_id, struct err *e) MUST_CHECK;
/* Where the process that has it listens, for those who have its folder and an address, and do not know whether they belong together. */
void folder_port_write(const char *path, int port);
bool folder_is_at(const char *path, const char *url);
