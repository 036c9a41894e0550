"""How good a segmentation and its probabilities are."""
