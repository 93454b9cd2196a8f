"""Base classes of estimators, with the verbs that users call."""

from outgrow.ml.base.by_class import ByClassClassifier, GrowingClassifier
from outgrow.ml.base.growing import GrowingTransformer
from outgrow.ml.base.invertible import InvertibleTransformer
from outgrow.ml.base.models import (
    DECISION,
    LOG_DENSITY,
    PREDICTION,
    VERSION,
    Classifier,
    Clusterer,
    DensityModel,
    MarginClassifier,
    Model,
    ProbabilityClassifier,
    Regressor,
    Supervised,
)
from outgrow.ml.base.outliers import OutlierModel
from outgrow.ml.base.transformers import (
    CrossFittedTransformer,
    SupervisedTransformer,
    Transformer,
    WeightedTransformer,
)
from outgrow.ml.base.verbs import Verbs

__all__ = [
    "DECISION",
    "LOG_DENSITY",
    "PREDICTION",
    "VERSION",
    "ByClassClassifier",
    "Classifier",
    "Clusterer",
    "CrossFittedTransformer",
    "DensityModel",
    "GrowingClassifier",
    "GrowingTransformer",
    "InvertibleTransformer",
    "MarginClassifier",
    "Model",
    "OutlierModel",
    "ProbabilityClassifier",
    "Regressor",
    "Supervised",
    "SupervisedTransformer",
    "Transformer",
    "Verbs",
    "WeightedTransformer",
]
