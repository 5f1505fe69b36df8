"""Writes length_controlled.json: win rates at equal length by scikit-learn's logistic regression, and what resampling says of their error.

The minimal model of AlpacaEval's length-controlled win rate: logit p = theta + phi tanh((b - a) / deviation), soft labels as weighted rows,
a ridge of 1e-3. statsmodels' fit without a ridge stands beside it where there is one.

Run: python test/golden/length_controlled.py, with scikit-learn and statsmodels. Seen with scikit-learn 1.9, statsmodels 0.15.
"""
import json
import os
import warnings

import numpy as np
import statsmodels.api as sm
from sklearn.linear_model import LogisticRegression

RIDGE = 1e-3
here = os.path.dirname(os.path.abspath(__file__))
warnings.simplefilter("error")


def features(lengths):
    difference = lengths[:, 1] - lengths[:, 0]
    scale = difference.std(ddof=1)
    x = np.tanh(difference / scale) if scale > 0 else np.zeros(len(difference))
    return np.stack([np.ones(len(x)), x], axis=1)


def fit(points, lengths):
    X = features(lengths)
    rows = np.concatenate([X, X])
    labels = np.concatenate([np.ones(len(X)), np.zeros(len(X))])
    weights = np.concatenate([points, 1 - points])
    kept = weights > 0
    if len(set(labels[kept])) == 1:  # scikit-learn wants both classes: a row of no weight
        kept[np.flatnonzero(~kept)[0]] = True
        weights = np.where(weights == 0, 1e-15, weights)
    model = LogisticRegression(C=1 / RIDGE, fit_intercept=False, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    model.fit(rows[kept], labels[kept], sample_weight=weights[kept])
    return model.coef_[0]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def case(name, points, lengths, resampled):
    points, lengths = np.array(points, float), np.array(lengths, float)
    theta, phi = fit(points, lengths)
    found = {"name": name, "points": points.tolist(), "lengths": lengths.astype(int).tolist(), "theta": theta, "phi": phi, "win_rate": 100 * sigmoid(theta)}
    n = len(points)
    found["plain"] = {"win_rate": 100 * points.mean(), "standard_error": 100 * points.std(ddof=1) / np.sqrt(n)}
    if resampled:
        free = sm.GLM(points, features(lengths), family=sm.families.Binomial()).fit(tol=1e-12).params
        found["free"] = free.tolist()
        assert abs(free - [theta, phi]).max() < 1e-2, (name, free, theta, phi)
        random = np.random.default_rng(7)
        rates = []
        for _ in range(1000):
            i = random.integers(0, n, n)
            rates.append(100 * sigmoid(fit(points[i], lengths[i])[0]))
        found["standard_error"] = float(np.std(rates, ddof=1))
    return found


random = np.random.default_rng(3)
lengths = random.integers(20, 400, (120, 2))
lengths[:, 0] += 60
longer = sigmoid((lengths[:, 0] - lengths[:, 1]) / 90 - 0.3)
biased = np.round(2 * np.clip(longer + random.normal(0, 0.35, 120), 0, 1)) / 2
few = [1, 1, 0.5, 0, 1, 0.5, 0, 0, 1]
cases = [
    case("a judge that likes length", biased, lengths, True),
    case("few pairs", few, [[10, 12], [40, 9], [33, 33], [5, 80], [70, 20], [15, 14], [9, 9], [22, 30], [18, 50]], True),
    case("all won", np.ones(40), random.integers(5, 90, (40, 2)), False),
    case("all tied", np.full(12, 0.5), random.integers(5, 90, (12, 2)), False),
    case("one length", few, [[10, 30]] * 9, False),
]
with open(os.path.join(here, "length_controlled.json"), "w") as file:
    json.dump(cases, file)
for one in cases:
    print({key: value for key, value in one.items() if key not in ("points", "lengths")})
