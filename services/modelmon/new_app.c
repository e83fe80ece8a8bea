/* modelmon new-app: scripts/new-app of the source tree that the app is built with. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/buf.h"
#include "tool.h"

struct new_app_options {
    const char *dir;
};
static const struct config_key keys[] = {
    {.env = "DIR",
     .def = "",
     .type = CONFIG_STR,
     .flags = CONFIG_FLAG,
     .offset = offsetof(struct new_app_options, dir),
     .help = "The source tree; the one this program was built in, else the current folder, unless set."},
};

/* build/bin/modelmon: two folders up. */
static void find_tree(const char *asked, struct buf *ret)
{
    char *self = realpath("/proc/self/exe", NULL);
    char *end = self ? strstr(self, "/build/bin/") : NULL;
    if (*asked)
        buf_addz(ret, asked);
    else if (end)
        buf_add(ret, self, (size_t)(end - self));
    else
        buf_addz(ret, ".");
    free(self);
}

static int run(const void *opts, char *const *operands, size_t n)
{
    const struct new_app_options *o = opts;
    struct buf tree = {0}, script = {0};
    (void)n; /* it is one */
    find_tree(o->dir, &tree);
    buf_addf(&script, "%s/scripts/new-app", tree.data);
    (void)execl(script.data, "new-app", operands[0], tree.data, (char *)NULL); /* comes back only if it cannot */
    (void)fprintf(stderr, "modelmon new-app: %s: %s: an app is built in the source tree; set --dir to it\n",
                  script.data, strerror(errno));
    buf_done(&tree);
    buf_done(&script);
    return TOOL_FAILED;
}

const struct verb verb_new_app = {
    .name = "new-app",
    .operands = "NAME",
    .summary = "Makes services/NAME: an app of your own that builds, runs and is tested.",
    .notes = "Exit codes: 0 made, 1 no source tree, 2 a name that cannot be, or is there already.",
    .operands_min = 1,
    .operands_max = 1,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .opts_size = sizeof(struct new_app_options),
    .run = run,
};
