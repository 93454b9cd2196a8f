"""One log of what was done: facts are appended, never changed, and everything else is a fold of them."""
