/* The rows of SYSTEM_ID and GROUP_PREFIX. */
#include "pipeline/identity.h"
#include "event/names.h"

static rc_t check_name(const char *text, struct err *e)
{
    if (name_is_system_id(str_of(text)))
        return OK;
    return err_set(e, E_INVALID, "letters, digits, '.', '_' and '-' are allowed, 64 at most");
}

const struct config_key identity_keys[] = {
    {.env = "SYSTEM_ID",
     .def = "modelmon",
     .type = CONFIG_STR,
     .flags = CONFIG_REQUIRED,
     .offset = offsetof(struct identity, system_id),
     .check = check_name,
     .help = "Part of every topic's name, as in MLRun's client-spec; the same in all services and clients."},
    {.env = "GROUP_PREFIX",
     .def = "modelmon",
     .type = CONFIG_STR,
     .flags = CONFIG_REQUIRED,
     .offset = offsetof(struct identity, group_prefix),
     .check = check_name,
     .help = "Consumer groups are PREFIX-PIPELINE: statistics, lake, writer, app:NAME."},
};
