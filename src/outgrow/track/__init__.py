"""MLflow: models of outgrow logged, loaded and served; a tracker is given what to keep, and never asks."""

from outgrow.track.flavor import load_model, log_model, save_model

__all__ = ["load_model", "log_model", "save_model"]
