"""Where each public estimator of networks lives; adding one is a line here."""

from __future__ import annotations

NETWORKS = {
    "TorchClassifier": "outgrow.deep.torch_classifier",
    "TorchModule": "outgrow.deep.torch_module",
    "TorchRegressor": "outgrow.deep.torch_regressor",
}
