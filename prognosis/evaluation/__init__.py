"""Honest comparison of prognostic models: splits, statistics, calibration, report."""
