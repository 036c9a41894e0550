"""Find or fetch public data sets: `python sample_data/fetch.py SOURCE FOLDER` prints where the cases are.

SOURCE is a Medical Segmentation Decathlon task (`Task04_Hippocampus`), downloaded by MONAI with its own addresses and
checksums, or `totalsegmentator` or `lits`, which you download yourself: FOLDER is then where they lie.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from monai.apps import DecathlonDataset, download_url, extractall
from monai.apps.utils import HashCheckError

from uncertaintyseg.data.layouts import find_real_data, read_cases
from uncertaintyseg.errors import InputError, UncertaintySegError

OWN_DOWNLOAD = {
    "totalsegmentator": "the TotalSegmentator CT dataset on Zenodo, doi:10.5281/zenodo.6802613",
    "lits": "the Liver Tumor Segmentation benchmark from lits-challenge.com, doi:10.1016/j.media.2022.102680",
}


def fetch_decathlon(task: str, folder: Path) -> Path:
    """Folder with `imagesTr/` and `labelsTr/` (or `images/` and `labels/`) of a Decathlon task.

    A copy under `$UNCERTAINTYSEG_DATA` or in `shared/data` beside the checkout is taken as it is; else MONAI downloads
    into `folder` and checks the sum.

    Raises:
        InputError: The download failed or is damaged.
    """
    at_hand = find_real_data(f"msd_{task.split('_')[1].lower()}")
    if at_hand is not None:
        return at_hand
    target = folder / task
    if not target.is_dir():
        archive = folder / f"{task}.tar"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            download_url(DecathlonDataset.resource[task], archive, DecathlonDataset.md5[task], hash_type="md5")
            with TemporaryDirectory(dir=folder) as unpacked:  # moved when complete, so a kill leaves no partial task
                extractall(archive, unpacked)
                (Path(unpacked) / task).replace(target)
        except (OSError, RuntimeError, HashCheckError) as error:
            raise InputError(
                f"{archive}: {task} could not be fetched ({error}). Check the network, delete the file if it is there, "
                "and try again; or unpack the task from medicaldecathlon.com into the folder."
            ) from error
    return target


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when the cases are there, 2 with one message when not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", choices=[*DecathlonDataset.resource, *OWN_DOWNLOAD], metavar="SOURCE")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to download to, or where the data lies")
    options = parser.parse_args(arguments)
    try:
        by_user = options.source in OWN_DOWNLOAD
        folder = options.folder if by_user else fetch_decathlon(options.source, options.folder)
        cases = read_cases(folder)
    except UncertaintySegError as error:
        print(error, file=sys.stderr)
        if options.source in OWN_DOWNLOAD:
            print(f"Get {OWN_DOWNLOAD[options.source]} and unpack it there.", file=sys.stderr)
        return 2
    labelled = sum(case.label is not None for case in cases)
    print(f"{len(cases)} cases, {labelled} with a label", file=sys.stderr)
    print(folder.resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
