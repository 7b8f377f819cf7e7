"""Estimators go on learning where they were, without pickle; what cannot be is refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from absent import required

sklearn = required("sklearn")

from sklearn import (  # noqa: E402
    cluster,
    compose,
    decomposition,
    ensemble,
    feature_selection,
    impute,
    isotonic,
    linear_model,
    metrics,
    model_selection,
    multioutput,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)
from sklearn.base import clone  # noqa: E402
from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.multiclass import OneVsRestClassifier  # noqa: E402

import holdfast  # noqa: E402
from holdfast.errors import DataError, Mismatch, UnsupportedLeaf  # noqa: E402
from holdfast.frameworks import sklearn_trees, sklearn_values  # noqa: E402

RNG = np.random.default_rng(0)
X = np.abs(RNG.normal(size=(240, 6)))
Y = (X[:, 0] + X[:, 1] > 1.5).astype(int)
LABELS = np.array(["no", "yes"], dtype=object)[Y]
CUT = 80

LEARNERS: dict[str, Any] = {
    "sgd": linear_model.SGDClassifier(loss="log_loss", average=True, random_state=1),
    "sgd regressor": linear_model.SGDRegressor(learning_rate="adaptive", random_state=1),
    "one class": linear_model.SGDOneClassSVM(random_state=1),
    "perceptron": linear_model.Perceptron(random_state=1),
    "mlp": neural_network.MLPClassifier((8, 4), random_state=1),
    "mlp sgd": neural_network.MLPRegressor(
        hidden_layer_sizes=(8,), solver="sgd", momentum=0.9, random_state=1
    ),
    "rbm": neural_network.BernoulliRBM(4, random_state=1),
    "gaussian": naive_bayes.GaussianNB(),
    "multinomial": naive_bayes.MultinomialNB(),
    "bernoulli": naive_bayes.BernoulliNB(),
    "complement": naive_bayes.ComplementNB(),
    "k-means": cluster.MiniBatchKMeans(3, random_state=1, n_init=1),
    "pca": decomposition.IncrementalPCA(2),
    "lda": decomposition.LatentDirichletAllocation(2, random_state=1),
    "nmf": decomposition.MiniBatchNMF(2, random_state=1, init="random"),
    "dictionary": decomposition.MiniBatchDictionaryLearning(2, random_state=1),
    "scaler": preprocessing.StandardScaler(),
    "min max": preprocessing.MinMaxScaler(),
    "max abs": preprocessing.MaxAbsScaler(),
    "one of all": OneVsRestClassifier(linear_model.SGDClassifier(alpha=0.01, random_state=1)),
    "outputs": multioutput.MultiOutputRegressor(linear_model.SGDRegressor(random_state=1)),
    "selected": feature_selection.SelectFromModel(linear_model.SGDClassifier(random_state=1)),
}


def teach(learner: Any, begin: int, end: int, labels: Any = Y) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(begin, end, 40):
            x, y = X[i : i + 40], labels[i : i + 40]
            if isinstance(learner, multioutput.MultiOutputRegressor):
                learner.partial_fit(x, x[:, :2])
            elif (
                hasattr(learner, "classes_")
                or hasattr(learner, "predict_log_proba")
                or (
                    sklearn.base.is_classifier(learner)
                    or isinstance(learner, feature_selection.SelectFromModel)
                )
            ):
                learner.partial_fit(x, y, classes=np.unique(labels))
            elif sklearn.base.is_regressor(learner):
                learner.partial_fit(x, y)
            else:
                learner.partial_fit(x)
    return learner


def answers(learner: Any) -> bytes:
    for name in ("decision_function", "predict_proba", "transform", "predict"):
        if hasattr(learner, name):
            return np.ascontiguousarray(getattr(learner, name)(X)).tobytes()
    raise AssertionError


@pytest.mark.parametrize("name", LEARNERS)
def test_learners_go_on_to_the_last_bit(tmp_path: Path, name: str) -> None:
    learner = teach(clone(LEARNERS[name]), 0, CUT)
    holdfast.save(tmp_path, {"learner": learner}, run="r", step=0)
    fresh = clone(LEARNERS[name])
    holdfast.load(tmp_path, "r@0", into={"learner": fresh})
    assert answers(fresh) == answers(learner)
    assert answers(teach(fresh, CUT, 240)) == answers(teach(learner, CUT, 240))


def test_labels_that_are_objects(tmp_path: Path) -> None:
    learner = linear_model.SGDClassifier(random_state=1)
    teach(learner, 0, CUT, LABELS)
    holdfast.save(tmp_path, {"learner": learner}, run="r", step=0)
    fresh = linear_model.SGDClassifier(random_state=1)
    holdfast.load(tmp_path, "r@0", into={"learner": fresh})
    assert fresh.classes_.dtype == learner.classes_.dtype
    assert list(fresh.predict(X)) == list(learner.predict(X))
    encoder = preprocessing.OneHotEncoder().fit(LABELS[:, None])
    assert encoder.categories_[0].dtype == object
    holdfast.save(tmp_path, {"encoder": encoder}, run="r", step=1)
    other = preprocessing.OneHotEncoder()
    holdfast.load(tmp_path, "r@1", into={"encoder": other})
    assert other.categories_[0].dtype == object and list(other.categories_[0]) == ["no", "yes"]
    assert (other.transform(LABELS[:, None]) != encoder.transform(LABELS[:, None])).nnz == 0


def test_a_generator_among_the_parameters_goes_on(tmp_path: Path) -> None:
    def made() -> Any:
        return linear_model.SGDClassifier(random_state=np.random.RandomState(3))

    learner = teach(made(), 0, CUT)
    holdfast.save(tmp_path, {"learner": learner}, run="r", step=0)
    fresh = made()
    holdfast.load(tmp_path, "r@0", into={"learner": fresh})
    assert answers(teach(fresh, CUT, 240)) == answers(teach(learner, CUT, 240))


def test_pipelines_and_columns_that_were_fitted(tmp_path: Path) -> None:
    def made() -> Any:
        columns = compose.ColumnTransformer(
            [
                ("a", preprocessing.StandardScaler(), [0, 1]),
                ("b", "passthrough", [2]),
                ("c", preprocessing.OneHotEncoder(handle_unknown="ignore"), [3]),
                ("d", impute.SimpleImputer(), [4]),
                (
                    "e",
                    preprocessing.KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"),
                    [5],
                ),
            ]
        )
        return pipeline.make_pipeline(columns, linear_model.LogisticRegression())

    learner = made().fit(X, Y)
    holdfast.save(tmp_path, {"learner": learner}, run="r", step=0)
    fresh = made()
    holdfast.load(tmp_path, "r@0", into={"learner": fresh})
    assert answers(fresh) == answers(learner)


ONCE: dict[str, Any] = {
    "tree": tree.DecisionTreeRegressor(max_leaf_nodes=9, random_state=1),
    "two outputs": tree.ExtraTreeClassifier(random_state=1),
    "forest": ensemble.RandomForestClassifier(5, random_state=1),
    "isolation": ensemble.IsolationForest(n_estimators=5, random_state=1),
    "boosting": ensemble.GradientBoostingRegressor(n_estimators=5, random_state=1),
    "adaboost": ensemble.AdaBoostClassifier(n_estimators=5, random_state=1),
    "stacking": ensemble.StackingClassifier(
        [("a", naive_bayes.GaussianNB()), ("b", tree.DecisionTreeClassifier(random_state=1))], cv=2
    ),
    "search": model_selection.GridSearchCV(
        ensemble.VotingClassifier([("a", naive_bayes.GaussianNB())]),
        {"weights": [[1], [2]]},
        cv=2,
    ),
}


@pytest.mark.parametrize("name", ONCE)
def test_what_is_fitted_once_predicts_the_same(tmp_path: Path, name: str) -> None:
    learner = clone(ONCE[name]).fit(X, np.stack([Y, 1 - Y], 1) if name == "two outputs" else Y)
    holdfast.save(tmp_path, {"learner": learner}, run="r", step=0)
    fresh = clone(ONCE[name])
    holdfast.load(tmp_path, "r@0", into={"learner": fresh})
    assert answers(fresh) == answers(learner)
    assert np.array_equal(fresh.predict(-X * 50), learner.predict(-X * 50))


def test_what_a_search_has_found_comes_back_with_its_masks(tmp_path: Path) -> None:
    grid = [{"alpha": [0.1, 1.0]}, {"fit_prior": [False]}]
    search = model_selection.GridSearchCV(naive_bayes.BernoulliNB(), grid, cv=2).fit(X, Y)
    holdfast.save(tmp_path, {"search": search}, run="r", step=0)
    fresh = model_selection.GridSearchCV(naive_bayes.BernoulliNB(), grid, cv=2)
    holdfast.load(tmp_path, "r@0", into={"search": fresh})
    for name in ("param_alpha", "param_fit_prior"):
        found, wanted = fresh.cv_results_[name], search.cv_results_[name]
        assert found.mask.tolist() == wanted.mask.tolist() and found.tolist() == wanted.tolist()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("left_child", 10**6),
        ("left_child", 0),
        ("left_child", -1),
        ("right_child", 1),
        ("feature", 6),
        ("feature", -5),
        ("max_depth", 0),
        ("n_features", 0),
        ("n_classes", np.array([0])),
        ("n_classes", np.array([2, 2])),
        ("values", np.zeros((1, 1, 2))),
        ("threshold", np.zeros(1)),
    ],
)
def test_a_tree_that_is_none_is_refused(tmp_path: Path, column: str, value: Any) -> None:
    saved = sklearn_trees.encode(tree.DecisionTreeClassifier(random_state=1).fit(X, Y).tree_)
    assert sklearn_trees.decode(saved).node_count == len(saved[sklearn_trees.TREE]["feature"])
    if column in saved:
        saved[column] = value
    elif isinstance(value, int):
        saved[sklearn_trees.TREE][column][0] = value
    else:
        saved[sklearn_trees.TREE][column] = value[:0]
    with pytest.raises(DataError, match="A decision tree is none"):
        sklearn_trees.decode(saved)


def test_a_tree_of_another_scikit_learn_says_so() -> None:
    saved = sklearn_trees.encode(tree.DecisionTreeClassifier().fit(X, Y).tree_)
    del saved[sklearn_trees.TREE]["missing_go_to_left"]
    with pytest.raises(Mismatch, match="missing_go_to_left"):
        sklearn_trees.decode(saved)


@pytest.mark.parametrize("kind", ["kd_tree", "ball_tree"])
def test_what_c_code_keeps_to_itself_is_refused(tmp_path: Path, kind: str) -> None:
    learner = neighbors.KNeighborsClassifier(algorithm=kind).fit(X, Y)
    with pytest.raises(UnsupportedLeaf, match=r"'learner'.*Tree.*algorithm='brute'"):
        holdfast.save(tmp_path, {"learner": learner}, run="r", step=0)
    learner.set_params(algorithm="brute").fit(X, Y)
    holdfast.save(tmp_path, {"learner": learner}, run="r", step=0)
    fresh = neighbors.KNeighborsClassifier(algorithm="brute")
    holdfast.load(tmp_path, "r@0", into={"learner": fresh})
    assert answers(fresh) == answers(learner)


def test_another_class_is_told_before_anything_changes(tmp_path: Path) -> None:
    learner = teach(linear_model.SGDClassifier(), 0, CUT)
    holdfast.save(tmp_path, {"learner": learner}, run="r", step=0)
    other = naive_bayes.GaussianNB()
    with pytest.raises(Mismatch, match="saved from a SGDClassifier, wanted a GaussianNB"):
        holdfast.load(tmp_path, "r@0", into={"learner": other})
    assert not hasattr(other, "classes_")


def test_another_class_in_a_pipeline_is_told_before_anything_changes(tmp_path: Path) -> None:
    learner = pipeline.make_pipeline(preprocessing.StandardScaler(), naive_bayes.GaussianNB())
    holdfast.save(tmp_path, {"learner": learner.fit(X, Y)}, run="r", step=0)
    first, last = preprocessing.StandardScaler(), naive_bayes.BernoulliNB()
    other = pipeline.make_pipeline(first, last)
    with pytest.raises(Mismatch, match=r"saved from a .*GaussianNB, wanted a .*BernoulliNB"):
        holdfast.load(tmp_path, "r@0", into={"learner": other})
    with pytest.raises(Mismatch, match="saved from a list of 2, wanted a list of 1"):
        holdfast.load(tmp_path, "r@0", into={"learner": pipeline.make_pipeline(first)})
    assert not hasattr(first, "mean_") and not hasattr(last, "classes_")


# --- gradient boosting ---


def test_an_xgboost_booster_goes_on(tmp_path: Path) -> None:
    xgboost = required("xgboost")
    data = xgboost.DMatrix(X, Y, feature_names=list("abcdef"))
    params = {"objective": "binary:logistic", "subsample": 0.8, "nthread": 1}
    # Else its generator goes on from call to call, and XGBoost does not tell where it is.
    params |= {"seed": 3, "seed_per_iteration": True}
    booster = xgboost.train(params, data, 5)
    booster.set_attr(note="mine")
    holdfast.save(tmp_path, {"booster": booster}, run="r", step=0)
    found = holdfast.load(tmp_path, "r@0")["booster"]
    assert found.predict(data).tobytes() == booster.predict(data).tobytes()
    assert found.attr("note") == "mine" and found.feature_names == list("abcdef")
    into = {"booster": xgboost.Booster()}
    standing = into["booster"]
    holdfast.load(tmp_path, "r@0", into=into)
    assert into["booster"] is standing
    ends = [xgboost.train(params, data, 5, xgb_model=b) for b in (booster, found, standing)]
    assert len({b.predict(data).tobytes() for b in ends}) == 1
    assert len({bytes(b.save_raw("json")) for b in ends}) == 1


def test_an_xgboost_estimator(tmp_path: Path) -> None:
    xgboost = required("xgboost")
    learner = xgboost.XGBClassifier(n_estimators=5, random_state=1, n_jobs=1).fit(X, Y)
    holdfast.save(tmp_path, {"learner": learner}, run="r", step=0)
    fresh = xgboost.XGBClassifier(n_estimators=5, random_state=1, n_jobs=1)
    holdfast.load(tmp_path, "r@0", into={"learner": fresh})
    assert fresh.predict_proba(X).tobytes() == learner.predict_proba(X).tobytes()


def test_a_lightgbm_booster_goes_on(tmp_path: Path) -> None:
    lightgbm = required("lightgbm")
    params = {"objective": "binary", "verbose": -1, "num_threads": 1, "deterministic": True}

    def data() -> Any:
        return lightgbm.Dataset(X, Y, free_raw_data=False)

    booster = lightgbm.train(params, data(), 5)
    holdfast.save(tmp_path, {"booster": booster}, run="r", step=0)
    into: dict[str, Any] = {"booster": None}
    holdfast.load(tmp_path, "r@0", into=into)
    found = into["booster"]
    assert found.predict(X).tobytes() == booster.predict(X).tobytes()
    ends = [lightgbm.train(params, data(), 5, init_model=b) for b in (booster, found)]
    assert ends[0].predict(X).tobytes() == ends[1].predict(X).tobytes()


def test_a_lightgbm_estimator_with_labels(tmp_path: Path) -> None:
    lightgbm = required("lightgbm")
    learner = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(X, LABELS)
    holdfast.save(tmp_path, {"learner": learner}, run="r", step=0)
    fresh = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1)
    holdfast.load(tmp_path, "r@0", into={"learner": fresh})
    assert list(fresh.predict(X)) == list(learner.predict(X))
    assert fresh.predict_proba(X).tobytes() == learner.predict_proba(X).tobytes()


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("HistGradientBoostingRegressor", "predict"),
        ("HistGradientBoostingClassifier", "predict_proba"),
        ("PoissonRegressor", "predict"),
        ("TweedieRegressor", "predict"),
    ],
)
def test_what_predicts_by_its_loss_predicts_the_same(
    tmp_path: Path, name: str, method: str
) -> None:
    kind = getattr(ensemble, name, None) or getattr(linear_model, name)
    x = np.random.default_rng(0).normal(size=(60, 3))
    y = (x[:, 0] > 0).astype(int) + 1
    model = kind(max_iter=5).fit(x, y)
    holdfast.save(tmp_path, {"m": model}, run="r", step=0)
    other = kind(**model.get_params())
    holdfast.load(tmp_path, "r@0", into={"m": other})
    assert np.array_equal(getattr(other, method)(x), getattr(model, method)(x))


def _own_score(estimator: Any, x: Any, y: Any) -> float:
    return float(np.mean(estimator.predict(x) == y)) / 2


@pytest.mark.parametrize(
    "scoring",
    ["f1", ["f1", "accuracy"], metrics.make_scorer(metrics.f1_score), _own_score],
    ids=["name", "names", "made", "own"],
)
def test_a_search_scores_as_before(tmp_path: Path, scoring: Any) -> None:
    search = model_selection.GridSearchCV(
        naive_bayes.BernoulliNB(), {"alpha": [0.1, 1.0]}, cv=2, scoring=scoring, refit="f1"
    )
    fitted, fresh = clone(search).fit(X, Y), clone(search)
    holdfast.save(tmp_path, {"e": fitted}, run="r", step=0)
    holdfast.load(tmp_path, "r@0", into={"e": fresh})
    assert fresh.score(X, Y) == fitted.score(X, Y)


def test_a_tuned_threshold_predicts_as_before(tmp_path: Path) -> None:
    tuned = model_selection.TunedThresholdClassifierCV(naive_bayes.GaussianNB(), cv=2)
    fitted, fresh = clone(tuned).fit(X, Y), clone(tuned)
    holdfast.save(tmp_path, {"e": fitted}, run="r", step=0)
    holdfast.load(tmp_path, "r@0", into={"e": fresh})
    assert fresh.predict(X).tolist() == fitted.predict(X).tolist()


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_array"])
def test_what_learnt_of_sparse_rows_predicts_as_before(tmp_path: Path, kind: str) -> None:
    rows = getattr(scipy.sparse, kind)(X * (X > 0.5))
    for name, estimator in {
        "svc": svm.SVC(),
        "neighbours": neighbors.KNeighborsClassifier(algorithm="brute"),
        "sparse weights": linear_model.SGDClassifier(penalty="l1", random_state=1),
    }.items():
        fitted, fresh = clone(estimator).fit(rows, Y), clone(estimator)
        if name == "sparse weights":
            fitted.sparsify()
        holdfast.save(tmp_path, {"e": fitted}, run=f"r {name}", step=0)
        holdfast.load(tmp_path, f"r {name}@0", into={"e": fresh})
        assert fresh.predict(rows).tolist() == fitted.predict(rows).tolist()


def test_isotonic_calibration_predicts_as_before(tmp_path: Path) -> None:
    calibrated = CalibratedClassifierCV(naive_bayes.GaussianNB(), method="isotonic", cv=2)
    for number, estimator in enumerate([calibrated, isotonic.IsotonicRegression()]):
        x = X if number == 0 else X[:, 0]
        fitted, fresh = clone(estimator).fit(x, Y), clone(estimator)
        holdfast.save(tmp_path, {"e": fitted}, run="r", step=number)
        holdfast.load(tmp_path, f"r@{number}", into={"e": fresh})
        assert np.array_equal(fresh.predict(x), fitted.predict(x))


def test_a_sparse_matrix_that_leads_out_of_itself_is_refused() -> None:
    good = sklearn_values.encode(scipy.sparse.csr_matrix(np.eye(3)), dict)
    assert (sklearn_values.decode(good, dict) != scipy.sparse.csr_matrix(np.eye(3))).nnz == 0
    data, indices, pointers = good["parts"]
    with pytest.raises(DataError, match="csr_matrix that was saved is none"):
        sklearn_values.decode(good | {"parts": (data, indices + 7, pointers)}, dict)
    with pytest.raises(UnsupportedLeaf, match="no class of SciPy"):
        sklearn_values.decode(good | {"@sparse": "dok_matrix"}, dict)
