"""The one training engine: every network of the package is trained and applied here."""
