/* The demo's data set and its model: penguins measured in Antarctica, and what one weighs judged by three measurements. */
#pragma once
#include <stddef.h>
#include "base/arena.h"

enum { PENGUIN_MEASURES = 3 };
extern const char *const penguin_columns[PENGUIN_MEASURES + 1]; /* the last is what is estimated */

struct penguin {
    double at[PENGUIN_MEASURES];
    double mass;
};
struct penguins {
    struct penguin *training, *seen, *others; /* Adelie the model learns from, Adelie it does not know, Gentoo */
    size_t n_training, n_seen, n_others;
    double weights[PENGUIN_MEASURES + 1];
};
void penguins_load(struct penguins *ret, struct arena *a); /* and fits the model; the arena holds them */
double penguins_estimate(const struct penguins *p, const struct penguin *of);
