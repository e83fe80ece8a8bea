/* Owns the distances and their table. */
#include "stats/distance.h"

#include <math.h>

double distance_tvd(const double *t, const double *u, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += fabs(t[i] - u[i]);
    return sum / 2;
}

double distance_hellinger(const double *t, const double *u, size_t n)
{
    double overlap = 0;
    for (size_t i = 0; i < n; i++)
        overlap += sqrt(u[i] * t[i]);
    return sqrt(fmax(1 - overlap, 0));
}

static double kl_term(double p, double q)
{
    return p > 0 ? p * log(p / (q > 0 ? q : KLD_ZERO)) : 0;
}

double distance_kld(const double *t, const double *u, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        if (t[i] != u[i]) /* equal shares add 0 both ways */
            sum += kl_term(t[i], u[i]) + kl_term(u[i], t[i]);
    return sum;
}

const struct distance distances[N_DISTANCES] = {
    [DISTANCE_TVD] = {"tvd", "tvd_mean", distance_tvd, 1},
    [DISTANCE_HELLINGER] = {"hellinger", "hellinger_mean", distance_hellinger, 1},
    [DISTANCE_KLD] = {"kld", "kld_mean", distance_kld, 0},
};
