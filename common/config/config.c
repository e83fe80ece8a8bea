/* Options from the environment, files and flags into structs; every fault is collected, none stops the reading. */
#include "config/config.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "config/options.h"

#define NAME_MAX_BYTES 64
#define SECRET_MAX 65536

struct option {
    const struct config_table *table;
    const struct config_key *key;
    size_t first; /* the option of the same name, mostly itself: text and flag are there */
    const char *def;
    char *flag;        /* "http-port" */
    char *text;        /* the value as text, in force */
    const char *given; /* from a flag, borrowed from argv; NULL: none */
    const char *given_file;
    bool is_default, at_fault; /* at_fault: what is wrong with it is said already */
};

struct config {
    struct option *options;
    size_t count;
};

static char *flag_of(const char *env)
{
    struct buf flag = {0};
    config_flag_name(env, &flag);
    return flag.data; /* the caller's */
}

static size_t find(const struct config *cfg, const char *env)
{
    size_t i = 0;
    while (i < cfg->count && strcmp(cfg->options[i].key->env, env) != 0)
        i++;
    return i;
}

static bool is_same(const struct option *a, const struct option *b)
{
    return a->key->type == b->key->type && strcmp(a->def, b->def) == 0 &&
           !((a->key->flags ^ b->key->flags) & CONFIG_SECRET);
}

static bool is_repeat(const struct config *cfg, size_t i)
{
    return cfg->options[i].first != i;
}

/* The options of all tables, in their order, nothing read yet. */
static struct config *options_of(const struct config_spec *spec)
{
    struct config *cfg = mem_alloc(sizeof *cfg);
    size_t total = 0;
    for (size_t t = 0; t < spec->table_count; t++)
        total += spec->tables[t].count;
    cfg->options = mem_array(total, sizeof *cfg->options);
    for (size_t t = 0; t < spec->table_count; t++) {
        for (size_t i = 0; i < spec->tables[t].count; i++) {
            const struct config_key *key = &spec->tables[t].keys[i];
            size_t first = find(cfg, key->env);
            struct option *o = &cfg->options[cfg->count++];
            *o = (struct option){.table = &spec->tables[t], .key = key, .first = first, .def = config_default_of(spec, key)};
            if (o != &cfg->options[first])
                assert(is_same(&cfg->options[first], o)); /* one name with two meanings */
            else
                o->flag = flag_of(key->env);
        }
    }
    return cfg;
}

void config_free(struct config *cfg)
{
    if (cfg == NULL)
        return;
    for (size_t i = 0; i < cfg->count; i++) {
        struct option *o = &cfg->options[i];
        if (o->text && (o->key->flags & CONFIG_SECRET))
            explicit_bzero(o->text, strlen(o->text));
        mem_free(o->text);
        mem_free(o->flag);
    }
    mem_free(cfg->options);
    mem_free(cfg);
}

/* ---- faults ---- */

static void fault(struct buf *faults, const char *name, const char *fmt, ...) PRINTF(3, 4);

static void fault(struct buf *faults, const char *name, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args); /* cut to fit is fine */
    va_end(args);
    buf_addf(faults, "%s: %s\n", name, text);
}

/* Levenshtein's distance of short names; names that are too long are far from everything. */
static size_t distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), row[NAME_MAX_BYTES + 1];
    if (n > NAME_MAX_BYTES || m > NAME_MAX_BYTES)
        return NAME_MAX_BYTES;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[m];
}

static void fault_unknown(const struct config *cfg, const char *arg, const char *name, struct buf *faults)
{
    const char *nearest = NULL;
    size_t least = 1 + (strlen(name) < 9 ? strlen(name) / 3 : 3); /* further away it is no typing error */
    for (size_t i = 0; i < cfg->count; i++) {
        const char *flag = cfg->options[i].flag;
        if (is_repeat(cfg, i))
            continue;
        bool is_begin = *name && strncmp(flag, name, strlen(name)) == 0; /* --api of --api-url */
        size_t d = is_begin ? 0 : distance(name, flag);
        if (d < least) {
            least = d;
            nearest = flag;
        }
    }
    if (nearest)
        fault(faults, arg, "no such option; did you mean --%s?", nearest);
    else
        fault(faults, arg, "no such option; --help lists them");
}

/* ---- flags ---- */

static bool is_secret(const struct option *o)
{
    return (o->key->flags & CONFIG_SECRET) != 0;
}

static struct option *option_of_flag(struct config *cfg, const char *name, bool *ret_file)
{
    for (size_t i = 0; i < cfg->count; i++) {
        struct option *o = &cfg->options[i];
        if (is_repeat(cfg, i))
            continue;
        size_t n = strlen(o->flag);
        if (strncmp(name, o->flag, n) != 0)
            continue;
        *ret_file = is_secret(o) && strcmp(name + n, "-file") == 0;
        if (name[n] == '\0' || *ret_file)
            return o;
    }
    return NULL;
}

/* Returns true when the next argument was meant as this one's value: then it is no fault of its own (and may be a secret). */
static bool read_flag(struct config *cfg, const char *arg, const char *next, struct buf *faults)
{
    if (strncmp(arg, "--", 2) != 0 || arg[2] == '\0') {
        fault(faults, arg, "not an option; options look like --http-port=8080");
        return false;
    }
    const char *value = strchr(arg, '=');
    char *name = value ? mem_dup(arg + 2, (size_t)(value - arg) - 2) : mem_dupz(arg + 2);
    char *shown = value ? mem_dup(arg, (size_t)(value - arg)) : mem_dupz(arg); /* a fault never repeats a value */
    bool file = false;
    struct option *o = option_of_flag(cfg, name, &file);
    bool taken = value == NULL && next && next[0] != '-' && !(o && o->key->type == CONFIG_BOOL);
    if (o == NULL)
        fault_unknown(cfg, shown, name, faults);
    else if (is_secret(o) && !file)
        fault(faults, shown, "a secret is not taken from the command line; set %s or --%s-file", o->key->env, o->flag);
    else if (value == NULL && o->key->type != CONFIG_BOOL)
        fault(faults, shown, "has no value; write %s=VALUE", shown);
    else if (file)
        o->given_file = value + 1;
    else
        o->given = value ? value + 1 : "true";
    if (o && o->given == NULL && o->given_file == NULL)
        o->at_fault = true;
    mem_free(name);
    mem_free(shown);
    return taken;
}

/* -h is --help by its short name. */
static const char *command_of(const struct config_spec *spec, const char *arg)
{
    if (strcmp(arg, "-h") == 0)
        arg = "--help";
    for (const struct config_command *c = spec->commands; c && c->flag; c++)
        if (strcmp(arg, c->flag) == 0)
            return c->flag;
    return NULL;
}

const char *config_command(const struct config_spec *spec, int argc, char *const argv[])
{
    for (int i = 1; i < argc; i++)
        if (command_of(spec, argv[i]))
            return command_of(spec, argv[i]);
    return NULL;
}

/* ---- where a value comes from ---- */

static const char *environment(const char *name, const char *suffix)
{
    char full[NAME_MAX_BYTES + 8];
    int n = snprintf(full, sizeof full, "%s%s", name, suffix);
    assert(n > 0 && (size_t)n < sizeof full);
    const char *value = getenv(full);
    return value && *value ? value : NULL;
}

/* Nobody but owner and group may read it, and the group may do no more. */
static const char *mode_fault(const struct stat *st)
{
    if (!S_ISREG(st->st_mode))
        return "is not a regular file";
    if (st->st_mode & 0137)
        return "may be read or changed by others; its mode must be 0440, 0400 or 0600";
    return st->st_size > SECRET_MAX ? "is longer than 64 KiB" : NULL;
}

static char *read_secret(const struct option *o, const char *path, struct buf *faults)
{
    char name[NAME_MAX_BYTES + 8];
    (void)snprintf(name, sizeof name, "%s_FILE", o->key->env); /* length asserted in environment() */
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    const char *words = fd < 0 || fstat(fd, &st) != 0 ? strerror(errno) : mode_fault(&st);
    char *text = words ? NULL : mem_alloc(SECRET_MAX + 1);
    size_t len = 0;
    for (ssize_t n = 1; text && n > 0 && len < SECRET_MAX;) {
        n = read(fd, text + len, SECRET_MAX - len);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n < 0)
            words = strerror(errno);
        else
            len += (size_t)n;
    }
    if (fd >= 0)
        (void)close(fd); /* only read */
    if (text && words == NULL && memchr(text, 0, len))
        words = "holds a NUL byte";
    if (words) {
        fault(faults, name, "%s %s", path, words);
        mem_free(text);
        return NULL;
    }
    if (len > 0 && text[len - 1] == '\n')
        len--;
    if (len > 0 && text[len - 1] == '\r')
        len--;
    text[len] = '\0';
    return text;
}

static void find_text(struct option *o, struct buf *faults)
{
    bool asks = !(o->key->flags & CONFIG_FLAG);
    const char *plain = o->given ? o->given : asks ? environment(o->key->env, "") : NULL;
    const char *file = !is_secret(o) ? NULL : o->given_file ? o->given_file : environment(o->key->env, "_FILE");
    if (plain && file)
        fault(faults, o->key->env, "is set, and %s_FILE too: set one of them", o->key->env);
    else if (file)
        o->text = read_secret(o, file, faults);
    else
        o->text = mem_dupz(plain ? plain : o->def);
    o->is_default = !plain && !file;
}

/* ---- values into fields ---- */

static rc_t read_int(const struct config_key *key, struct str s, int64_t *ret)
{
    switch (key->type) {
    case CONFIG_DURATION:
        return num_duration_us(s, ret);
    case CONFIG_BYTES:
        return num_bytes(s, ret);
    default:
        return num_i64(s, ret);
    }
}

static bool in_bounds(const struct config_key *key, int64_t v)
{
    return (key->min == 0 && key->max == 0) || (v >= key->min && v <= key->max);
}

static bool bind_int(const struct config_key *key, struct str s, void *field)
{
    int64_t v;
    if (read_int(key, s, &v) != OK || !in_bounds(key, v))
        return false;
    memcpy(field, &v, sizeof v);
    return true;
}

/* As people write it: .1 too. */
static bool bind_f64(const struct config_key *key, struct str s, void *field)
{
    double v;
    char whole[64] = "0";
    if (s.n && s.n < sizeof whole - 1 && s.p[0] == '.') {
        memcpy(whole + 1, s.p, s.n);
        s = (struct str){whole, s.n + 1};
    }
    if (num_f64(s, &v) != OK || ((key->min || key->max) && !(v >= (double)key->min && v <= (double)key->max)))
        return false;
    memcpy(field, &v, sizeof v);
    return true;
}

static bool bind_bool(struct str s, void *field)
{
    int v;
    if (num_bool(s, &v) != OK)
        return false;
    *(bool *)field = v != 0;
    return true;
}

static bool bind_enum(const struct config_key *key, struct str s, void *field)
{
    for (const struct config_value *v = key->values; v->name; v++) {
        if (str_eqz(s, v->name)) {
            memcpy(field, &v->value, sizeof v->value);
            return true;
        }
    }
    return false;
}

static bool bind(const struct option *o, char *text)
{
    void *field = (char *)o->table->target + o->key->offset;
    struct str s = str_of(text);
    switch (o->key->type) {
    case CONFIG_STR:
        memcpy(field, &text, sizeof text);
        return true;
    case CONFIG_F64:
        return bind_f64(o->key, s, field);
    case CONFIG_BOOL:
        return bind_bool(s, field);
    case CONFIG_ENUM:
        return bind_enum(o->key, s, field);
    default:
        return bind_int(o->key, s, field);
    }
}

static void read_option(struct config *cfg, size_t i, struct buf *faults)
{
    struct option *o = &cfg->options[i], *first = &cfg->options[o->first];
    if (first->at_fault)
        return;
    if (o == first)
        find_text(o, faults);
    if (first->text == NULL) {
        first->at_fault = true; /* it is noted */
        return;
    }
    if (*first->text == '\0' && (o->key->flags & CONFIG_REQUIRED)) {
        first->at_fault = true;
        fault(faults, o->key->env, "must be set: %s", o->key->help);
        return;
    }
    struct err e = {{0}};
    if (o->key->check && *first->text && o->key->check(first->text, &e)) {
        first->at_fault = true;
        fault(faults, o->key->env, "%s", e.text);
        return;
    }
    if (bind(o, first->text))
        return;
    first->at_fault = true;
    struct buf want = {0};
    config_describe_type(o->key, &want);
    fault(faults, o->key->env, "\"%s\" is not %s", is_secret(o) ? "***" : first->text, want.data);
    buf_done(&want);
}

static void read_rule(const struct config *cfg, const struct config_rule *rule, struct buf *faults)
{
    struct err e = {{0}};
    for (size_t i = 0; i < sizeof rule->names / sizeof *rule->names; i++) {
        size_t at = find(cfg, rule->names[i]);
        assert(at < cfg->count);
        if (cfg->options[at].at_fault)
            return;
    }
    if (rule->check(rule->target, &e) == OK)
        return;
    buf_addf(faults, "%s, %s: %s\n", rule->names[0], rule->names[1], e.text);
}

rc_t config_load(struct config **ret, const struct config_spec *spec, int argc, char *const argv[], struct buf *faults)
{
    struct config *cfg = options_of(spec);
    size_t before = faults->len;
    for (int i = 1; i < argc; i++)
        if (command_of(spec, argv[i]) == NULL && read_flag(cfg, argv[i], i + 1 < argc ? argv[i + 1] : NULL, faults))
            i++;
    for (size_t i = 0; i < cfg->count; i++)
        read_option(cfg, i, faults);
    for (size_t i = 0; i < spec->rule_count; i++)
        read_rule(cfg, &spec->rules[i], faults);
    if (faults->len != before) {
        config_free(cfg);
        return E_INVALID;
    }
    *ret = cfg;
    return OK;
}

void config_print(const struct config *cfg, struct buf *to)
{
    for (size_t i = 0; i < cfg->count; i++) {
        const struct option *o = &cfg->options[i];
        if (is_repeat(cfg, i))
            continue;
        bool mask = is_secret(o) && *o->text;
        buf_addf(to, "%s=%s%s\n", o->key->env, mask ? "***" : o->text, o->is_default ? "  # default" : "");
    }
}
