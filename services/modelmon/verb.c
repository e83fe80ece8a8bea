/* A verb's command line: flags into its options, what is left are operands. */
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "tool.h"

struct line {
    char **flags, **operands; /* flags: as config_load takes them, from 1 on; owned */
    int n_flags;
    size_t n_operands;
};

static const struct config_key *key_of(const struct verb *v, const char *flag)
{
    const struct config_key *found = NULL;
    for (size_t i = 0; i < v->n_keys && !found; i++) {
        struct buf name = {0};
        config_flag_name(v->keys[i].env, &name);
        if (strcmp(name.data, flag) == 0)
            found = &v->keys[i];
        buf_done(&name);
    }
    return found;
}

/* Whether the value of this flag is the next argument. */
static bool wants_next(const struct verb *v, const char *arg)
{
    const struct config_key *key = strchr(arg, '=') ? NULL : key_of(v, arg + 2);
    return key && key->type != CONFIG_BOOL;
}

static void split(const struct verb *v, int argc, char **argv, struct line *l)
{
    l->flags = mem_array((size_t)argc + 1, sizeof *l->flags);
    l->operands = mem_array((size_t)argc + 1, sizeof *l->operands);
    l->flags[l->n_flags++] = mem_dupz(v->name);
    bool open = true;
    for (int i = 1; i < argc; i++) {
        struct buf flag = {0};
        if (open && strcmp(argv[i], "--") == 0) {
            open = false;
        } else if (!open || (strncmp(argv[i], "--", 2) != 0 && strcmp(argv[i], "-h") != 0)) {
            l->operands[l->n_operands++] = argv[i];
        } else {
            buf_addz(&flag, argv[i]);
            if (i + 1 < argc && wants_next(v, argv[i]))
                buf_addf(&flag, "=%s", argv[++i]);
            l->flags[l->n_flags++] = flag.data;
        }
    }
}

static void line_done(struct line *l)
{
    for (int i = 0; i < l->n_flags; i++)
        mem_free(l->flags[i]);
    mem_free(l->flags);
    mem_free(l->operands);
}

static int help(const struct verb *v, const struct config_spec *spec)
{
    struct buf text = {0};
    buf_addf(&text, "%s: %s\n\n  %s%s%s%s\n", spec->program, v->summary, spec->program, *v->operands ? " " : "",
             v->operands, v->n_keys ? " [OPTIONS]" : "");
    if (v->notes)
        buf_addf(&text, "\n%s\n", v->notes);
    if (v->n_keys)
        buf_addz(&text, "\nOptions\n");
    config_help_flags(spec, &text);
    bool ok = fwrite(text.data, 1, text.len, stdout) == text.len && fflush(stdout) == 0;
    buf_done(&text);
    return ok ? TOOL_DONE : TOOL_FAILED;
}

static int wrong_usage(const struct verb *v, const struct buf *faults)
{
    (void)fprintf(stderr, "modelmon %s: wrong usage\n%s`modelmon %s --help` says how.\n", v->name, faults->data, v->name);
    return TOOL_USAGE;
}

/* "PROJECT/ENDPOINT" and its like: both parts are there. */
static bool has_both_parts(const char *operand)
{
    const char *slash = strchr(operand, '/');
    return slash && slash != operand && slash[1] != '\0';
}

static int run(const struct verb *v, const struct config_spec *spec, const struct line *l, const void *opts)
{
    struct config *cfg = NULL;
    struct buf faults = {0};
    int code = TOOL_DONE;
    bool known = config_load(&cfg, spec, l->n_flags, l->flags, &faults) == OK; /* else an operand may be a flag's value */
    if (known && (l->n_operands < v->operands_min || l->n_operands > v->operands_max))
        buf_addf(&faults, "it takes %s, not %zu operands\n", *v->operands ? v->operands : "no operands", l->n_operands);
    else if (known && strchr(v->operands, '/') && !has_both_parts(l->operands[0]))
        buf_addf(&faults, "%s is wanted, not %s\n", v->operands, l->operands[0]);
    if (faults.len)
        code = wrong_usage(v, &faults);
    else
        code = v->run(opts, l->operands, l->n_operands);
    config_free(cfg);
    buf_done(&faults);
    return code;
}

int verb_main(const struct verb *v, int argc, char **argv)
{
    if (v->main)
        return v->main(argc, argv);
    struct buf program = {0};
    struct line l = {0};
    void *opts = mem_alloc(v->opts_size + 1);
    buf_addf(&program, "modelmon %s", v->name);
    const struct config_table table = {"Options", v->keys, v->n_keys, opts};
    const struct config_spec spec = {.program = program.data, .summary = v->summary, .tables = &table, .table_count = 1};
    split(v, argc, argv, &l);
    bool asks = false;
    for (int i = 1; i < l.n_flags; i++)
        asks = asks || strcmp(l.flags[i], "--help") == 0 || strcmp(l.flags[i], "-h") == 0;
    int code = asks ? help(v, &spec) : run(v, &spec, &l, opts);
    line_done(&l);
    mem_free(opts);
    buf_done(&program);
    return code;
}

void verb_flags(const struct verb *v, void (*fn)(void *arg, const char *flag), void *arg)
{
    for (size_t i = 0; i < v->n_keys; i++) {
        struct buf flag = {0};
        buf_addz(&flag, "--");
        config_flag_name(v->keys[i].env, &flag);
        fn(arg, flag.data);
        buf_done(&flag);
    }
}
