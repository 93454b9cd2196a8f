"""Search for good settings: many trials, here or on the workers of a cluster."""

from outgrow._optional import optional

for library in ("optuna", "cloudpickle"):
    optional(library, "tune")
