"""Designs of comparisons: ladders of models, matched groups, the published series."""
