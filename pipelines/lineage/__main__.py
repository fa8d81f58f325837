"""Trace a registered version to its code, data, params and run, and restore or reproduce it."""

import argparse
import os
from pathlib import Path

from pipelines.core.errors import run_stage
from pipelines.core.hardware import hardware
from pipelines.core.mlflow_store import connect
from pipelines.lineage.restore import check, repro, restore
from pipelines.lineage.uncommitted import split
from pipelines.lineage.version_origin import MODEL, address, describe, origin, run_of


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.lineage", description=__doc__, allow_abbrev=False
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--version", metavar="N", help=f"version of the registered model {MODEL}")
    what.add_argument("--experiment", metavar="NAME", help="print the MLflow run of this DVC experiment")
    parser.add_argument("--into", metavar="FOLDER", type=Path, help="restore the version in a new folder")
    parser.add_argument(
        "--repro", action="store_true", help="also run `dvc repro evaluate` in FOLDER and check the accuracy"
    )
    parser.add_argument("--check", metavar="FOLDER", type=Path, help="check the accuracy in FOLDER")
    options = parser.parse_args(argv)
    if options.repro and not options.into:
        parser.error("--repro needs --into FOLDER")
    if options.experiment and (options.into or options.check):
        parser.error("--into and --check need --version")
    return options


def main(argv: list[str] | None = None) -> None:
    options = parse(argv)
    client = connect()
    if options.experiment:
        print(address(client, run_of(options.experiment)))
        return
    found = origin(client, options.version)
    print("\n".join(describe(client, found)))
    if options.into:
        restore(options.into, found.tags, found.params, found.patch)
        own_store = "env -u MLFLOW_TRACKING_URI " if "MLFLOW_TRACKING_URI" in os.environ else ""
        missing = f" without {len(left_out)} untracked files" if (left_out := split(found.patch)[0]) else ""
        print(f"{options.into}: restored{missing}; now run: cd {options.into} && {own_store}dvc repro")
    if options.repro:
        repro(options.into)
    if options.repro or options.check:
        print(check(options.into if options.repro else options.check, found.tags, hardware()))


if __name__ == "__main__":
    run_stage(main)
