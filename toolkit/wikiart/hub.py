"""Gets WikiArt from the Hugging Face Hub or a mirror of it."""

from pathlib import Path

from toolkit.core.errors import UserError, one_line


def download(hub_id: str, cache_dir: Path | None) -> Path:
    """Downloads a dataset's Parquet files, or finds them downloaded; returns their folder.

    HF_ENDPOINT names the server, HF_HOME the folder where `cache_dir` does not. What was cut off is
    taken up where it stopped. Raises UserError when the server cannot be used.
    """
    from huggingface_hub import constants, snapshot_download

    try:
        return Path(
            snapshot_download(
                hub_id, repo_type="dataset", cache_dir=cache_dir, allow_patterns=["*.parquet"]
            )
        )
    # the library lets errors of its transport through, whichever that is
    except Exception as error:
        raise UserError(
            f"cannot download {hub_id} from {constants.ENDPOINT} ({one_line(error, 100)}): choose "
            "a server, as in HF_ENDPOINT=https://hf-mirror.com, or give a folder with --src=DIR"
        ) from None
