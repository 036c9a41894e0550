"""Methods without training: one file each; a registry by name. Each makes a network of another one."""

from __future__ import annotations

from uncertaintyseg.inference.passes.base import Passes
from uncertaintyseg.inference.passes.checkpoints import Checkpoints
from uncertaintyseg.inference.passes.dropout import DropoutInjection, MCDropout
from uncertaintyseg.inference.passes.examples import ExampleSubsets
from uncertaintyseg.inference.passes.fused import Fused
from uncertaintyseg.inference.passes.noise import Noise
from uncertaintyseg.inference.passes.prompts import PromptJitter
from uncertaintyseg.inference.passes.tta import Augmented

PASSES: dict[str, type[Passes]] = {
    passes.name: passes
    for passes in (MCDropout, DropoutInjection, Noise, Augmented, Checkpoints, Fused, ExampleSubsets, PromptJitter)
}

__all__ = ["PASSES", "Passes"]
