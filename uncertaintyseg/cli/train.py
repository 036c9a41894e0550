"""`uncertaintyseg train`: fit a model to labelled cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from uncertaintyseg.cli.console import (
    AsJson,
    Device,
    ModelName,
    MoreModels,
    Options,
    console,
    print_json,
    progress_bar,
    read_options,
    tell,
    warn_of_left_out,
)
from uncertaintyseg.cli.parts import forget_parts, keep_learnt, keep_parts
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import TRAINING, Bundle, find_bundle

if TYPE_CHECKING:
    from uncertaintyseg.data.layouts import Case
    from uncertaintyseg.training.fit import FitReport
    from uncertaintyseg.training.volume_matching import VolumeMatch

_SHOWN = 10
"""Structures whose Dice is listed."""


@contextmanager
def _going_on() -> Iterator[None]:
    """Says after Ctrl-C that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        console.print("Stopped. The same command goes on from the last epoch that was finished.")
        raise


def train(
    model: ModelName,
    data: Annotated[Path, typer.Argument(help="Folder with images/ and labels/ (or another known layout).")],
    output: Annotated[Path, typer.Option(help="Folder of models to write to.")] = Path("runs"),
    head: Annotated[
        str | None,
        typer.Option(help="Train another head on this model's backbone; a new model, by default <task>_<head>."),
    ] = None,
    dropout: Annotated[
        float | None,
        typer.Option(
            help="Train this model's network anew with so much dropout (0.2), for --method mc_dropout; a new model, by "
            "default <task>_dropout_unet."
        ),
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(
            help="Train a light decoder on somebody else's encoder, which stays as it is: a folder of Hugging Face on "
            "this machine (ViT, DeiT, BEiT, DINOv2, Swin, ResNet, ConvNeXt). A new model with this one's structures "
            "and recipe, by default <task>_<kind>."
        ),
    ] = None,
    option: Options = None,
    name: Annotated[str | None, typer.Option(help="Name of that new model.")] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Split by name (msd_hippocampus, phantom) or JSON file; else that beside DATA, drawn by "
            "subject if absent."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs; by default the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed; by default the recipe's.")] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            help="expected_ce, marginal_nll, ssn_joint, ssn_joint_marginal, hybrid; by default the head's own."
        ),
    ] = None,
    estimator: Annotated[str | None, typer.Option(help="closed_form or mc; by default the best there is.")] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Draws a step, for an objective by samples (mc); by default the recipe's.")
    ] = None,
    fine_tune: Annotated[
        bool | None,
        typer.Option(
            "--fine-tune/--no-fine-tune",
            help="The backbone learns with its head, at a smaller learning rate, or stays; by default as in the "
            "model's train.json, which keeps it.",
        ),
    ] = None,
    backbone_rate: Annotated[
        float | None,
        typer.Option(help="With --fine-tune: its learning rate as a share of the head's, 0.1 by default."),
    ] = None,
    match_volumes: Annotated[
        bool | None,
        typer.Option(
            "--match-volumes/--no-match-volumes",
            help="Afterwards move the borders until the validation cases' volumes are right; by default the recipe's.",
        ),
    ] = None,
    balance: Annotated[
        list[str] | None,
        typer.Option(
            help="A structure, by name, whose cases (or slices) are drawn three times as often; repeatable. For "
            "structures that many cases lack."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other setting of the recipe in train.json, such as schedule=plateau, patience=20, "
            "focal_alpha=[1,1,4,2] or cross_entropy_weights=inverse_frequency; repeatable.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from a fit that was killed.")] = True,
    cache: Annotated[
        Literal["auto", "memory", "disk", "none"],
        typer.Option(
            help="Where preprocessed cases are: memory, disk, or none (read anew each time, slow); auto: in memory if "
            "they take at most half of what is free, else on disk. The weights are the same."
        ),
    ] = "auto",
    cache_folder: Annotated[
        Path | None, typer.Option(help="For those on disk; by default in the user's folder of caches.")
    ] = None,
    device: Device = "auto",
    models: MoreModels = None,
    as_json: AsJson = False,
) -> None:
    """Fit a model; a head starts from the backbone its recipe names.

    The result is a model folder of its own, for `--models`. A fit that was killed goes on when started again.

    Example: uncertaintyseg train hippocampus_deterministic DATA --split msd_hippocampus, then
    uncertaintyseg train hippocampus_low_rank DATA --split msd_hippocampus, or any head on any model:
    uncertaintyseg train hippocampus_deterministic DATA --head laplace --option structure=diagonal. Mixture-of-Bases as
    its paper trains it: --head mixture_of_bases --option bases=3 --objective expected_ce --estimator mc --samples 5
    --fine-tune

    The hybrid loss of cross-entropy, focal loss and Dice, by class weights: uncertaintyseg train
    ultrasound_attention_unet DATA --split ultrasound --set focal_alpha=[1,1,4,2] --balance "cavum septi pellucidi"
    """
    bundle = find_bundle(model, *(models or []))
    folders = list(models or [])
    _check_new(head, dropout, encoder, option, name)
    with _going_on(), progress_bar() as progress:
        progress("loading", 0.0)
        from uncertaintyseg.data.layouts import read_cases
        from uncertaintyseg.data.layouts.channel_count import check_channel_count
        from uncertaintyseg.data.splitting import keep_split, training_parts
        from uncertaintyseg.training.chosen import chosen_settings
        from uncertaintyseg.training.fine_tuning import check_trained, fine_tuning, keep_in_recipe
        from uncertaintyseg.training.fit import fit
        from uncertaintyseg.training.recipe import Recipe
        from uncertaintyseg.training.variant import with_dropout, with_encoder, with_head

        told: list[str] = []
        found = None
        check_channel_count(data, bundle.channels)
        whole = {"--epochs": epochs, "--objective": objective, "--estimator": estimator, "--samples": samples}
        check_trained(head or bundle.head, whole | {"--set": settings or None, "--balance": balance or None})
        if head:
            folders.append(bundle.folder.parent)
            bundle = with_head(bundle, head, output, name=name, tell=told.append, **read_options(option))
        elif dropout is not None:
            bundle = with_dropout(bundle, dropout, output, name=name, tell=told.append)
        elif encoder is not None:
            from uncertaintyseg.imports.encoder import read_encoder

            progress("reading the encoder", 0.0)
            found = read_encoder(encoder)
            bundle = with_encoder(bundle, found.settings, found.origin, output, name=name, tell=told.append)
        tuning = fine_tuning(bundle, fine_tune, backbone_rate)
        flags = {
            "epochs": epochs, "seed": seed, "objective": objective, "estimator": estimator, "samples": samples,
            "match_volumes": match_volumes, **tuning,
        }  # fmt: skip
        chosen = chosen_settings(bundle, read_options(settings, "--set"), balance or [])
        recipe = Recipe.load(bundle, **chosen, **_not_twice(chosen, flags))
        cases = _without(read_cases(data), bundle, told) if split is None else read_cases(data)
        parts = split or keep_split(data, cases, tell=told.append)
        training, validation = training_parts(cases, parts)
        told += _shared(training, validation) if split else []
        warn_of_left_out(data, [case.id for case in cases if case.label is None])
        report = fit(
            bundle, training, validation, output, recipe=recipe, models=folders, device=device, resume=resume,
            cache=cache, cache_folder=cache_folder, encoder=found and found.encoder, progress=progress,
        )  # fmt: skip
        loss = {name: flags[name] for name in ("objective", "estimator", "samples") if flags[name] is not None}
        keep_in_recipe(report.bundle, tuning | chosen | loss)
    keep_learnt(report.bundle, [*training, *validation])
    tell(*told)
    if split is None:
        keep_parts(report.bundle, parts)
    else:
        forget_parts(report.bundle)
    if as_json:
        print_json(
            {
                "model": report.bundle.name,
                "folder": str(report.bundle.folder),
                "checksum": report.bundle.checksum,
                "best_epoch": report.best_epoch,
                "epochs": report.epochs,
                "validation": report.validation,
                "dice_by_structure": report.by_structure,
                "diverged": report.diverged,
                "seconds": round(report.seconds, 1),
                "cache": report.held and report.held.as_json(),
                "volumes": report.volumes and report.volumes.as_json(),
                "label_shift": report.shift and {**report.shift.model_dump(), "percent": report.shift.percent},
            }
        )
        return
    _show(report, output)


def _show(report: FitReport, output: Path) -> None:
    """What a fit ended with, in sentences."""
    scores = ", ".join(f"{name} {value:.4g}" for name, value in report.validation.items())
    how = f"best epoch {report.best_epoch} of {report.epochs}" if report.epochs else "fitted"
    console.print(f"{report.bundle.name}: {how} ({scores}).")
    if report.resumed:
        console.print(f"It went on after epoch {report.resumed}, where it had been stopped.")
    elif report.anew:
        console.print("It began anew: the training that had been stopped here had other settings or cases.")
    if report.diverged:
        console.print(
            f"[yellow]In epoch {report.diverged} the loss stopped being a number;[/yellow] the weights are those of "
            f"epoch {report.best_epoch}. Lower 'recipe.learning_rate' in train.json, or set 'recipe.clip' to 1."
        )
    if report.by_structure:
        console.print(_dice_text(report.by_structure), highlight=False)
    if report.volumes:
        console.print(_volumes_text(report.volumes))
    if report.shift:
        console.print(
            f"Against '{report.shift.base}' its label moves in {report.shift.voxels} voxels of the validation cases, "
            f"{report.shift.percent:.3g} % of their foreground."
        )
    if report.held:
        console.print(escape(report.held.sentence), highlight=False, soft_wrap=True)
    curves = " (curves.png and history.csv show how it went)" if report.epochs else ""
    console.print(f"The model is in {report.bundle.folder}{curves}; use it with --models {output}.")


def _check_new(
    head: str | None, dropout: float | None, encoder: Path | None, option: Sequence[str] | None, name: str | None
) -> None:
    """Refuse settings of a new model where none is made, or of two at once."""
    made = {"--head": head, "--dropout": dropout, "--encoder": encoder}
    chosen = [flag for flag, value in made.items() if value is not None]
    if len(chosen) > 1:
        raise InputError(f"{chosen[0]} and {chosen[1]} make different models: train the one with {chosen[1]} first.")
    if option and not head:
        raise InputError("--option belongs to a new head: add --head.")
    if name and not chosen:
        raise InputError("--name belongs to a new model: add --head, --dropout or --encoder.")


def _without(cases: Sequence[Case], bundle: Bundle, told: list[str]) -> list[Case]:
    """The cases without those that the model's plan left out."""
    from uncertaintyseg.training.left_out import without_left_out

    left, out = without_left_out(bundle, cases)
    if out:
        more = f" and {len(out) - _SHOWN} more" if len(out) > _SHOWN else ""
        told.append(
            f"Left out, as by the plan: {', '.join(out[:_SHOWN])}{more}. Once they are mended, take them from "
            f"'left_out' in {bundle.folder / TRAINING}."
        )
    return left


def _not_twice(chosen: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that were given; refuses what both say."""
    given = {name: value for name, value in flags.items() if value is not None}
    if twice := sorted(given.keys() & chosen):
        raise InputError(f"--set {twice[0]}: another option says that already; leave out one of the two.")
    return given


def _shared(training: Sequence[Case], validation: Sequence[Case]) -> list[str]:
    """A warning where somebody's own split has scans of a subject on both sides."""
    from uncertaintyseg.data.splitting import shared_subjects

    found = shared_subjects({"train": [case.id for case in training], "validation": [case.id for case in validation]})
    text = "are learnt from and validated on: the scores look better than they are."
    return [f"Cases of {name} {text}" for name in found[:1]]


def _dice_text(by_structure: dict[str, float | None]) -> str:
    """Dice by structure, the lowest first; of many the lowest ten."""
    known = sorted((value, name) for name, value in by_structure.items() if value is not None)
    shown = ", ".join(f"{escape(name)} {value:.3f}" for value, name in known[:_SHOWN])
    lines = [f"Dice of the validation cases: {shown or 'none of them holds a structure'}"]
    if len(known) > _SHOWN:
        lines[0] += f"; the other {len(known) - _SHOWN} are higher, see history.csv"
    if absent := [escape(name) for name, value in by_structure.items() if value is None]:
        lines.append(f"In no validation case, so not judged: {', '.join(absent)}.")
    return "\n".join(lines)


def _volumes_text(volumes: VolumeMatch) -> str:
    """What the matching of volumes did, in a sentence."""
    errors = ", ".join(
        f"{name} {before:+.1%} -> {volumes.after[name]:+.1%}"
        for name, before in volumes.before.items()
        if before is not None
    )
    dice = f"mean Dice {volumes.dice_before:.4f} -> {volumes.validation['dice']:.4f}"
    if volumes.kept:
        return f"Volumes of the validation cases, all together: {errors} ({dice})."
    return f"Volumes of the validation cases stay as they are, for a bias would cost Dice: {errors}."
