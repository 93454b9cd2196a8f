"""Where each public estimator lives; adding one is a line here."""

from __future__ import annotations

import importlib
from typing import Any

ESTIMATORS = {
    "Binarizer": "outgrow.ml.preprocessing.binarizer",
    "ColumnTransformer": "outgrow.ml.compose.column_transformer",
    "DCT": "outgrow.ml.preprocessing.dct",
    "DatetimeEncoder": "outgrow.ml.preprocessing.datetime_encoder",
    "DummyClassifier": "outgrow.ml.dummy",
    "DummyRegressor": "outgrow.ml.dummy",
    "ElasticNet": "outgrow.ml.linear_model.elastic_net",
    "ElementwiseProduct": "outgrow.ml.preprocessing.elementwise_product",
    "FeatureUnion": "outgrow.ml.compose.feature_union",
    "FunctionTransformer": "outgrow.ml.preprocessing.function_transformer",
    "GaussianMixture": "outgrow.ml.mixture.gaussian_mixture",
    "GaussianRandomProjection": "outgrow.ml.random_projection",
    "GradientBoostingClassifier": "outgrow.ml.trees.gradient_boosting",
    "GradientBoostingRegressor": "outgrow.ml.trees.gradient_boosting",
    "HistGradientBoostingClassifier": "outgrow.ml.trees.hist_gradient_boosting",
    "HistGradientBoostingRegressor": "outgrow.ml.trees.hist_gradient_boosting",
    "ImageTransformer": "outgrow.ml.images.image_transformer",
    "KBinsDiscretizer": "outgrow.ml.preprocessing.k_bins_discretizer",
    "KMeans": "outgrow.ml.cluster.kmeans",
    "KNNImputer": "outgrow.ml.impute.knn_imputer",
    "LinearRegression": "outgrow.ml.linear_model.linear_regression",
    "LinearSVC": "outgrow.ml.svm.linear_svc",
    "LogisticRegression": "outgrow.ml.linear_model.logistic_regression",
    "MaxAbsScaler": "outgrow.ml.preprocessing.max_abs_scaler",
    "MinMaxScaler": "outgrow.ml.preprocessing.min_max_scaler",
    "MissingIndicator": "outgrow.ml.impute.missing_indicator",
    "MultiLabelBinarizer": "outgrow.ml.preprocessing.multi_label_binarizer",
    "Normalizer": "outgrow.ml.preprocessing.normalizer",
    "Nystroem": "outgrow.ml.kernel_approximation.nystroem",
    "OneHotEncoder": "outgrow.ml.preprocessing.one_hot_encoder",
    "OrdinalEncoder": "outgrow.ml.preprocessing.ordinal_encoder",
    "PCA": "outgrow.ml.decomposition.pca",
    "Pipeline": "outgrow.ml.pipeline",
    "PolynomialCountSketch": "outgrow.ml.kernel_approximation.polynomial_count_sketch",
    "PolynomialFeatures": "outgrow.ml.preprocessing.polynomial_features",
    "PowerTransformer": "outgrow.ml.preprocessing.power_transformer",
    "QuantileTransformer": "outgrow.ml.preprocessing.quantile_transformer",
    "RBFSampler": "outgrow.ml.kernel_approximation.rbf_sampler",
    "RandomForestClassifier": "outgrow.ml.trees.random_forest",
    "RandomForestRegressor": "outgrow.ml.trees.random_forest",
    "RegexTokenizer": "outgrow.ml.feature_extraction.regex_tokenizer",
    "Ridge": "outgrow.ml.linear_model.ridge",
    "RobustScaler": "outgrow.ml.preprocessing.robust_scaler",
    "SQLTransformer": "outgrow.ml.preprocessing.sql_transformer",
    "SelectFdr": "outgrow.ml.feature_selection.select_by_p_value",
    "SelectFpr": "outgrow.ml.feature_selection.select_by_p_value",
    "SelectFwe": "outgrow.ml.feature_selection.select_by_p_value",
    "SelectKBest": "outgrow.ml.feature_selection.select_k_best",
    "SelectPercentile": "outgrow.ml.feature_selection.select_percentile",
    "SimpleImputer": "outgrow.ml.impute.simple_imputer",
    "SparseRandomProjection": "outgrow.ml.random_projection",
    "SplineTransformer": "outgrow.ml.preprocessing.spline_transformer",
    "StandardScaler": "outgrow.ml.preprocessing.standard_scaler",
    "TargetEncoder": "outgrow.ml.preprocessing.target_encoder",
    "VarianceThreshold": "outgrow.ml.feature_selection.variance_threshold",
}


def estimator_class(name: str) -> Any:
    """The estimator of this name."""
    return getattr(importlib.import_module(ESTIMATORS[name]), name)
