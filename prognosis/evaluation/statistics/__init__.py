"""Scores, their uncertainty, and tests of differences between models."""
