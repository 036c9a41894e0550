"""Distributions over logits and their voxel moments."""

from uncertaintyseg.logits.conditioned import Conditioned
from uncertaintyseg.logits.covariance import Basis, Covariance, Diagonal, LowRank, Sum
from uncertaintyseg.logits.ensemble import LogitEnsemble, Weighting
from uncertaintyseg.logits.gaussian import GaussianLogits, LogitDistribution
from uncertaintyseg.logits.moments import Moments, largest, most_likely

__all__ = [
    "Basis",
    "Conditioned",
    "Covariance",
    "Diagonal",
    "GaussianLogits",
    "LogitDistribution",
    "LogitEnsemble",
    "LowRank",
    "Moments",
    "Sum",
    "Weighting",
    "largest",
    "most_likely",
]
