"""Teaching with the embedded teacher: plan to dataset, whatever interrupts it and however it is
shared; what quality control refuses; what other commands make of the targets."""

import json
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.conftest import Call, digests_of
from tests.studio import content
from toolkit import pairs, teach
from toolkit.pairing.plan import read_plan
from toolkit.store.images import decode_rgb
from toolkit.store.layout import Layout
from toolkit.store.manifest import (
    SHARD_SHA256,
    manifest_metadata,
    read_manifest,
    write_manifest,
)
from toolkit.store.samples import SampleReader
from toolkit.teachers import reinhard
from toolkit.teachers.api import Made, Request
from toolkit.teaching.attempts import Maker
from toolkit.teaching.clip import ClipContent
from toolkit.teaching.commands import COMMANDS
from train.config import DataConfig
from train.data import open_data
from train.methods.needs import Needs

TEACH = ("--protocol=reinhard", "--samples_per_shard=4")
GOOD = reinhard.open_teacher(reinhard.Settings(), {}, "cpu")


def rows_of(layout: Layout, dataset: str = "targets") -> list[dict[str, Any]]:
    return [row for path in layout.manifests_of(dataset) for row in read_manifest(path)]


@pytest.fixture
def planned(studio: Layout, call: Call) -> Layout:
    """Ten targets are planned: five pairs, two seeds."""
    done = call(pairs.main, "--seeds=0,1", studio)
    assert done.code == 0, done.err
    return studio


def test_a_plan_becomes_a_dataset(planned: Layout, call: Call) -> None:
    done = call(teach.main, *TEACH, planned)
    assert done.code == 0, done.err
    assert "10 targets made" in done.out
    assert "targets: 10 pictures in 3 shards, 0 refused attempts" in done.out
    plan = pq.read_table(planned.manifests / "pairs" / "pseudo_pairs_train.parquet").to_pylist()
    rows = rows_of(planned)
    assert [row["key"] for row in rows] == [target["key"] for target in plan]
    reader = SampleReader(planned, "targets")
    for row, target in zip(rows, plan, strict=True):
        assert (row["attempt"], row["protocol_exact"], row["parent"]) == (1, True, None)
        assert row["caption"] == target["prompt"]
        assert row["style"] == target["style"]
        assert row["protocol"].startswith("reinhard-1:")
        assert [(x["role"], x["key"]) for x in row["links"]] == [
            ("content", target["content_key"]), ("style", target["style_key"]),
        ]  # fmt: skip
        extra = json.loads(row["extra"])
        assert extra["teacher"]["seed"] == target["seed"]
        assert len(extra["teacher"]["protocol_sha256"]) == 64
        assert set(extra["quality"]["measures"]) >= {"structure", "leak", "noise"}
        assert decode_rgb(reader.picture(row["key"])).shape == (96, 96, 3)
    assert not list((planned.shards / "targets" / ".staged").glob("??????"))


def test_the_picture_is_the_teachers(planned: Layout, call: Call) -> None:
    call(teach.main, *TEACH, planned)
    row = next(row for row in rows_of(planned) if not row["links"][0]["key"].endswith("0"))
    ids = {link["role"]: link["key"] for link in row["links"]}
    asked = Request(
        content(int(ids["content"])), content(100 + int(ids["style"][-1])),
        f"wikiart/{ids['style']}", row["caption"], json.loads(row["extra"])["teacher"]["seed"],
    )  # fmt: skip
    wanted = GOOD.make(asked, reinhard.Settings())
    found = decode_rgb(SampleReader(planned, "targets").picture(row["key"]))
    np.testing.assert_array_equal(found, wanted.pixels)


def test_again_makes_nothing_and_changes_nothing(planned: Layout, call: Call) -> None:
    call(teach.main, *TEACH, planned)
    before = digests_of(planned)
    done = call(teach.main, *TEACH, planned)
    assert "0 targets made" in done.out
    assert "10 were there" in done.out
    assert digests_of(planned) == before


def test_a_rehearsal_is_kept_and_packs_nothing(planned: Layout, call: Call) -> None:
    done = call(teach.main, *TEACH, "--limit=3", planned)
    assert "3 targets made" in done.out
    assert "the 7 that are left take about" in done.out
    assert planned.manifests_of("targets") == []
    done = call(teach.main, *TEACH, planned)
    assert "7 targets made" in done.out
    assert "3 were there" in done.out


def test_a_longer_plan_makes_only_what_is_new(
    studio: Layout, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of the last shard, which is packed anew."""
    call(pairs.main, "--num_pairs=6", studio)
    call(teach.main, *TEACH, studio)
    before = {row["key"]: row["sha256"] for row in rows_of(studio)}
    call(pairs.main, "--num_pairs=9", studio)
    done = call(teach.main, *TEACH, studio)
    assert "3 targets made" in done.out
    after = {row["key"]: row["sha256"] for row in rows_of(studio)}
    assert len(after) == 9
    assert {key: after[key] for key in before} == before
    call(pairs.main, "--num_pairs=9", f"--out={studio.manifests / 'whole'}", studio)
    plan = studio.manifests / "whole" / "pseudo_pairs_train.parquet"
    call(teach.main, *TEACH, f"--plan={plan}", "--name=whole", studio)
    whole = [(row["key"], row["sha256"]) for row in rows_of(studio, "whole")]
    assert whole == list(after.items())


@pytest.mark.parametrize("limit", [[], ["--limit=9"]])
def test_a_plan_that_grows_in_its_middle_makes_only_what_is_new(
    planned: Layout, call: Call, limit: list[str]
) -> None:
    """More pairs with two seeds: pictures move to other shards, packed or waiting to be."""
    call(teach.main, *TEACH, *limit, planned)
    call(pairs.main, "--num_pairs=7", "--seeds=0,1", planned)
    done = call(teach.main, *TEACH, planned)
    assert done.code == 0, done.err
    assert f"{5 if limit else 4} targets made" in done.out
    call(teach.main, *TEACH, "--name=whole", planned)
    whole = [(row["key"], row["sha256"]) for row in rows_of(planned, "whole")]
    assert [(row["key"], row["sha256"]) for row in rows_of(planned)] == whole
    assert len(whole) == 14


@pytest.mark.parametrize("limit", [[], ["--limit=3"]])
def test_another_plan_loses_nothing_unasked(
    planned: Layout, call: Call, tmp_path: Path, limit: list[str]
) -> None:
    made = 3 if limit else 10
    call(teach.main, *TEACH, *limit, planned)
    before = digests_of(planned)
    call(pairs.main, "--num_pairs=2", "--draw_seed=9", "--seeds=2", f"--out={tmp_path}", planned)
    other = tmp_path / "pseudo_pairs_train.parquet"
    for more in ([], ["--limit=1"]):
        refused = call(teach.main, *TEACH, f"--plan={other}", *more, planned).refusal()
        assert f"targets holds {made} targets that this plan does not name, as " in refused
    assert digests_of(planned) == before
    both = f"{planned.manifests / 'pairs' / 'pseudo_pairs_train.parquet'},{other}"
    done = call(teach.main, *TEACH, f"--plan={both}", planned)
    assert f"{12 - made} targets made" in done.out
    done = call(teach.main, *TEACH, f"--plan={other}", "--overwrite", planned)
    assert "2 were there" in done.out
    assert [row["key"] for row in rows_of(planned)] == [t.key for t in read_plan(other)]


def test_several_plans_come_one_after_the_other(planned: Layout, call: Call) -> None:
    other = planned.manifests / "other"
    done = call(pairs.main, "--num_pairs=3", "--seeds=2", f"--out={other}", planned)
    assert done.code == 0, done.err
    plans = [
        folder / "pseudo_pairs_train.parquet" for folder in (planned.manifests / "pairs", other)
    ]
    done = call(teach.main, *TEACH, f"--plan={plans[0]},{plans[1]}", planned)
    assert "13 targets made" in done.out
    seeds = [json.loads(row["extra"])["teacher"]["seed"] for row in rows_of(planned)]
    assert seeds == [0] * 5 + [1] * 5 + [2] * 3


def test_jsonl_is_as_good_a_plan(planned: Layout, call: Call) -> None:
    call(teach.main, *TEACH, planned)
    lines = planned.manifests / "pairs" / "pseudo_pairs_train.jsonl"
    call(teach.main, *TEACH, f"--plan={lines}", "--name=lines", planned)
    found = [[row["sha256"] for row in rows_of(planned, name)] for name in ("targets", "lines")]
    assert found[0] == found[1]


class Stubborn:
    """Answers with a black picture, then with the style itself, then with nothing finite, then as
    `reinhard` does. before: answers that it gave of each target."""

    def __init__(self, before: int = 0) -> None:
        self.identity = {"procedure": "stubborn"}
        self.seen: list[reinhard.Settings] = []
        self.attempts: dict[tuple[str, str], int] = defaultdict(lambda: before)

    def make_many(self, requests: list[Request], settings: reinhard.Settings) -> list[Made]:
        return [self.make(request, settings) for request in requests]

    def make(self, request: Request, settings: reinhard.Settings) -> Made:
        self.seen.append(settings)
        self.attempts[request.style_id, request.prompt] += 1
        number = self.attempts[request.style_id, request.prompt] % 4
        if number == 1:
            return Made(np.zeros_like(request.content))
        if number == 2:
            return Made(request.style)
        if number == 3:
            return Made(np.zeros_like(request.content), False, ("latents are not finite",))
        return GOOD.make(request, settings)


def test_every_attempt_is_a_row_and_a_line(
    studio: Layout, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gentler(settings: Any, history: Any) -> Any:
        return reinhard.Settings(texture=125 - 25 * len(history)) if len(history) < 4 else None

    monkeypatch.setattr(reinhard, "open_teacher", lambda *_: Stubborn())
    monkeypatch.setattr(reinhard, "gentler", gentler)
    call(pairs.main, "--num_pairs=2", studio)
    done = call(teach.main, *TEACH, studio)
    assert done.code == 0, done.err
    assert "6 retries" in done.out
    assert "targets: 2 pictures in 1 shards, 6 refused attempts" in done.out
    rows = rows_of(studio)
    assert [(row["attempt"], row["status"], row["cause"], row["grade"]) for row in rows[:3]] == [
        (1, "failed", "black", "R"), (2, "failed", "leak", "R"), (3, "failed", "nan", "R"),
    ]  # fmt: skip
    first, last = rows[0], rows[3]
    assert (last["attempt"], last["status"], last["protocol_exact"]) == (4, "ok", False)
    assert (last["parent"], last["key"]) == (first["key"], f"{first['key']}-a4")
    assert last["grade"] in "AB"
    assert not first["members"]
    assert json.loads(last["extra"])["teacher"]["texture"] == 50
    lines = (studio.manifests / "targets" / "qc_overrides.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [(x["attempt"], x["after"]) for x in found[:3]] == [
        (2, ["black", "constant", "blur", "structure"]), (3, ["leak", "structure"]), (4, ["nan"]),
    ]  # fmt: skip
    assert len(found) == 6
    done = call(teach.main, *TEACH, "--name=other", "--max_attempts=2", studio)
    assert "other: 0 pictures in 1 shards, 4 refused attempts" in done.out


def test_a_kill_between_attempts_loses_none(
    studio: Layout, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second process makes the third attempt first."""

    class Killed(Stubborn):
        def make(self, request: Request, settings: reinhard.Settings) -> Made:
            if len(self.seen) == 2:
                raise KeyboardInterrupt
            return super().make(request, settings)

    def gentler(settings: Any, history: Any) -> Any:
        return settings if len(history) < 4 else None

    monkeypatch.setattr(reinhard, "gentler", gentler)
    call(pairs.main, "--num_pairs=1", studio)
    monkeypatch.setattr(reinhard, "open_teacher", lambda *_: Killed())
    done = call(teach.main, *TEACH, studio)
    assert (done.code, "the same command goes on" in done.err) == (130, True)
    after = Stubborn(before=2)
    monkeypatch.setattr(reinhard, "open_teacher", lambda *_: after)
    assert call(teach.main, *TEACH, studio).code == 0
    assert len(after.seen) == 2
    assert [row["cause"] for row in rows_of(studio)] == ["black", "leak", "nan", None]


def test_what_does_not_decode_is_a_row_not_the_end(
    planned: Layout, call: Call, spoil: Callable[..., None]
) -> None:
    spoil(planned, "content", "000000000000")
    done = call(teach.main, *TEACH, planned)
    assert done.code == 0, done.err
    failed = [row for row in rows_of(planned) if row["status"] != "ok"]
    assert {row["cause"] for row in failed} <= {"undecodable", "truncated"}
    assert len(failed) == 2  # its two seeds
    assert sum(row["status"] == "ok" for row in rows_of(planned)) == 8


def test_bit_rot_stops_it(planned: Layout, call: Call, spoil: Callable[..., None]) -> None:
    spoil(planned, "content", "000000000001", as_packed=False)
    done = call(teach.main, *TEACH, planned)
    assert done.code == 2
    assert "content/000000000001 in content-000000 is damaged" in done.err


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--protocol=reinhard", "--settings.texture=50"], "texture was 125, is 50"),
        (["--protocol=reinhard", "--format=jpg"], "format was png, is jpg"),
    ],
)
def test_two_ways_are_never_mixed(planned: Layout, call: Call, flags: list[str], says: str) -> None:
    call(teach.main, *TEACH, "--limit=1", planned)  # begun is enough
    again = (*TEACH, *flags[1:], planned)
    refused = call(teach.main, *again, fields=teach._fields).refusal()
    assert "begun in another way" in refused
    assert says in refused
    done = call(teach.main, *again[:-1], "--overwrite", planned, fields=teach._fields)
    assert done.code == 0, done.err
    assert "10 targets made" in done.out


def test_another_dataset_of_that_name_is_left_alone(planned: Layout, call: Call) -> None:
    before = digests_of(planned)
    refused = call(teach.main, *TEACH, "--name=content", planned).refusal()
    assert "holds other data" in refused
    after = digests_of(planned)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--plan=none.parquet"], "there is no plan"),
        (["--limit=0"], "limit=0"),
        (["--thresholds=none.toml"], "cannot read the config"),
        (["--weights.base=x"], "takes nothing: it has no weights"),
        (["--samples_per_shard=0"], "takes 1 or more"),
    ],
)
def test_bad_flags_are_one_line(planned: Layout, call: Call, flags: list[str], says: str) -> None:
    given = [flag for flag in TEACH if flag.split("=")[0] not in {f.split("=")[0] for f in flags}]
    assert says in call(teach.main, *given, *flags, planned, fields=None if "." not in flags[0]
                        else lambda *_: ("", {"weights.base": ""})).refusal()  # fmt: skip


def test_a_plan_of_what_is_not_packed_is_refused(
    planned: Layout, call: Call, tmp_path: Path
) -> None:
    plan = tmp_path / "mine.jsonl"
    plan.write_text('{"content_id": "000000000001", "style_id": "nobody", "seed": 0}\n')
    refused = call(teach.main, *TEACH, f"--plan={plan}", planned).refusal()
    assert "the plan names wikiart/nobody, which is not packed" in refused
    line = '{"content_id": "000000000001", "style_id": "painting-1"}\n'
    plan.write_text(2 * line)
    refused = call(teach.main, *TEACH, f"--plan={plan}", planned).refusal()
    assert "000000000001_painting-1_seed0 twice" in refused
    plan.write_text('{"content_id": "1"}\n')
    assert "line 1" in call(teach.main, *TEACH, f"--plan={plan}", planned).refusal()
    plan.write_text("")
    assert "is empty" in call(teach.main, *TEACH, f"--plan={plan}", planned).refusal()


def test_seeds_outside_the_protocol_are_told(studio: Layout, call: Call) -> None:
    call(pairs.main, "--num_pairs=1", "--seeds=7", studio)
    done = call(teach.main, *TEACH, studio)
    assert "the protocol reinhard does not name: 7; it names 0, 1, 2" in done.err


def test_export_packs_again(planned: Layout, call: Call, tmp_path: Path) -> None:
    call(teach.main, *TEACH, planned)
    out = tmp_path / "teacher_out"
    done = call(COMMANDS["export"], "--as=folder", f"--out={out}", planned)
    assert "10 pictures" in done.out
    rows = rows_of(planned)
    name = f"{rows[0]['links'][0]['key']}_{rows[0]['links'][1]['key']}_seed0.png"
    reader = SampleReader(planned, "targets")
    assert (out / name).read_bytes() == reader.picture(rows[0]["key"])
    from toolkit import pack

    done = call(pack.main, "teacher", f"--src={out}", "--name=back", planned,
                fields=pack._source_options)  # fmt: skip
    assert done.code == 0, done.err
    back = {row["sha256"]: row for row in rows_of(planned, "back")}
    assert set(back) == {row["sha256"] for row in rows}
    assert back[rows[0]["sha256"]]["protocol"] == rows[0]["protocol"]
    links = [(x["role"], x["key"]) for x in back[rows[0]["sha256"]]["links"]]
    assert links == [(x["role"], x["key"]) for x in rows[0]["links"]]
    (out / name).write_bytes(b"another picture of that name")
    done = call(COMMANDS["export"], f"--out={out}", "--where=key like '%_seed0'", planned)
    assert "5 pictures and meta.csv" in done.out
    assert "1 of them written now" in done.out
    assert "5 other pictures lie there, of which meta.csv says nothing" in done.out
    assert (out / name).read_bytes() == reader.picture(rows[0]["key"])


def test_grade_agrees_with_what_teach_measured(planned: Layout, call: Call) -> None:
    call(teach.main, *TEACH, planned)
    done = call(COMMANDS["grade"], planned)
    assert done.code == 0, done.err
    for path in planned.manifests_of("targets"):
        sidecar = path.parent / "sidecars" / "quality" / path.name
        for row, graded in zip(
            read_manifest(path), pq.read_table(sidecar).to_pylist(), strict=True
        ):
            quality = json.loads(row["extra"])["quality"]
            assert (graded["grade"], graded["weight"]) == (
                row["grade"],
                pytest.approx(row["weight"]),
            )
            for name, value in quality["measures"].items():
                assert graded[name] == value, name
    from toolkit import query

    found = call(query.main, "dataset='targets' and quality.structure > 0.5", "--count", planned)
    assert int(found.out) > 5


def test_refused_pictures_can_be_kept_to_look_at(
    studio: Layout, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Those that are pictures; beside the dataset, which has none of them."""
    monkeypatch.setattr(reinhard, "open_teacher", lambda *_: Stubborn())
    monkeypatch.setattr(reinhard, "gentler", lambda settings, history: settings)
    call(pairs.main, "--num_pairs=1", studio)
    done = call(teach.main, *TEACH, f"--keep_refused={tmp_path / 'refused'}", studio)
    assert "1 pictures in 1 shards, 3 refused attempts" in done.out
    (first,) = [row for row in rows_of(studio) if row["attempt"] == 1]
    kept = {p.name: decode_rgb(p.read_bytes()) for p in (tmp_path / "refused").iterdir()}
    assert set(kept) == {f"{first['key']}.png", f"{first['key']}-a2.png", f"{first['key']}-a3.png"}
    assert not kept[f"{first['key']}.png"].any()


def test_the_built_in_limits_are_a_file_to_change(call: Call, tmp_path: Path) -> None:
    from toolkit.teachers.grading import default_limits, load_limits

    call(COMMANDS["limits"], f"--out={tmp_path / 'limits.toml'}")
    assert load_limits(tmp_path / "limits.toml") == default_limits()


def test_what_was_begun_otherwise_is_refused_before_weights_are_loaded(
    planned: Layout, call: Call
) -> None:
    call(teach.main, *TEACH, "--limit=1", planned)
    refused = call(teach.main, "--protocol=a-fixed", "--samples_per_shard=4", planned).refusal()
    assert "targets was begun in another way (protocol." in refused
    nowhere = "--weights.base=/nowhere/sdxl"
    refused = call(teach.main, "--protocol=a-fixed", "--name=new", nowhere, planned,
                   fields=teach._fields).refusal()  # fmt: skip
    assert "--weights.base=/nowhere/sdxl: there is no such folder" in refused


def test_a_plan_is_named_by_its_folder_too(planned: Layout, call: Call) -> None:
    folder = planned.manifests / "pairs"
    done = call(teach.main, *TEACH, f"--plan={folder}", "--limit=1", planned)
    assert done.code == 0, done.err
    shutil.copy(folder / "pseudo_pairs_train.parquet", folder / "pseudo_pairs_val.parquet")
    refused = call(teach.main, *TEACH, f"--plan={folder}", planned).refusal()
    assert "of plans it has pseudo_pairs_train.parquet, pseudo_pairs_val.parquet" in refused


def test_calibrate_fits_and_tells(studio: Layout, call: Call, tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.Generator(np.random.Philox(1))
    lines = ["picture,content,style,label"]
    for number in range(32):
        base, style = content(number), content(200 + number)
        noisy = np.clip(base + rng.normal(0, 60, base.shape), 0, 255).astype(np.uint8)
        soft = (base * 0.8 + 20).astype(np.uint8)
        for name, pixels in (("content", base), ("style", style), ("noise", noisy), ("good", soft)):
            Image.fromarray(pixels).save(tmp_path / f"{name}{number}.png")
        for label in ("noise", "good"):
            lines.append(f"{label}{number}.png,content{number}.png,style{number}.png,{label}")
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(lines) + "\n")
    out = tmp_path / "limits.toml"
    done = call(COMMANDS["calibrate"], f"--labels={table}", f"--out={out}")
    assert done.code == 0, done.err
    fitted = done.out.partition("fitted limits")[2]
    assert "precision 1.000, recall 1.000" in fitted
    call(pairs.main, "--num_pairs=2", studio)
    assert call(teach.main, *TEACH, f"--thresholds={out}", studio).code == 0
    lines[-1] = lines[-1].replace(",good", ",ugly")
    table.write_text("\n".join(lines[:1] + lines[-9:]) + "\n")
    few = call(COMMANDS["calibrate"], f"--labels={table}").out
    assert "no limit was fitted: of good pictures, " in few
    assert few.count("recall") == 2
    table.write_text("\n".join([*lines[:17], *lines[-1:]]) + "\n")
    odd = call(COMMANDS["calibrate"], f"--labels={table}").out
    assert ("no check is for ugly" in odd) == ("ugly" not in odd.partition("fitted")[0])
    table.write_text("\n".join(lines[:1] + [x for x in lines if x.endswith("good")]) + "\n")
    assert (
        "precision and recall say nothing" in call(COMMANDS["calibrate"], f"--labels={table}").out
    )
    table.write_text("picture,label\nx.png,good\n")
    assert "names picture, content" in call(COMMANDS["calibrate"], f"--labels={table}").refusal()


def test_protocols_are_listed_shown_and_compared(call: Call) -> None:
    protocol = COMMANDS["protocol"]
    assert "a-generation" in call(protocol, "list").out
    shown = call(protocol, "show", "a-fixed").out
    assert "3.8" in shown
    assert "sha256" in shown
    said = call(protocol, "show", "a-fixed", "--sentence").out
    assert said.startswith("Teacher targets are generated by SDXL base")
    lines = call(protocol, "diff", "a-fixed", "a-generation").out.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["strength", "0.45", "0.4"], ["guidance_scale", "3.8", "3.5"],
    ]  # fmt: skip


class Company(Stubborn):
    """A teacher whose pictures depend on their company, as those of a batch do to the last bit."""

    def make(self, request: Request, settings: reinhard.Settings) -> Made:
        return GOOD.make(request, settings)

    def make_many(self, requests: list[Request], settings: reinhard.Settings) -> list[Made]:
        self.sizes = [*getattr(self, "sizes", []), len(requests)]
        mark = sum(r.seed + int(r.style_id[-1]) + int(r.prompt[-1]) for r in requests)
        made = []
        for request in requests:
            pixels = GOOD.make(request, settings).pixels.copy()
            pixels[0, 0] = mark
            made.append(Made(pixels))
        return made


def test_batches_are_the_same_whatever_was_interrupted_or_shared(
    planned: Layout, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    company = Company()
    monkeypatch.setattr(reinhard, "open_teacher", lambda *_: company)
    words = (*TEACH, "--batch_size=3")
    done = call(teach.main, *words, "--name=whole", planned)
    assert "10 targets made" in done.out
    assert company.sizes == [3, 1, 3, 1, 2]  # four targets a shard
    expected = [(row["key"], row["sha256"]) for row in rows_of(planned, "whole")]
    assert len({sha256 for _, sha256 in expected}) == 10

    call(teach.main, *words, "--limit=5", planned)
    staged = sorted((planned.shards / "targets" / ".staged").glob("??????/*.json"))
    assert len(staged) == 7
    for path in staged[1::3]:  # as if a kill had come between
        path.unlink()
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert call(teach.main, *words, planned).code == 0
    assert [(row["key"], row["sha256"]) for row in rows_of(planned)] == expected
    refused = call(teach.main, *TEACH, planned).refusal()
    assert "batch_size was 3, is 1" in refused


def test_there_is_nothing_to_compile_in_the_embedded_teacher(planned: Layout, call: Call) -> None:
    done = call(teach.main, *TEACH, "--compile", planned)
    assert "--compile: this teacher has no network to compile" in done.refusal()


def test_clip_measures_where_its_weights_are(planned: Layout, call: Call, tmp_path: Path) -> None:
    """A content is all like itself; what is not measured is null, and said."""
    from tests.twins import clip

    done = call(teach.main, *TEACH, "--limit=1", "--name=without", planned)
    assert "CLIP's content consistency was not measured: --clip=DIR" in done.out
    weights = clip(tmp_path / "clip")
    done = call(teach.main, *TEACH, f"--clip={weights}", planned)
    assert done.code == 0, done.err
    assert "was not measured" not in done.out
    for row in rows_of(planned):
        assert -1 <= json.loads(row["extra"])["quality"]["measures"]["clip_content"] <= 1
    one = ClipContent(str(weights), "cpu")
    assert one.similarity(content(1), (("content", "1"), lambda: content(1))) == pytest.approx(
        1, abs=1e-5
    )
    card = json.loads(planned.card("targets").read_text())
    assert card["made_by"]["clip"]["encoder"] == "clip_image"
    refused = call(teach.main, *TEACH, planned).refusal()
    assert "clip was {" in refused


def test_lost_manifests_come_back_and_nothing_is_made_again(planned: Layout, call: Call) -> None:
    from toolkit import verify

    call(teach.main, *TEACH, planned)
    before, rows = digests_of(planned), rows_of(planned)
    shutil.rmtree(planned.manifests / "targets")
    assert call(verify.main, "--repair_manifest", "targets", planned).code == 0
    assert [{**row, "source_id": None} for row in rows_of(planned)] == [
        {**row, "source_id": None} for row in rows
    ]
    done = call(teach.main, *TEACH, planned)
    assert "0 targets made" in done.out
    assert digests_of(planned) == before


def test_training_tells_of_two_protocols(planned: Layout, call: Call) -> None:
    """Both in one dataset, as another program may have put them there."""
    from toolkit.store.selection import select

    call(teach.main, *TEACH, planned)
    path = planned.manifests_of("targets")[0]
    rows = read_manifest(path)
    meta = manifest_metadata(path)
    rows[0]["protocol"] = "other-1:00000000"
    write_manifest(path, rows, "f", meta[SHARD_SHA256].decode())
    found = select("main", "targets", "true", planned)
    assert [name.split("-")[0] for name in found.protocols] == ["other", "reinhard"]
    opened = open_data(DataConfig(mix="main:1", main="targets"), Needs(("target",), 32), planned)
    assert any("made by 2 protocols, other-1:00000000" in note for note in opened.notes)
    where = f"protocol = '{rows[1]['protocol']}'"
    assert len(select("main", "targets", where, planned).protocols) == 1


def test_the_teacher_goes_on_while_a_picture_is_looked_at(
    planned: Layout, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture is judged only once the next is asked for."""
    asked = [threading.Event() for _ in range(10)]

    class Watched(Stubborn):
        def make(self, request: Request, settings: reinhard.Settings) -> Made:
            asked[len(self.seen)].set()
            self.seen.append(settings)
            return GOOD.make(request, settings)

    judged, names = Maker.judged, []

    def after_the_next(self: Maker, *about: Any) -> Any:
        names.append(threading.current_thread().name)
        number = len(names)
        if number % 4 and number < 10:  # four targets a shard, which is packed whole
            assert asked[number].wait(20)
        return judged(self, *about)

    monkeypatch.setattr(Maker, "judged", after_the_next)
    monkeypatch.setattr(reinhard, "open_teacher", lambda *_: Watched())
    done = call(teach.main, *TEACH, planned)
    assert done.code == 0, done.err
    assert "10 targets made" in done.out
    assert threading.current_thread().name not in names
