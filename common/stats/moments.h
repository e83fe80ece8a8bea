/* Count, mean, spread and range of finite doubles, mergeable in any order and grouping (up to rounding).
 * Source: Welford 1962 for one value, Chan, Golub, LeVeque 1979 for a merge. No ownership, no errors. */
#pragma once
#include <stdint.h>

struct moments {
    uint64_t n;
    double mean, m2; /* m2: sum of squared distances from the mean */
    double min, max; /* only when n > 0 */
};

void moments_add(struct moments *m, double x); /* x finite */
void moments_merge(struct moments *dst, const struct moments *src);
double moments_std(const struct moments *m); /* n - 1 below it, as pandas; NaN when n < 2 */
