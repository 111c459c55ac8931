"""Names of samples, shards and datasets.

A key holds only `[a-z0-9_-]`, at most 80 characters: WebDataset readers split a member's name at
its first dot, and object stores, file systems and SQL all agree on these characters.
"""

import hashlib
import re

from toolkit.core.errors import UserError

MAX_KEY_LENGTH = 80
HASH_LENGTH = 10


def make_key(source_id: str) -> str:
    """The key of an input: its id where that is a valid key, else a readable form plus a hash.

    Two ids that look alike after cleaning keep different keys through the hash. An id that spells
    out another one's cleaned form and hash would clash with it; the packer refuses the second.
    """
    if is_key(source_id):
        return source_id
    digest = hashlib.sha256(source_id.encode("utf-8", "surrogateescape")).hexdigest()[:HASH_LENGTH]
    clean = re.sub(r"[^a-z0-9_-]+", "_", source_id.lower()).strip("_")
    return f"{clean[: MAX_KEY_LENGTH - HASH_LENGTH - 1]}-{digest}".lstrip("-")


def readable(text: str) -> str:
    """`text` without what UTF-8 cannot hold, such as bytes of a file name in another encoding."""
    return text.encode("utf-8", "backslashreplace").decode()


def is_key(text: str) -> bool:
    """Whether `text` can be a key as it stands."""
    return re.fullmatch(rf"[a-z0-9_-]{{1,{MAX_KEY_LENGTH}}}", text) is not None


def check_dataset_name(name: str) -> str:
    """Returns `name`. Raises UserError when it cannot name folders and shards."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
        raise UserError(
            f"{name!r} cannot name a dataset: use a-z, 0-9, _ and -, at most 64 characters"
        )
    return name


def shard_stem(dataset: str, index: int) -> str:
    """`content` and 3 give `content-000003`."""
    return f"{dataset}-{index:06d}"
