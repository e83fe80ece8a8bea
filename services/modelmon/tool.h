/* The command-line tool: one verb is one file and one row of verbs[] in main.c.
 *
 * To add a verb: its file with its option rows, its struct verb declared here, its row in main.c. Help and completion
 * come from the rows. A flag's value follows it or "=": --speed 2, --speed=2. */
#pragma once
#include <stddef.h>
#include "config/config.h"

/* What a verb's run returns; said in --help. */
enum { TOOL_DONE = 0, TOOL_FAILED = 1, TOOL_USAGE = 2, TOOL_DRIFT = 3, TOOL_UNKNOWN = 4 };

struct verb {
    const char *name, *operands, *summary; /* operands: "FILE", or ""; "A/B": run gets both parts */
    const char *notes;                     /* more lines for --help; NULL: none */
    size_t operands_min, operands_max;
    const struct config_key *keys; /* bound to an opts struct of opts_size */
    size_t n_keys, opts_size;
    int (*run)(const void *opts, char *const *operands, size_t n);
    int (*main)(int argc, char **argv); /* in place of all of the above: it reads its own arguments; the program's name is before them */
};
extern const struct verb *const verbs[]; /* ended by NULL */

extern const struct verb verb_run, verb_demo, verb_drift, verb_project, verb_reference, verb_endpoints, verb_results,
    verb_status, verb_replay, verb_completion, verb_export, verb_serving_spec, verb_new_app, verb_ledger, verb_letters,
    verb_token, verb_audit;

int verb_main(const struct verb *v, int argc, char **argv); /* argv[0] is the verb */
void verb_flags(const struct verb *v, void (*fn)(void *arg, const char *flag), void *arg);
