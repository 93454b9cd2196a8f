"""Runs recorded, listed, compared and run again; and MLflow, which is given what to keep and never asked.

Examples
--------
>>> import tempfile, numpy as np, outgrow as og
>>> folder = tempfile.mkdtemp() + "/model"
>>> X = np.array([[0.0], [1.0]])
>>> og.track.save_model(og.LinearRegression().fit(X, [1.0, 3.0]), folder)
>>> og.track.load_model(folder).predict(X).round(6).tolist()
[1.0, 3.0]
"""

from outgrow.track.autolog import autolog, sync
from outgrow.track.flavor import load_model, log_model, save_model
from outgrow.track.tracking import run, start, stop

__all__ = ["autolog", "load_model", "log_model", "run", "save_model", "start", "stop", "sync"]
