"""Maps of what a prediction comes from, and whether they can be trusted."""
