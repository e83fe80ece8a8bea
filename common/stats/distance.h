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
