"""Fitted models as files that are opened without running code, and whom they were trained on."""
