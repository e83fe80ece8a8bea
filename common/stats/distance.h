/* Distances between two discrete distributions, and the table of them.
 * t: the sample, u: the reference; n shares each, >= 0, that may add up to less than 1. Pure, no errors.
 * To add one: write the function, add its row and its DISTANCE_ index; drift.h reports all rows.
 * Definitions are MLRun's (model_monitoring/metrics/histogram_distance.py). */
#pragma once
#include <stddef.h>

enum { DISTANCE_TVD, DISTANCE_HELLINGER, DISTANCE_KLD, N_DISTANCES };

#define KLD_ZERO 1e-4 /* stands for a share of 0 below the line */

struct distance {
    const char *name;      /* as in drift_measures: tvd, hellinger, kld */
    const char *mean_name; /* MLRun's metric: tvd_mean, ... */
    double (*fn)(const double *t, const double *u, size_t n);
    int bounded; /* in [0,1]: rounding above 1 is cut */
};
extern const struct distance distances[N_DISTANCES];

double distance_tvd(const double *t, const double *u, size_t n);       /* sum |t-u| / 2 */
double distance_hellinger(const double *t, const double *u, size_t n); /* sqrt(max(1 - sum sqrt(t u), 0)) */
double distance_kld(const double *t, const double *u, size_t n);       /* KL(t,u) + KL(u,t), nats; may be infinite */

/* ---- further measures: of the same shares, but never part of general_drift; each is off unless asked for ----
 * To add one: the function, its row, its MEASURE_ index. NaN: it says nothing about these. Compared with scipy by
 * tests/support/measures_vectors.py, whose answers are tests/vectors/measures.json. */
enum { MEASURE_PSI, MEASURE_JENSEN_SHANNON, MEASURE_WASSERSTEIN, MEASURE_CHI2, N_MEASURES };

#define PSI_ZERO 1e-4 /* the least share, on both sides */

struct measure_input {
    const double *t, *u; /* shares of the sample, of the reference; n each */
    const double *at; /* where the cells lie, ascending, in units of the reference's range; NULL: they have no order */
    double t_total, u_total; /* values behind the shares */
    size_t n;
};
struct measure {
    const char *name, *mean_name; /* psi, psi_mean */
    double (*fn)(const struct measure_input *m);
};
extern const struct measure measures[N_MEASURES];

double measure_psi(const struct measure_input *m); /* sum (t-u) ln(t/u), shares below PSI_ZERO raised to it */
double measure_jensen_shannon(const struct measure_input *m); /* the distance: root of the divergence, base 2, in [0,1] */
double measure_wasserstein(const struct measure_input *m); /* earth mover's, in ranges of the reference, what is outside it just outside; NaN without order */
/* Pearson's for two samples, divided by its degrees of freedom: about 1 for two samples of one distribution. */
double measure_chi2(const struct measure_input *m);
