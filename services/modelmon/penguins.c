/* The data set is built in (assets/penguins.csv); the model is least squares by the normal equations. */
#include "penguins.h"

#include <assert.h>
#include <math.h>
#include "base/num.h"

struct asset { /* as scripts/embed writes it */
    const char *name;
    const unsigned char *data;
    size_t size;
};
extern const struct asset modelmon_assets[];

const char *const penguin_columns[] = {"bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"};

enum { UNKNOWNS = PENGUIN_MEASURES + 1 };

/* Up to the next comma or the line's end. */
static struct str cut(struct str *line)
{
    size_t n = 0;
    while (n < line->n && line->p[n] != ',')
        n++;
    struct str field = {line->p, n};
    size_t used = n + (n < line->n);
    *line = (struct str){line->p + used, line->n - used};
    return field;
}

static struct penguin read_line(struct str line)
{
    struct penguin p;
    for (size_t i = 0; i <= PENGUIN_MEASURES; i++) {
        double v = NAN;
        rc_t rc = num_f64(cut(&line), &v);
        assert(rc == OK); /* the file is part of the program */
        *(i < PENGUIN_MEASURES ? &p.at[i] : &p.mass) = v;
    }
    return p;
}

/* Every third Adelie is kept from the model. */
static void take_line(struct penguins *p, struct str line, size_t *adelies)
{
    struct str species = cut(&line);
    if (str_eqz(species, "Gentoo"))
        p->others[p->n_others++] = read_line(line);
    else if (str_eqz(species, "Adelie") && (*adelies)++ % 3)
        p->training[p->n_training++] = read_line(line);
    else if (str_eqz(species, "Adelie"))
        p->seen[p->n_seen++] = read_line(line);
}

static void read_all(struct penguins *p, struct arena *a)
{
    struct str rest = {(const char *)modelmon_assets[0].data, modelmon_assets[0].size};
    size_t lines = 1, adelies = 0;
    for (size_t i = 0; i < rest.n; i++)
        lines += rest.p[i] == '\n';
    p->training = arena_array(a, lines, sizeof *p->training);
    p->seen = arena_array(a, lines, sizeof *p->seen);
    p->others = arena_array(a, lines, sizeof *p->others);
    while (rest.n) {
        size_t n = 0;
        while (n < rest.n && rest.p[n] != '\n')
            n++;
        take_line(p, (struct str){rest.p, n}, &adelies);
        size_t used = n + (n < rest.n);
        rest = (struct str){rest.p + used, rest.n - used};
    }
}

static double term(const struct penguin *p, size_t i)
{
    return i ? p->at[i - 1] : 1;
}

/* Gauss and Jordan, with the largest pivot. */
static void solve(double m[UNKNOWNS][UNKNOWNS + 1])
{
    for (size_t i = 0; i < UNKNOWNS; i++) {
        size_t pivot = i;
        for (size_t k = i + 1; k < UNKNOWNS; k++)
            pivot = fabs(m[k][i]) > fabs(m[pivot][i]) ? k : pivot;
        for (size_t c = 0; c <= UNKNOWNS; c++) {
            double was = m[i][c];
            m[i][c] = m[pivot][c];
            m[pivot][c] = was;
        }
        for (size_t k = 0; k < UNKNOWNS; k++) {
            double factor = m[k][i] / m[i][i];
            for (size_t c = 0; c <= UNKNOWNS && k != i; c++)
                m[k][c] -= factor * m[i][c];
        }
    }
}

static void fit(struct penguins *p)
{
    double m[UNKNOWNS][UNKNOWNS + 1] = {{0}};
    for (size_t r = 0; r < p->n_training; r++)
        for (size_t i = 0; i < UNKNOWNS; i++) {
            const struct penguin *x = &p->training[r];
            for (size_t k = 0; k < UNKNOWNS; k++)
                m[i][k] += term(x, i) * term(x, k);
            m[i][UNKNOWNS] += term(x, i) * x->mass;
        }
    solve(m);
    for (size_t i = 0; i < UNKNOWNS; i++)
        p->weights[i] = m[i][UNKNOWNS] / m[i][i];
}

void penguins_load(struct penguins *ret, struct arena *a)
{
    *ret = (struct penguins){0};
    read_all(ret, a);
    fit(ret);
}

double penguins_estimate(const struct penguins *p, const struct penguin *of)
{
    double sum = 0;
    for (size_t i = 0; i < UNKNOWNS; i++)
        sum += p->weights[i] * term(of, i);
    return sum;
}
