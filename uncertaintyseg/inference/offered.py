"""What may be chosen for a run of a model: passes around it, their settings, and those of every run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from uncertaintyseg.errors import BundleError
from uncertaintyseg.heads import make_head
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.cutting import cuttable
from uncertaintyseg.inference.methods import fits_as_prompter, fits_beside, methods, options_of
from uncertaintyseg.inference.passes import PASSES
from uncertaintyseg.inference.passes.checkpoints import Checkpoints
from uncertaintyseg.inference.passes.dropout import DropoutInjection, MCDropout
from uncertaintyseg.inference.passes.examples import ExampleSubsets
from uncertaintyseg.inference.passes.fused import Fused
from uncertaintyseg.inference.passes.prompts import PromptJitter
from uncertaintyseg.inference.passes.ranges import LISTED, SEED, ranges
from uncertaintyseg.inference.passes.ranges import PASSES as MOST
from uncertaintyseg.inference.passes.tta import Augmented
from uncertaintyseg.inference.run_settings import crf_settings, prompt_settings, threshold_settings
from uncertaintyseg.inference.shapes import SAMPLES
from uncertaintyseg.inference.thresholding import FOREGROUND, THRESHOLDS
from uncertaintyseg.measures import FUSED, MEASURES
from uncertaintyseg.wire import Method, RunOption

_SAME_RESULT = ("reuse",)
"""Options that change only how long a run takes."""
_WORDS = {
    "passes": "How often the network runs.",
    "share": "Of the examples that a pass is shown.",
    "jitter": "How far each side of a box is moved at most, as a share of its width or height.",
    "pixels": "How far a point is moved at most.",
    "seed": "Of what is random: the same seed, the same maps.",
    "p": "Share of the feature maps that a pass drops.",
    "granularity": "Whether whole feature maps are dropped, or single values.",
    "sigma": "Of the noise, in standard deviations of the image.",
    "weighting": "By what the surer methods count more.",
    "sharpness": "How much more they do, exponential or as a power.",
    "components": "Methods that are averaged.",
    "intensities": "Factors on the image: each pass is done with each.",
    "scales": "Factors on the number of voxels along each axis: each pass is done with each.",
    "models": "Other models that say something as well.",
    "last": "Only the last so many layers are thinned; the others then run once for all passes. By default all.",
    "symmetries": "How the image is mirrored and turned; axes change places only where voxels are equally long.",
    "image_std": "Standard deviation that sigma is a share of; by default each window's own.",
    "value_range": "Smallest and largest value of the image after the noise; empty: no clamp.",
    "faithful": "As the code of the paper does it, where that differs from its text.",
}
_FEWEST = {"components": 2, "value_range": 2}
_MOST = {"value_range": 2}
_SOURCES = {
    "nnunet": "nnU-Net",
    "totalsegmentator": "TotalSegmentator",
    "monai_bundle": "a MONAI bundle",
    "torchscript": "a TorchScript file",
    "universeg": "UniverSeg",
    "sam": "transformers",
}


def offered_methods(bundle: Bundle, others: Iterable[Bundle] = ()) -> list[Method]:
    """The passes that can run on a model as it is, as far as its configuration tells, which is all that is read.

    None where that cannot be read: what is wrong is said to whoever runs the model, and other models are still offered.

    Args:
        bundle: the model.
        others: all models that there are, for an ensemble.
    """
    others = tuple(others)
    try:
        return [_suited(bundle, _method(name), others) for name in PASSES if _can_run(bundle, name, others)]
    except BundleError:
        return []


def run_options(bundle: Bundle, others: Iterable[Bundle] = ()) -> list[RunOption]:
    """What may be chosen for every run of a model, whatever its method.

    Args:
        bundle: the model.
        others: all models that there are, for prompts around what they find.
    """
    if bundle.uncertainty.parts:
        return []
    own = [*cuttable(bundle), *([FUSED] if _can_run(bundle, Fused.name, ()) else [])]
    found = [
        RunOption(name="crf", kind="switch", default=False,
                  text="Draw labels of neighbours that look alike together; variance is 0 after it."),
        *crf_settings(),
        RunOption(name="threshold", kind="choice", default=None, choices=list(THRESHOLDS),
                  text="How the label is cut from a probability, in place of the likeliest class, or a map is marked."),
        RunOption(name="threshold_of", kind="choice", default=FOREGROUND, choices=own, needs="threshold",
                  text="Its voxels are labelled by it; of an uncertainty map what is above it is marked instead."),
        *threshold_settings(),
        RunOption(name="anomaly", kind="choice", default=None, choices=[label.name for label in bundle.labels],
                  text="One more map: the chance that a voxel is on the wrong side of this structure."),
    ]  # fmt: skip
    if bundle.prompted:
        found = [
            *prompt_settings(
                [label.name for label in bundle.labels], [o.name for o in others if fits_as_prompter(o, bundle)]
            ),
            *found,
        ]
    if bundle.examples is not None:
        found.append(
            RunOption(name="examples", kind="switch", default=not bundle.examples,
                      text="Show the model the corrected slices of this server, in place of its own examples if any.")
        )  # fmt: skip
    definition = bundle.config.get("network_def")
    if not _is_coherent(bundle.head, definition.get("noise") if isinstance(definition, dict) else None):
        return found
    return [
        RunOption(name="samples", kind="integer", default=SAMPLES, low=2, high=MOST,
                  text="Whole segmentations drawn behind volume intervals, which need 39."),
        RunOption(name="seed", kind="integer", default=0, low=0, high=SEED, text="Of these draws."),
        *found,
    ]  # fmt: skip


def origin_of(bundle: Bundle) -> str | None:
    """Where a model comes from, in a sentence; None for one that was trained here from the start."""
    about = bundle.uncertainty
    parts = [f"Put together from {len(about.parts)} networks."] if about.parts else []
    if about.origin:
        said = {name: about.origin.get(name) for name in ("folder", "task", "configuration", "trainer")}
        details = ", ".join(f"{name} {value}" for name, value in said.items() if isinstance(value, str) and value)
        source = str(about.origin.get("source", ""))
        parts.insert(0, f"Imported from {_SOURCES.get(source, source)}{f' ({details})' if details else ''}.")
        if about.origin.get("trusted"):
            parts.append("Its own code runs here, for somebody has said that it may.")
    if about.encoder:
        parts.append(f"On the encoder {about.encoder.get('folder')} ({about.encoder.get('kind')}), as it came.")
    if about.base:
        parts.append(f"A head on the network of {about.base.name}.")
    return " ".join(parts) or None


@cache
def _is_coherent(head: str, noise: str | None) -> bool:
    return make_head(head, features=4, classes=2, **({"noise": noise} if noise else {})).coherent


def _can_run(bundle: Bundle, name: str, others: Iterable[Bundle]) -> bool:
    script = (bundle.uncertainty.origin or {}).get("source") == "torchscript"
    if name == MCDropout.name:
        return not script and _has_dropout(bundle.config.get("network_def"))
    if name in (DropoutInjection.name, Fused.name):
        return not script
    if name == Augmented.name:
        return bundle.symmetries != []
    if name == Checkpoints.name:
        return not bundle.uncertainty.parts and any(fits_beside(bundle, other) for other in others)
    if name in (PromptJitter.name, ExampleSubsets.name):
        return bundle.prompted if name == PromptJitter.name else _has_examples(bundle)
    return True


def _has_examples(bundle: Bundle) -> bool:
    """Whether a model is shown several, of which there are parts; those of a server may be any number."""
    return bundle.examples is not None and bundle.examples != 1


def _has_dropout(config: Any, *, inside: bool = False) -> bool:
    """Whether a network's configuration sets a rate of dropout above 0."""
    if isinstance(config, Mapping):
        return any(_has_dropout(part, inside=inside or "dropout" in str(key)) for key, part in config.items())
    if isinstance(config, list):
        return any(_has_dropout(part, inside=inside) for part in config)
    return inside and isinstance(config, int | float) and not isinstance(config, bool) and config > 0


def _suited(bundle: Bundle, method: Method, others: Iterable[Bundle]) -> Method:
    """With the passes and choices that there are for this model, whose symmetries may be others than all flips."""
    options = [made for option in method.options if (made := _suited_option(bundle, option))]
    own = options_of(bundle, method.name, {option.name: option.default for option in options if option.required})
    if method.name == Checkpoints.name:
        names = own["models"] = [other.name for other in others if fits_beside(bundle, other)]
        options = [_several("models", names, names)]
    passes = PASSES[method.name].count(**_defaults()[method.name] | own) if own else method.passes
    maps = [] if bundle.uncertainty.parts else method.maps  # what parts say by themselves has no merge
    return method.model_copy(update={"passes": passes, "options": options, "maps": maps})


def _suited_option(bundle: Bundle, option: RunOption) -> RunOption | None:
    """An option with what may be chosen of it for a model; None where that is nothing."""
    if option.name == "components":
        return _less(option, [name for name in (MCDropout.name, Augmented.name) if not _can_run(bundle, name, ())])
    symmetries = bundle.symmetries
    if option.name != "symmetries" or symmetries is None:
        return option
    choices = ["none"] if bundle.uncertainty.origin else option.choices  # somebody else's network knows no others
    return option.model_copy(update={"default": None, "choices": choices}) if symmetries else None


def _less(option: RunOption, absent: Collection[str]) -> RunOption:
    """Without some choices; where the default has one of them, a run must be told the others."""
    default, choices = ([name for name in names if name not in absent] for names in (option.default, option.choices))
    return option.model_copy(update={"default": default, "choices": choices, "required": default != option.default})


def _several(name: str, default: Iterable[str], choices: Iterable[str]) -> RunOption:
    """An option that is some of several names."""
    about = {"text": _WORDS.get(name, ""), "fewest": _FEWEST.get(name, 1)}
    return RunOption(name=name, kind="choices", default=list(default), choices=list(choices), **about)


@cache
def _defaults() -> dict[str, dict[str, Any]]:
    return {name: known.options for name, known in methods().items()}


@cache
def _method(name: str) -> Method:
    known = methods()[name]
    options = [made for option, default in known.options.items() if (made := _option(name, option, default))]
    own = [name for name in known.maps if name not in MEASURES]
    return Method(name=name, summary=known.summary, passes=known.passes, options=options, maps=own)


def _option(method: str, name: str, default: Any) -> RunOption | None:
    """An option of passes as a person can set it; None for what is none, or has no value of its own."""
    kind = PASSES[method]
    limits, hint = ranges(kind), get_type_hints(kind.__init__).get(name)
    about: dict[str, Any] = {"name": name, "default": default, "text": _WORDS.get(name, "")}
    listed = isinstance(default, tuple) or _is_list(hint)
    if name in _SAME_RESULT:
        return None
    if name in limits:
        limit, whole = limits[name]
        about |= {"low": limit.low, "high": limit.high}
        if listed:
            fewest, most = _FEWEST.get(name, 1), _MOST.get(name, LISTED)
            return RunOption(kind="numbers", fewest=fewest, most=most, **about | {"default": list(default or ())})
        return RunOption(kind="integer" if whole else "number", **about)
    if isinstance(default, bool):
        return RunOption(kind="switch", **about)
    choices = _choices(get_args(hint)[0] if listed else hint)
    if choices and listed:
        return _several(name, default, choices)
    return RunOption(kind="choice", choices=choices, **about) if choices else None


def _choices(hint: Any) -> list[str]:
    """What a hint says may be chosen by name; nothing where it leaves that open."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [name for part in get_args(hint) if get_origin(part) is Literal for name in get_args(part)]


def _is_list(hint: Any) -> bool:
    """Whether a hint is of a list or nothing, and of no names."""
    return any(get_origin(part) is Sequence for part in get_args(hint)) and not _choices(hint)
