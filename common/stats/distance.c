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

double measure_psi(const struct measure_input *m)
{
    double sum = 0;
    for (size_t i = 0; i < m->n; i++) {
        double t = fmax(m->t[i], PSI_ZERO), u = fmax(m->u[i], PSI_ZERO);
        sum += (t - u) * log(t / u);
    }
    return sum;
}

static double entropy_term(double p, double middle)
{
    return p > 0 ? p * log2(p / middle) : 0;
}

double measure_jensen_shannon(const struct measure_input *m)
{
    double sum = 0;
    for (size_t i = 0; i < m->n; i++) {
        double middle = (m->t[i] + m->u[i]) / 2;
        sum += entropy_term(m->t[i], middle) + entropy_term(m->u[i], middle);
    }
    return sqrt(fmin(fmax(sum / 2, 0), 1));
}

/* The area between the two cumulative shares. */
double measure_wasserstein(const struct measure_input *m)
{
    double sum = 0, ahead = 0;
    if (!m->at)
        return NAN;
    for (size_t i = 0; i + 1 < m->n; i++) {
        ahead += m->t[i] - m->u[i];
        sum += fabs(ahead) * (m->at[i + 1] - m->at[i]);
    }
    return sum;
}

double measure_chi2(const struct measure_input *m)
{
    double sum = 0, all = m->t_total + m->u_total;
    size_t cells = 0;
    for (size_t i = 0; i < m->n; i++) {
        double t = m->t[i] * m->t_total, u = m->u[i] * m->u_total, both = t + u;
        if (!(both > 0))
            continue;
        double t_expected = both * (m->t_total / all), u_expected = both * (m->u_total / all);
        sum += (t - t_expected) * (t - t_expected) / t_expected + (u - u_expected) * (u - u_expected) / u_expected;
        cells++;
    }
    return cells > 1 ? sum / (double)(cells - 1) : 0;
}

const struct measure measures[N_MEASURES] = {
    [MEASURE_PSI] = {"psi", "psi_mean", measure_psi},
    [MEASURE_JENSEN_SHANNON] = {"jensen_shannon", "jensen_shannon_mean", measure_jensen_shannon},
    [MEASURE_WASSERSTEIN] = {"wasserstein", "wasserstein_mean", measure_wasserstein},
    [MEASURE_CHI2] = {"chi2", "chi2_mean", measure_chi2},
};
