"""Estimators that read images: each a Classifier and a Regressor on the same base."""
