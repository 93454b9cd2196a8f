"""Fits over sites that keep their rows: only merged statistics and parameters reach the coordinator."""
