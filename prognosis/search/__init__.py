"""Search over parameters, pipelines, images and columns by Optuna, inside cross-validation."""
