"""Makes the targets of a part, with the teacher kept busy: while it works at one block, a second
thread looks at, encodes and stages the block before, and reads the pictures of the next."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from toolkit.core.files import make_folder, write_atomic
from toolkit.core.progress import Progress
from toolkit.packing.write import PackResult
from toolkit.pairing.plan import Target
from toolkit.store.images import encode_png
from toolkit.teachers.api import Made, Request
from toolkit.teaching.attempts import Maker
from toolkit.teaching.pack import attempt_key
from toolkit.teaching.stage import Attempt, Stage


@dataclass
class Summary:
    """What came of it. num_made: targets finished now; num_kept: finished before; grades: of the
    targets made now, R for those that were refused to the last; retries: attempts beyond the first;
    causes: of refused attempts; seconds: spent making; packed: of the whole dataset, None while
    other processes are at work or a limit ended it."""

    num_made: int = 0
    num_kept: int = 0
    num_planned: int = 0
    grades: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    seconds: float = 0.0
    packed: PackResult | None = None


@dataclass(frozen=True)
class _Work:
    """A target. attempts: those that are there, which grow; was_finished: before this run; asked:
    of the teacher, or why it cannot be asked; nothing in a block that was finished."""

    target: Target
    attempts: list[Attempt]
    was_finished: bool
    asked: Request | Attempt | None


_Block = list[_Work]


class Making:
    """The targets of one part.

    Args:
        stage: where attempts are kept.
        part: its number.
        maker: of the attempts.
        summary: counts what is done.
        keep_refused: folder for pictures that are refused.
    """

    def __init__(
        self,
        stage: Stage,
        part: int,
        maker: Maker,
        summary: Summary,
        keep_refused: Path | None = None,
    ):
        self._stage, self._part, self._maker, self._summary = stage, part, maker, summary
        self._keep_refused = keep_refused

    def run(self, blocks: Sequence[Sequence[Target]], label: str) -> None:
        """Finishes the targets of all blocks, of which each is what is made together. Raises what
        `Maker` does; what was made is kept."""
        start = time.monotonic()
        with (
            Progress(sum(map(len, blocks)), label, "targets") as progress,
            ThreadPoolExecutor(1) as beside,
        ):
            before: tuple[_Block, Future[None]] | None = None
            for block in self._read_ahead(beside, blocks):
                judged = beside.submit(self._judge_all, block, self._make(block))
                if before is not None:
                    self._finish(*before, beside, progress)
                before = block, judged
            if before is not None:
                self._finish(*before, beside, progress)
        self._summary.seconds += time.monotonic() - start

    def _read_ahead(
        self, beside: ThreadPoolExecutor, blocks: Sequence[Sequence[Target]]
    ) -> Iterator[_Block]:
        """The blocks, each read while the one before is at work."""
        ahead: Future[_Block] | None = None
        for targets, following in zip_longest(blocks, blocks[1:]):
            block = (ahead or beside.submit(self._read, targets)).result()
            ahead = beside.submit(self._read, following) if following else None
            yield block

    def _read(self, targets: Sequence[Target]) -> _Block:
        found = [self._stage.attempts(self._part, target) for target in targets]
        finished = [bool(attempts) and attempts[-1].is_last for attempts in found]
        return [
            _Work(target, attempts, done, None if all(finished) else self._maker.request(target))
            for target, attempts, done in zip(targets, found, finished, strict=True)
        ]

    def _make(self, block: _Block) -> list[Made]:
        """First attempts, at the whole block if one of them lacks: a picture's last bits may depend
        on its company, so that is always the same."""
        if all(work.attempts for work in block):
            return []
        requests = [work.asked for work in block if isinstance(work.asked, Request)]
        return self._maker.make(requests, self._maker.following([]))

    def _judge_all(self, block: _Block, made: Sequence[Made]) -> None:
        """Keeps the first attempts that were not there."""
        pictures = iter(made)
        for work in block:
            one = next(pictures, None) if isinstance(work.asked, Request) else None
            if not work.attempts:
                self._judge(work, one)

    def _finish(
        self, block: _Block, judged: Future[None], beside: ThreadPoolExecutor, progress: Progress
    ) -> None:
        """Tries again what was refused."""
        judged.result()
        for work in block:
            while not work.attempts[-1].is_last:
                assert isinstance(work.asked, Request)
                (made,) = self._maker.make([work.asked], self._maker.following(_causes(work)))
                beside.submit(self._judge, work, made).result()
            self._summary.num_kept += work.was_finished
            self._summary.num_made += not work.was_finished
            progress.advance(note=_told(self._summary))

    def _judge(self, work: _Work, made: Made | None) -> None:
        """Keeps one attempt. made: nothing where the teacher could not be asked."""
        attempt, data = work.asked, b""
        if isinstance(work.asked, Request):
            assert made is not None
            attempt, data = self._maker.judged(work.target, work.asked, made, _causes(work))
        assert isinstance(attempt, Attempt)
        if self._keep_refused and made and attempt.grade == "R":
            name = f"{attempt_key(work.target.key, attempt.number)}.png"
            write_atomic(make_folder(self._keep_refused) / name, encode_png(made.pixels))
        self._stage.add(self._part, work.target, attempt, data)
        work.attempts.append(attempt)
        self._summary.causes.update(attempt.causes)
        self._summary.retries += attempt.number > 1
        if attempt.is_last:
            self._summary.grades[attempt.grade] += 1


def _causes(work: _Work) -> list[tuple[str, ...]]:
    return [attempt.causes for attempt in work.attempts]


def _told(summary: Summary) -> str:
    return ", ".join(f"{grade} {count}" for grade, count in sorted(summary.grades.items()))
