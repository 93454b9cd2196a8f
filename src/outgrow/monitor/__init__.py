"""Watching what comes after training: drift, and what it means."""
