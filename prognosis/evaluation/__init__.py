"""Honest comparison of prognostic models: its protocol, its statistics, its report."""
