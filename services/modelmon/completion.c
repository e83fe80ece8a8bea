/* modelmon completion: a bash script made of the tables. The options of run are asked for when they are wanted. */
#include "term.h"
#include "tool.h"

static void add_word(void *arg, const char *flag)
{
    buf_addf(arg, "%s ", flag);
}

static int run(const void *opts, char *const *operands, size_t n)
{
    struct buf out = {0};
    (void)opts, (void)operands, (void)n; /* there are none */
    buf_addz(&out, "# bash: source <(modelmon completion)\n_modelmon() {\n"
                   "    local cur=${COMP_WORDS[COMP_CWORD]} words\n    COMPREPLY=()\n"
                   "    if [ \"$COMP_CWORD\" = 1 ]; then\n        words=\"--help --version ");
    for (size_t i = 0; verbs[i]; i++)
        buf_addf(&out, "%s ", verbs[i]->name);
    buf_addz(&out, "\"\n    else\n        case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; verbs[i]; i++) {
        buf_addf(&out, "        %s) words=\"--help ", verbs[i]->name);
        verb_flags(verbs[i], add_word, &out);
        buf_addz(&out, "\" ;;\n");
    }
    buf_addz(&out, "        esac\n        if [ \"${COMP_WORDS[1]}\" = run ]; then\n"
                   "            words=\"$words $(modelmon run --print-config 2> /dev/null |\n"
                   "                sed -n 's/^\\([A-Z_]*\\)=.*/--\\1=/p' | tr 'A-Z_' 'a-z-')\"\n        fi\n    fi\n"
                   "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
                   "    [ \"$COMP_CWORD\" = 1 ] || [[ $cur == --* ]] || mapfile -t -O \"${#COMPREPLY[@]}\" COMPREPLY < "
                   "<(compgen -f -- \"$cur\")\n"
                   "}\ncomplete -F _modelmon modelmon\n");
    return term_put(&out);
}

const struct verb verb_completion = {.name = "completion",
                                     .operands = "",
                                     .summary = "Prints a completion for bash: source <(modelmon completion).",
                                     .run = run};
