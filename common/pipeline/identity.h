/* Options that name an installation and its consumer groups: the same rows in every service that has them. */
#pragma once
#include "config/config.h"

struct identity {
    const char *system_id, *group_prefix;
};
extern const struct config_key identity_keys[];
/* How many of the rows a service takes. */
#define IDENTITY_SYSTEM 1u /* SYSTEM_ID */
#define IDENTITY_GROUPS 2u /* and GROUP_PREFIX */
