/* Where a modelmon keeps its things, for verbs that read them without asking it: DATABASE_URL and LAKE_DIR, else DATA_DIR. */
#pragma once
#include "base/arena.h"
#include "config/config.h"
#include "db/db.h"
#include "lake/lake.h"

#define KEPT_FOLDER_DEFAULT "modelmon-data"

struct kept_options {
    const char *data_dir, *lake_dir;
    char *database_url;
};
/* Three rows of a verb's options, whose struct has a kept_options at `at`. */
#define KEPT_KEYS(at)                                                                                                  \
    {.env = "DATA_DIR",                                                                                                \
     .def = KEPT_FOLDER_DEFAULT,                                                                                       \
     .type = CONFIG_STR,                                                                                               \
     .flags = CONFIG_REQUIRED,                                                                                         \
     .offset = (at) + offsetof(struct kept_options, data_dir),                                                         \
     .help = "Folder of `modelmon run`, which may be running."},                                                       \
        {.env = "DATABASE_URL",                                                                                        \
         .def = "",                                                                                                    \
         .type = CONFIG_STR,                                                                                           \
         .flags = CONFIG_SECRET,                                                                                       \
         .offset = (at) + offsetof(struct kept_options, database_url),                                                 \
         .help = "Where the database is, if not in DATA_DIR."},                                                        \
    {                                                                                                                  \
        .env = "LAKE_DIR", .def = "", .type = CONFIG_STR, .offset = (at) + offsetof(struct kept_options, lake_dir),    \
        .help = "Where the lake is, if not in DATA_DIR."                                                               \
    }

/* Opens the database, which must be there: a new one is not made. E_NOTFOUND: neither a folder of modelmon nor a database is. */
rc_t kept_open(const struct kept_options *o, struct arena *a, struct db **ret_db, struct lake_config *ret_lake,
               struct err *e) MUST_CHECK;
