"""What scipy says of the further measures (common/stats/distance.h), for tests/vectors/measures.json:

    python3 -m venv /tmp/v && /tmp/v/bin/pip install scipy && /tmp/v/bin/python tests/support/measures_vectors.py > tests/vectors/measures.json

No test runs it: the recorded answers are what the unit test compares with.
"""
import json
import sys

import numpy
import scipy
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, wasserstein_distance


def psi(t, u):
    t, u = numpy.maximum(t, 1e-4), numpy.maximum(u, 1e-4)
    return float(numpy.sum((t - u) * numpy.log(t / u)))


def chi2(t, u):
    table = numpy.array([t, u], dtype=float)
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 0.0
    found = chi2_contingency(table, correction=False)
    return float(found.statistic / found.dof)


def case(name, t, u, at):
    t, u = numpy.asarray(t, dtype=float), numpy.asarray(u, dtype=float)
    p, q = t / t.sum(), u / u.sum()
    return {"name": name, "t": t.tolist(), "u": u.tolist(), "at": list(map(float, at)), "psi": psi(p, q),
            "jensen_shannon": float(jensenshannon(p, q, base=2)), "wasserstein": float(wasserstein_distance(at, at, p, q)),
            "chi2": chi2(t, u)}


def main():
    rng = numpy.random.default_rng(11)
    cases = [case("identical", [5, 5, 10], [5, 5, 10], [0, 0.5, 1]),
             case("apart", [10, 0, 0], [0, 0, 20], [0.1, 0.5, 0.9]),
             case("empty cells", [3, 0, 7, 0], [30, 0, 60, 10], [0, 0.25, 0.5, 0.75]),
             case("one cell", [4, 0], [9, 0], [0, 1])]
    for n in (5, 22, 66):
        for size in (50, 5000):
            edges = numpy.sort(rng.uniform(size=n))
            cases.append(case(f"random {n} {size}", rng.multinomial(size, rng.dirichlet(numpy.ones(n))),
                              rng.multinomial(2000, rng.dirichlet(numpy.ones(n))), edges))
    json.dump({"scipy": scipy.__version__, "numpy": numpy.__version__, "cases": cases}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
