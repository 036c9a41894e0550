"""Segmentation that knows where it is unsure: every method is a distribution over logits."""

__version__ = "0.1.0"
