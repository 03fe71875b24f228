"""Why a network predicts what it predicts: attribution on the brain, and whether to trust it."""
