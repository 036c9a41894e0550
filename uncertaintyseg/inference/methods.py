"""Every method by name: heads, which a model brings with it, and passes, which run on any model."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.heads import HEADS, make_head
from uncertaintyseg.inference.bundle import TRAINING, Bundle, find_bundles, read_config
from uncertaintyseg.inference.passes import PASSES
from uncertaintyseg.inference.passes.fused import Fused
from uncertaintyseg.inference.passes.ranges import PASSES as MOST
from uncertaintyseg.inference.passes.ranges import check_ranges
from uncertaintyseg.inference.passes.tta import Augmented
from uncertaintyseg.measures import MEASURES
from uncertaintyseg.segmenter import Network, Segmenter

Kind = Literal["head", "passes"]
_FILLED_IN = ("network", "networks", "spacing", "features", "classes")
"""What the program knows by itself."""


@dataclass(frozen=True)
class Method:
    """A way to say where a segmentation is unsure.

    Attributes:
        name: as `--method` takes it.
        kind: "head" where a model is trained or fitted with it, "passes" where it runs on any model as it is.
        paper: where it comes from.
        summary: what it does, in one line.
        passes: how often the network, or a head's last layers, run for one answer.
        maps: names of its maps, those of single structures left out.
        options: its settings with their defaults.
    """

    name: str
    kind: Kind
    paper: str
    summary: str
    passes: int
    maps: list[str]
    options: dict[str, Any]


def methods() -> dict[str, Method]:
    """All methods by name, heads first."""
    found = {}
    for name, head in HEADS.items():
        built = make_head(name, features=4, classes=2)
        maps = [*MEASURES, *built.extra_maps()]
        found[name] = Method(name, "head", head.paper, head.summary, built.passes, maps, _options(head))
    for name, passes in PASSES.items():
        options = _options(passes)
        count = passes.count(**options)
        maps = [*MEASURES, *passes.extra_maps(2)]
        found[name] = Method(name, "passes", passes.paper, passes.summary, count, maps, options)
    return found


def _options(kind: type) -> dict[str, Any]:
    parameters = inspect.signature(kind).parameters.values()
    return {p.name: p.default for p in parameters if p.name not in _FILLED_IN and p.default is not p.empty}


def model_with(bundle: Bundle, method: str | None, *folders: Path) -> tuple[Bundle, str | None]:
    """The model that a method needs, for the task of `bundle`, and the passes to run it with (None: once, as it is).

    Raises:
        InputError: for an unknown method.
        BundleError: when no trained model of the task has that head, or the model is a composite.
    """
    if method is None or method in PASSES:
        return bundle, method
    if method not in HEADS:
        raise InputError(f"there is no method '{method}'; there are {', '.join([*HEADS, *PASSES])}.")
    if bundle.head == method:
        return bundle, None
    if bundle.uncertainty.parts:
        raise BundleError(
            f"{bundle.name} is put together from {len(bundle.uncertainty.parts)} networks and takes no {method} head; "
            "take a model of one network."
        )
    siblings = [other for other in find_bundles(*folders).values() if (other.task, other.head) == (bundle.task, method)]
    trained = [other for other in siblings if other.checksum]
    if not trained:
        raise BundleError(
            f"no model of the task '{bundle.task}' has a trained {method} head; make one: "
            f"uncertaintyseg train {bundle.name} DATA --head {method} --output runs, and add --models runs here."
        )
    by_name = [other for other in trained if other.name == f"{bundle.task}_{method}"]
    return (by_name or trained)[-1], None


def ensemble_members(bundle: Bundle, names: Sequence[str] | str | None, *folders: Path) -> list[Bundle]:
    """The other models of an ensemble with `bundle`: those named, or all of its task with a backbone of their own.

    Raises:
        InputError: when the names are none.
        BundleError: when a name is unknown, or there is no other model.
    """
    found = find_bundles(*folders)
    if names is None:
        others = [other for other in found.values() if fits_beside(bundle, other)]
    else:
        wanted = names.split(",") if isinstance(names, str) else names
        if not (isinstance(wanted, Sequence) and all(isinstance(name, str) for name in wanted)):
            raise InputError(f"'models' is {names!s:.60}: give a list of names; there are {', '.join(found)}.")
        absent = [name for name in wanted if name not in found]
        if absent:
            raise BundleError(f"there is no model '{absent[0]}' for the ensemble; there are {', '.join(found)}.")
        others = [found[name] for name in wanted if name != bundle.name]
    if not others:
        raise BundleError(f"an ensemble needs a second model of the task '{bundle.task}': name some, models=a,b.")
    return others


def fits_beside(bundle: Bundle, other: Bundle) -> bool:
    """Whether another model can stand beside one in an ensemble; one that is damaged cannot."""
    same = (other.task, other.labels) == (bundle.task, bundle.labels) and other.name != bundle.name
    try:
        return bool(same and other.checksum and has_own_backbone(other))
    except BundleError:
        return False


def shared_structures(other: Bundle, bundle: Bundle) -> dict[int, int]:
    """Class ids of the model that is prompted by those of another, which may have one structure of another name."""
    if len(other.labels) == len(bundle.labels) == 1:
        return {other.labels[0].id: bundle.labels[0].id}
    known = {label.name: label.id for label in bundle.labels}
    return {label.id: known[label.name] for label in other.labels if label.name in known}


def fits_as_prompter(other: Bundle, bundle: Bundle) -> bool:
    """Whether a model finds structures of another by itself, in the same scans."""
    able = other.labels and other.checksum and not other.prompted and other.examples != 0
    return bool(able and len(other.channels) == len(bundle.channels) and shared_structures(other, bundle))


def network_beside(bundle: Bundle, other: Bundle) -> Segmenter:
    """The network of another bundle, for an ensemble with the first.

    Raises:
        BundleError: when it does not see what that one sees, or knows other structures.
    """
    if other.labels != bundle.labels:
        raise BundleError(f"{other.name} has other labels than {bundle.name}: no ensemble of the two.")
    for name in ("spacing", "window", "preprocessing"):
        if other.setting(name) != bundle.setting(name):
            raise BundleError(f"{other.name} has another '{name}' than {bundle.name}: no ensemble of the two.")
    return other.network()


def has_own_backbone(bundle: Bundle) -> bool:
    """Whether a model's network was trained for it, and is not that of another one."""
    recipe = read_config(bundle.folder / TRAINING).get("recipe", {})
    return recipe.get("stage") == "backbone"


def options_of(bundle: Bundle, method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of passes on a model: those given, and what the model itself says.

    A model that names `symmetries` in its inference.json was trained to be indifferent to these and no others; without
    that, test-time augmentation takes all flips.

    Raises:
        InputError: for test-time augmentation that would be one pass, with no variance to show, for the model names no
            symmetry at all, as TotalSegmentator's do; by itself, or among what is fused.
    """
    symmetries = bundle.symmetries
    takes = method in PASSES and "symmetries" in _options(PASSES[method])
    found = {"symmetries": symmetries} if takes and symmetries is not None else {}
    found |= {name: value for name, value in options.items() if value is not None}
    if symmetries == []:
        _refuse_one_pass(bundle.name, method, found)
    return found


def _refuse_one_pass(model: str, method: str, options: Mapping[str, Any]) -> None:
    """Raise `InputError` where test-time augmentation is left with the image as it is, on a model without mirroring."""
    without = f"{model} was trained without mirroring, so that 'tta' would be a single pass"
    if method == Augmented.name and Augmented.count(**options) == 1:
        raise InputError(
            f"{without}: name other scales (--option scales=[0.75,1,1.25]), or use 'dropout_injection' or 'noise'."
        )
    if method != Fused.name or Augmented.name not in options.get("components", _options(Fused)["components"]):
        return
    shared = {name: options[name] for name in ("symmetries",) if name in options}
    own = (options.get("options") or {}).get(Augmented.name, {})
    if Augmented.count(**shared | dict(own)) == 1:
        raise InputError(
            f'{without} of what is fused: leave it out, --option \'components=["dropout_injection", "noise"]\', or '
            'name other scales, --option \'options={"tta": {"scales": [0.75, 1, 1.25]}}\'.'
        )


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Check the options of passes without a network, as far as they do not depend on one.

    Raises:
        InputError: for an unknown method or option, a number out of its range, or more than 4096 passes in all.
    """
    if name not in PASSES:
        raise InputError(f"there is no method '{name}' that runs on any model; there are {', '.join(PASSES)}.")
    kind, defaults = PASSES[name], _options(PASSES[name])
    unknown = [option for option in options if option not in defaults]
    if unknown:
        raise InputError(f"the method '{name}' has no option '{unknown[0]}'; it has {', '.join(defaults)}.")
    check_ranges(kind, options)
    try:
        count = kind.count(**defaults | dict(options))
    except TypeError as error:
        raise InputError(f"the method '{name}': {error}.") from error
    if count > MOST:
        raise InputError(f"the method '{name}' would take {count} passes with these options: {MOST} are the most.")


def make_passes(
    name: str, network: Network, *, spacing: Sequence[float], options: Mapping[str, Any], others: Sequence[Network] = ()
) -> Network:
    """The method `name` around a network.

    Args:
        name: of the passes.
        network: to be run several times.
        spacing: voxel sizes of its grid, mm.
        options: the method's own.
        others: further networks of an ensemble.

    Raises:
        InputError: for an unknown method, or options that it cannot take.
    """
    check_options(name, options)
    kind = PASSES[name]
    parameters = inspect.signature(kind).parameters
    known: dict[str, Any] = {"spacing": tuple(spacing)} if "spacing" in parameters else {}
    first = [network, *others] if "networks" in parameters else network
    try:
        return kind(first, **known, **options)
    except TypeError as error:
        raise InputError(f"the method '{name}': {error}.") from error
