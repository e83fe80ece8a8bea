/* The reference of options for people: --help, and the table of a README. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "config/options.h"

static void add_duration(struct buf *to, int64_t us)
{
    static const struct {
        const char *unit;
        int64_t us;
    } units[] = {{"d", USEC_PER_DAY}, {"h", 3600 * USEC_PER_SEC}, {"m", 60 * USEC_PER_SEC},
                 {"s", USEC_PER_SEC}, {"ms", USEC_PER_MSEC},      {"us", 1}};
    size_t i = 0;
    while (units[i].us > 1 && us % units[i].us != 0)
        i++;
    if (us == 0)
        buf_addz(to, "0s");
    else
        buf_addf(to, "%" PRId64 "%s", us / units[i].us, units[i].unit);
}

static void add_bytes(struct buf *to, int64_t n)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;
    while (i < 4 && n != 0 && n % 1024 == 0) {
        n /= 1024;
        i++;
    }
    buf_addf(to, "%" PRId64 "%s", n, units[i]);
}

static void add_bound(const struct config_key *key, int64_t v, struct buf *to)
{
    if (key->type == CONFIG_DURATION)
        add_duration(to, v);
    else if (key->type == CONFIG_BYTES)
        add_bytes(to, v);
    else
        buf_addf(to, "%" PRId64, v);
}

static void add_range(const struct config_key *key, struct buf *to)
{
    if (key->min == 0 && key->max == 0)
        return;
    bool open = key->max == INT64_MAX;
    buf_addz(to, open ? ", at least " : ", from ");
    add_bound(key, key->min, to);
    if (open)
        return;
    buf_addz(to, " to ");
    add_bound(key, key->max, to);
}

static void add_values(const struct config_key *key, const char *between, struct buf *to)
{
    for (const struct config_value *v = key->values; v->name; v++)
        buf_addf(to, "%s%s", v == key->values ? "" : between, v->name);
}

void config_describe_type(const struct config_key *key, struct buf *to)
{
    switch (key->type) {
    case CONFIG_STR:
        buf_addz(to, "text");
        break;
    case CONFIG_I64:
        buf_addz(to, "a whole number");
        break;
    case CONFIG_DURATION:
        buf_addz(to, "a duration such as 250ms, 10s or 5m");
        break;
    case CONFIG_BYTES:
        buf_addz(to, "a size such as 512, 10kB or 64MiB");
        break;
    case CONFIG_BOOL:
        buf_addz(to, "true or false");
        break;
    case CONFIG_ENUM:
        buf_addz(to, "one of ");
        add_values(key, ", ", to);
        break;
    case CONFIG_F64:
        buf_addz(to, "a number");
        break;
    }
    add_range(key, to);
}

bool config_is_repeat(const struct config_spec *spec, size_t table, size_t row)
{
    const char *env = spec->tables[table].keys[row].env;
    for (size_t t = 0; t < table; t++)
        for (size_t i = 0; i < spec->tables[t].count; i++)
            if (strcmp(spec->tables[t].keys[i].env, env) == 0)
                return true;
    return false;
}

/* Whether a table says anything that the ones before it have not. */
static bool is_new(const struct config_spec *spec, size_t table)
{
    size_t i = 0;
    while (i < spec->tables[table].count && config_is_repeat(spec, table, i))
        i++;
    return i < spec->tables[table].count;
}

const char *config_default_of(const struct config_spec *spec, const struct config_key *key)
{
    for (const struct config_default *d = spec->defaults; d && d->env; d++)
        if (strcmp(d->env, key->env) == 0)
            return d->def;
    return key->def ? key->def : "";
}

/* What stands behind the sentence: values or range, default, _FILE, required. */
static void add_notes(const struct config_spec *spec, const struct config_key *key, struct buf *to)
{
    const char *def = config_default_of(spec, key);
    if (key->type == CONFIG_ENUM) {
        buf_addz(to, " One of ");
        add_values(key, ", ", to);
        buf_addc(to, '.');
    } else if (key->min != 0 || key->max != 0) {
        struct buf range = {0};
        add_range(key, &range);
        range.data[2] = (char)toupper((unsigned char)range.data[2]);
        buf_addf(to, " %s.", range.data + 2);
        buf_done(&range);
    }
    if (key->flags & CONFIG_SECRET)
        buf_addf(to, " Secret: %s_FILE names a file that holds it.", key->env);
    if ((key->flags & CONFIG_REQUIRED) && *def == '\0')
        buf_addz(to, " Required.");
}

void config_flag_name(const char *env, struct buf *to)
{
    for (const char *c = env; *c; c++)
        buf_addc(to, *c == '_' ? '-' : (char)tolower((unsigned char)*c));
}

void config_help(const struct config_spec *spec, struct buf *to)
{
    size_t wide = 0;
    for (size_t t = 0; t < spec->table_count; t++)
        for (size_t i = 0; i < spec->tables[t].count; i++)
            if (strlen(spec->tables[t].keys[i].env) > wide)
                wide = strlen(spec->tables[t].keys[i].env);
    buf_addf(to, "%s: %s\n\nOptions are environment variables; HTTP_PORT=8080 is also --http-port=8080.\n",
             spec->program, spec->summary);
    for (size_t t = 0; t < spec->table_count; t++) {
        if (is_new(spec, t))
            buf_addf(to, "\n%s\n", spec->tables[t].title);
        for (size_t i = 0; i < spec->tables[t].count; i++) {
            if (config_is_repeat(spec, t, i))
                continue;
            const struct config_key *key = &spec->tables[t].keys[i];
            const char *def = config_default_of(spec, key);
            buf_addf(to, "  %-*s  %s", (int)wide, key->env, key->help);
            add_notes(spec, key, to);
            if (*def)
                buf_addf(to, " [%s]", def);
            buf_addc(to, '\n');
        }
    }
    buf_addz(to, "\nCommands\n");
    for (const struct config_command *c = spec->commands; c && c->flag; c++)
        buf_addf(to, "  %-*s  %s\n", (int)wide, c->flag, c->help);
}

static void add_flag(const struct config_key *key, struct buf *to)
{
    buf_addz(to, "--");
    config_flag_name(key->env, to);
    if (key->type != CONFIG_BOOL)
        buf_addz(to, " VALUE");
}

void config_help_flags(const struct config_spec *spec, struct buf *to)
{
    for (size_t t = 0; t < spec->table_count; t++) {
        for (size_t i = 0; i < spec->tables[t].count; i++) {
            const struct config_key *key = &spec->tables[t].keys[i];
            const char *def = config_default_of(spec, key);
            struct buf flag = {0};
            add_flag(key, &flag);
            buf_addf(to, "  %-22s  %s", flag.data, key->help);
            add_notes(spec, key, to);
            if (*def && key->type != CONFIG_BOOL)
                buf_addf(to, " [%s]", def);
            if (!(key->flags & CONFIG_FLAG))
                buf_addf(to, " (or %s)", key->env);
            buf_addc(to, '\n');
            buf_done(&flag);
        }
    }
}

static void add_cell(struct buf *to, const char *text)
{
    for (const char *c = text; *c; c++) {
        if (*c == '|')
            buf_addc(to, '\\');
        buf_addc(to, *c);
    }
}

void config_markdown(const struct config_spec *spec, struct buf *to)
{
    for (size_t t = 0; t < spec->table_count; t++) {
        if (is_new(spec, t))
            buf_addf(to, "%s**%s**\n\n| variable | default | meaning |\n|---|---|---|\n", t ? "\n" : "",
                     spec->tables[t].title);
        for (size_t i = 0; i < spec->tables[t].count; i++) {
            if (config_is_repeat(spec, t, i))
                continue;
            const struct config_key *key = &spec->tables[t].keys[i];
            const char *def = config_default_of(spec, key);
            struct buf notes = {0};
            buf_addf(&notes, "%s", key->help);
            add_notes(spec, key, &notes);
            buf_addf(to, "| `%s` | %s", key->env, *def ? "`" : "");
            add_cell(to, def);
            buf_addz(to, *def ? "` | " : "| ");
            add_cell(to, notes.data);
            buf_addz(to, " |\n");
            buf_done(&notes);
        }
    }
}
