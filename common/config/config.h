/* Configuration: rows of options bound to structs. The environment is the configuration, flags mirror it
 * (HTTP_PORT=8080 is --http-port=8080, and the flag wins), a secret NAME also comes from the file NAME_FILE names.
 * Read once at start: there is no reload.
 *
 * To add an option: one field in the owner's options struct, one row in the owner's keys.
 *
 *     static const struct config_key keys[] = {
 *         {.env = "FLUSH_INTERVAL", .def = "1s", .type = CONFIG_DURATION, .offset = offsetof(struct opts, flush_us),
 *          .min = 100 * USEC_PER_MSEC, .max = 60 * USEC_PER_SEC, .help = "Longest age of a batch."},
 *     };
 *
 * A module exports `x_keys[]` and `x_keys_n`; a service lists the tables it composes:
 *     {"Kafka", bus_keys, bus_keys_n, &st.bus}, CONFIG_TABLE("Stream", keys, &st.options) */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/rc.h"

enum config_type {             /* the field's C type */
                   CONFIG_STR, /* char * or const char *, never NULL; the struct config owns it: never free, never write */
                   CONFIG_I64,      /* int64_t */
                   CONFIG_DURATION, /* int64_t, µs; as num_duration_us reads it */
                   CONFIG_BYTES,    /* int64_t; as num_bytes reads it */
                   CONFIG_BOOL,     /* bool */
                   CONFIG_ENUM,     /* int, out of .values */
                   CONFIG_F64,      /* double */
};

enum config_flags {
    CONFIG_SECRET = 1,   /* CONFIG_STR: masked when printed, refused as a flag, NAME_FILE is read */
    CONFIG_REQUIRED = 2, /* must not be empty */
    CONFIG_FLAG = 4,     /* of a command: a flag alone, never read from the environment */
};

struct config_value {
    const char *name; /* NULL ends a list */
    int value;
};

struct config_key {
    const char *env; /* the name; its flag is derived */
    const char *def; /* default, as text */
    enum config_type type;
    unsigned flags;
    size_t offset;                     /* into the table's target */
    int64_t min, max;                  /* I64, DURATION, BYTES, F64: inclusive; both 0: no bounds */
    const struct config_value *values; /* ENUM */
    const char *help;                  /* one sentence */
    /* STR that is not empty: E_INVALID with words that say what is wrong, without the value of a secret. NULL: any text will do. */
    rc_t (*check)(const char *text, struct err *e);
};

struct config_table {
    const char *title; /* heading in --help */
    const struct config_key *keys;
    size_t count;
    void *target;
};
#define CONFIG_TABLE(name, key_array, into)                                                                            \
    ((struct config_table){                                                                                            \
        .title = (name), .keys = (key_array), .count = sizeof(key_array) / sizeof *(key_array), .target = (into)})

/* Two options that must fit each other. It is not judged while one of them is at fault by itself. */
struct config_rule {
    const char *names[2];                             /* as in the rows' env; told before the words */
    rc_t (*check)(const void *target, struct err *e); /* E_INVALID with words that say what must hold */
    const void *target;                               /* the struct that the two are bound in */
};

struct config_default { /* another default than the row's, for one program */
    const char *env;    /* NULL ends a list */
    const char *def;
};

struct config_command { /* a flag that does something else than run: --help */
    const char *flag;   /* NULL ends a list */
    const char *help;
};

struct config_spec {
    const char *program, *summary;
    const struct config_table *tables;
    size_t table_count;
    const struct config_rule *rules;
    size_t rule_count;
    const struct config_default *defaults; /* NULL: none */
    const struct config_command *commands; /* NULL: none */
};

struct config;

/* Fills every table's target. On E_INVALID *faults has one line a fault, all of them, and *ret is untouched. An empty
 * variable counts as not set. A name in two tables is one option, bound in both and told once, by the first: type and default
 * are asserted to be the same. */
rc_t config_load(struct config **ret, const struct config_spec *spec, int argc, char *const argv[],
                 struct buf *faults) MUST_CHECK;
void config_free(struct config *cfg); /* wipes secrets; NULL is fine */

const char *config_command(const struct config_spec *spec, int argc, char *const argv[]); /* the one given, or NULL */
void config_print(const struct config *cfg, struct buf *to);            /* NAME=value lines, secrets masked */
void config_help(const struct config_spec *spec, struct buf *to);       /* for people */
void config_help_flags(const struct config_spec *spec, struct buf *to); /* the same with flags for names: for a command */
void config_flag_name(const char *env, struct buf *to);                 /* appends "http-port" */
void config_markdown(const struct config_spec *spec, struct buf *to);   /* the reference table of a README */
