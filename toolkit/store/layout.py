"""Where things lie: the two data folders and the files of a dataset in them.

shards/<dataset>/<dataset>-000000.tar
manifests/<dataset>/<dataset>-000000.parquet
manifests/<dataset>/dataset.json
manifests/<dataset>/sidecars/<name>/<dataset>-000000.parquet
shards/<dataset>/sidecars/<name>/<dataset>-000000.tar
"""

from dataclasses import dataclass
from pathlib import Path

from toolkit.core.errors import UserError
from toolkit.core.places import folder, is_remote
from toolkit.store.keys import shard_stem

PACK_FIRST = "run `python -m toolkit.pack` first"


@dataclass(frozen=True)
class Layout:
    """The pair of data folders that every command takes as --shards and --manifests."""

    shards: Path = Path("shards")
    manifests: Path = Path("manifests")

    def __post_init__(self) -> None:
        for name in ("shards", "manifests"):  # texts will do
            if isinstance(value := getattr(self, name), str):
                object.__setattr__(self, name, folder(value))

    def tar(self, dataset: str, index: int) -> Path:
        """Path of shard `index` of `dataset`."""
        return self.shards / dataset / f"{shard_stem(dataset, index)}.tar"

    def tar_named(self, dataset: str, stem: str) -> Path:
        """Path of the shard that a manifest row names in its `shard` column."""
        return self.shards / dataset / f"{stem}.tar"

    def manifest(self, dataset: str, index: int) -> Path:
        """Path of the manifest of shard `index`."""
        return self.manifests / dataset / f"{shard_stem(dataset, index)}.parquet"

    def manifest_named(self, dataset: str, stem: str) -> Path:
        """Path of the manifest of the shard called `stem`."""
        return self.manifests / dataset / f"{stem}.parquet"

    def manifests_of(self, dataset: str) -> list[Path]:
        """All manifest files of one dataset, in shard order."""
        return sorted((self.manifests / dataset).glob(f"{dataset}-??????.parquet"))

    def card(self, dataset: str) -> Path:
        """Path of dataset.json."""
        return self.manifests / dataset / "dataset.json"

    def sidecars(self, dataset: str) -> list[Path]:
        """The folders of a dataset's sidecars."""
        return sorted(p for p in (self.manifests / dataset / "sidecars").glob("*") if p.is_dir())

    def datasets(self) -> list[str]:
        """Names of the packed datasets. Raises UserError when there is none."""
        if not self.manifests.is_dir():
            raise UserError(f"there is no folder {self.manifests}: {PACK_FIRST}")
        names = [p.name for p in sorted(self.manifests.iterdir()) if self.manifests_of(p.name)]
        if not names:
            raise UserError(f"no packed data in {self.manifests}: {PACK_FIRST}")
        return names


def local_layout(shards: Path, manifests: Path) -> Layout:
    """The data folders for commands that write, or read whole tars. Raises UserError for remote
    ones."""
    for place in (shards, manifests):
        if is_remote(place):
            raise UserError(
                f"{place} is remote: this command needs folders of this machine; copy what it "
                "makes to the store afterwards, for example with aws s3 sync"
            )
    return Layout(shards, manifests)
