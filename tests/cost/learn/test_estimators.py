"""The learners are scikit-learn estimators: its own checks run over them, and none fails.

Two of its checks skip themselves for every estimator: array API input (needs SCIPY_ARRAY_API=1 before SciPy is loaded)
and pandas objects (where pandas is not installed). For estimators that take sample weights, classify or transform,
scikit-learn has checks that do not concern these regressors, and does not run them.
"""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from pennyweight.cost.learn.adaline import Adaline
from pennyweight.cost.learn.bayesian import BayesianRidge
from pennyweight.cost.learn.boosting import Boosting
from pennyweight.cost.learn.weighted import LocallyWeightedRegression

ESTIMATORS = [
    BayesianRidge(),
    Adaline(),
    LocallyWeightedRegression(),
    LocallyWeightedRegression("polynomial"),
    LocallyWeightedRegression("laplacian"),
    Boosting(),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_accepts_it(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_it_works_in_a_pipeline_and_a_search(estimator):
    random = np.random.default_rng(0)
    x = random.normal(size=(120, 2))
    name, *choices = {"Adaline": ("rate", 0.1, 0.5), "BayesianRidge": ("misfit", 2.5, 4.0)}.get(
        type(estimator).__name__, ("ridge", 0.01, 1.0)
    )
    step = type(estimator).__name__.lower()
    search = GridSearchCV(make_pipeline(StandardScaler(), clone(estimator)), {f"{step}__{name}": choices}, cv=3)
    assert search.fit(x, x @ [1.0, -2.0] + 0.05 * random.normal(size=120)).best_score_ > 0.7


def test_neither_the_package_nor_predicting_imports_scikit_learn():
    program = (
        "import sys, numpy as np; import pennyweight, pennyweight.cost.learn; from pennyweight.cli.app import app; "
        "from pennyweight.cost.learn.boosted import Boosted; from pennyweight.cost.learn.conformal import Conformal; "
        "from pennyweight.cost.learn.nearest import Nearest; from pennyweight.cost.learn.trees import Split, Tree; "
        "x = np.zeros((3, 1)); Boosted(1, 0.0, (Tree((Split(0, 0.0, 0, 1, False),), (1.0, 2.0)),)).predict(x); "
        "Conformal.of([0.1, 0.2]).interval(1.0); Nearest.of(x).outside(x); "
        "print([name for name in ('sklearn', 'scipy', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
