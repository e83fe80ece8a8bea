/* modelmon: the table of its verbs. */
#include <stdio.h>
#include <string.h>
#include "service/service.h"
#include "tool.h"

const struct verb *const verbs[] = {&verb_run,          &verb_demo,       &verb_drift,   &verb_project, &verb_reference,
                                    &verb_endpoints,    &verb_results,    &verb_status,  &verb_replay,  &verb_export,
                                    &verb_new_app,      &verb_ledger,     &verb_letters, &verb_token,   &verb_audit,
                                    &verb_serving_spec, &verb_completion, NULL};

static int help(FILE *to, int code)
{
    (void)fprintf(to, "modelmon: model monitoring in one program.\n\n  modelmon VERB [OPTIONS]\n\n");
    for (size_t i = 0; verbs[i]; i++)
        (void)fprintf(to, "  %-12s %s\n", verbs[i]->name, verbs[i]->summary);
    (void)fprintf(to, "\nmodelmon VERB --help says more. Exit codes: 0 done, 1 failed, 2 wrong usage.\n");
    return code;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "--help";
    for (size_t i = 0; verbs[i]; i++)
        if (strcmp(verbs[i]->name, name) == 0)
            return verb_main(verbs[i], argc - 1, argv + 1);
    if (strcmp(name, "--help") == 0 || strcmp(name, "help") == 0)
        return help(stdout, 0);
    if (strcmp(name, "--version") == 0)
        return printf("modelmon %s\n", service_version()) > 0 ? 0 : TOOL_FAILED;
    (void)fprintf(stderr, "modelmon: there is no verb %s\n\n", name);
    return help(stderr, TOOL_USAGE);
}
