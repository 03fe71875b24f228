"""The same folds of the same patients for every model, and what was finished kept."""
