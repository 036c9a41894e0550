"""How good a segmentation, its probabilities and its risk maps are; definitions and NaN rules in docs/metrics.md."""
