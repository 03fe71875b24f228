"""Which regions of another patient would change a prediction."""
