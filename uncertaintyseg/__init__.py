"""Segmentation that knows where it is unsure: every method is a distribution over logits."""

__version__ = "0.1.0"
NUMBERS = 14
"""Raised with every change that alters a number. Results, scores and simulations of another are made anew."""
