"""Statistics of rows anywhere: passes of mergeable states, read as SciPy reads them."""
