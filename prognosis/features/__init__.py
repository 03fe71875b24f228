"""Transformers that turn an image column into numbers beside it."""
