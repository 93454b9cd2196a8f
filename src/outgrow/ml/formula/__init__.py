"""Columns as a formula of R says them."""
