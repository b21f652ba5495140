"""The names that a stored scikit-learn model may hold: what is not listed here is neither written nor read."""

SCHEMA = 1
MODEL_FILE = "model.json"
ARRAYS_FILE = "arrays.safetensors"

CLASSES = {
    "DecisionTreeClassifier": "sklearn.tree",
    "DecisionTreeRegressor": "sklearn.tree",
    "ExtraTreeClassifier": "sklearn.tree",
    "ExtraTreeRegressor": "sklearn.tree",
    "RandomForestClassifier": "sklearn.ensemble",
    "RandomForestRegressor": "sklearn.ensemble",
    "ExtraTreesClassifier": "sklearn.ensemble",
    "ExtraTreesRegressor": "sklearn.ensemble",
    "GradientBoostingClassifier": "sklearn.ensemble",
    "GradientBoostingRegressor": "sklearn.ensemble",
    "HistGradientBoostingClassifier": "sklearn.ensemble",
    "HistGradientBoostingRegressor": "sklearn.ensemble",
    "DummyClassifier": "sklearn.dummy",
    "DummyRegressor": "sklearn.dummy",
    "LinearRegression": "sklearn.linear_model",
    "Ridge": "sklearn.linear_model",
    "RidgeCV": "sklearn.linear_model",
    "Lasso": "sklearn.linear_model",
    "LassoCV": "sklearn.linear_model",
    "ElasticNet": "sklearn.linear_model",
    "ElasticNetCV": "sklearn.linear_model",
    "LogisticRegression": "sklearn.linear_model",
    "SGDClassifier": "sklearn.linear_model",
    "SGDRegressor": "sklearn.linear_model",
    "SelectFromModel": "sklearn.feature_selection",
    "LabelEncoder": "sklearn.preprocessing",
    "MaxAbsScaler": "sklearn.preprocessing",
    "MinMaxScaler": "sklearn.preprocessing",
    "Normalizer": "sklearn.preprocessing",
    "RobustScaler": "sklearn.preprocessing",
    "StandardScaler": "sklearn.preprocessing",
    "FrozenEstimator": "sklearn.frozen",
    "Pipeline": "sklearn.pipeline",
}
"""Estimators that can be stored without pickle, and where they come from."""

LOSSES = frozenset(
    {
        "AbsoluteError",
        "ExponentialLoss",
        "HalfBinomialLoss",
        "HalfGammaLoss",
        "HalfMultinomialLoss",
        "HalfPoissonLoss",
        "HalfSquaredError",
        "HuberLoss",
        "PinballLoss",
    }
)
"""Losses of boosted trees (`sklearn._loss.loss`): they hold the link from raw sums to answers."""

TREE_FIELDS = {
    "left_child": "int32",
    "right_child": "int32",
    "feature": "int32",
    "threshold": "float32",
    "missing_go_to_left": "uint8",
}
"""Per node of a `Tree`. Its inputs are float32, so a threshold rounded down to float32 decides alike."""

BOOSTED_FIELDS = {
    "left": "int32",
    "right": "int32",
    "feature_idx": "int32",
    "num_threshold": "float64",
    "missing_go_to_left": "uint8",
    "is_leaf": "uint8",
    "value": "float64",
}
"""Per node of a tree of histogram boosting, whose inputs are float64."""
