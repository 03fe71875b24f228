"""Why a network predicts what it predicts: attribution, counterfactuals, the regions it needs."""
