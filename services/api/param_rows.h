/* How rows are written, in params.c and bodies.c alone. */
#pragma once
#include "param.h"

#define TEXT(name_, help_)                                                                                             \
    {                                                                                                                  \
        .name = name_, .kind = PARAM_TEXT, .help = help_                                                               \
    }
#define TEXTS(name_, help_)                                                                                            \
    {                                                                                                                  \
        .name = name_, .kind = PARAM_TEXT, .many = true, .help = help_                                                 \
    }
#define FLAG(name_, help_)                                                                                             \
    {                                                                                                                  \
        .name = name_, .kind = PARAM_FLAG, .help = help_                                                               \
    }
#define INT(name_, min_, max_, help_)                                                                                  \
    {                                                                                                                  \
        .name = name_, .kind = PARAM_INT, .min = min_, .max = max_, .help = help_                                      \
    }
#define CHOICE(name_, choices_, help_)                                                                                 \
    {                                                                                                                  \
        .name = name_, .kind = PARAM_CHOICE, .choices = choices_, .help = help_                                        \
    }
#define END                                                                                                            \
    {                                                                                                                  \
        .name = NULL                                                                                                   \
    }
