"""What a network looks at: saliency on the brain, counterfactual explanations, region selection."""
