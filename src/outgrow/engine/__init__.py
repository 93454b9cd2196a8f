"""Where rows live and who folds them: passes, the engines, and what they tell while they work."""
