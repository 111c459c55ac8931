"""Sending a folder of files elsewhere: what is there already stays, and the card comes last."""

import re
from pathlib import Path

from toolkit.core.errors import UserError
from toolkit.exporting.sent import Pushed, local_files


def push_folder(folder: Path, to: str, public: bool, message: str, dry_run: bool) -> Pushed:
    """Sends the files of a folder that are not there yet.

    Raises UserError: a folder that cannot be sent, a place that nobody here knows, missing
    credentials, a server that refuses.
    """
    files = local_files(folder)
    scheme = to.partition("://")[0] if "://" in to else ""
    if scheme == "hf":
        from toolkit.exporting.push_hub import push_hub

        return push_hub(files, repository_of(to), public, message, dry_run)
    if scheme in ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss"):
        from toolkit.exporting.push_store import push_store

        if public:
            raise UserError("--public goes with hf://: who reads a bucket is set in the store")
        return push_store(files, to.rstrip("/"), dry_run)
    raise UserError(
        f"--to={to}: write hf://datasets/USER/NAME, s3://BUCKET/PREFIX, gs://… or az://…"
    )


def repository_of(to: str) -> str:
    """USER/NAME of hf://datasets/USER/NAME. Raises UserError for anything else."""
    found = re.fullmatch(r"hf://datasets/([\w.-]+/[\w.-]+)/?", to)
    if not found:
        raise UserError(f"--to={to}: write hf://datasets/USER/NAME")
    return found[1]
