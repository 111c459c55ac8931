"""Pictures of anybody's program, scored: the same numbers whatever order, threads or earlier
evaluations there were; links, leaks and what cannot be scored."""

import csv
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from eval import compare, leaderboard, report, run
from eval.features.api import Extractor, Extractors
from eval.metrics import open_metric
from eval.metrics.api import Metric, SetMetric, Tools
from tests.eval.pictures import disturbed, picture
from tests.twins import EXTRACTORS

SINGLE = "lpips_squeeze,edge_structure,colour_histogram,colour_distance"
METRICS = f"{SINGLE},kid,fid"
CONTENTS = ("boat", "cat_two", "dog", "house")
STYLES = {"Cubism": ("a1", "a2"), "Fauvism": ("b1", "b2", "b3")}


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("weights")
    names = ("lpips_squeeze", "inception")
    return ",".join(f"{name}:{EXTRACTORS[name](root / name)}" for name in names)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """contents/, styles/STYLE/ and out/ with a blend of each pair."""
    monkeypatch.chdir(tmp_path)
    made: dict[str, np.ndarray] = {}
    for number, name in enumerate(CONTENTS):
        made[name] = picture(number, 64)
        save(tmp_path / "contents" / f"{name}.png", made[name])
    (tmp_path / "contents" / "boat.txt").write_text("a boat at sea\n")
    styles = [(style, name) for style, names in STYLES.items() for name in names]
    for number, (style, name) in enumerate(styles):
        made[name] = picture(100 + number, 64)
        save(tmp_path / "styles" / style / f"{name}.png", made[name])
        for content in CONTENTS:
            blend = made[content] / 2 + made[name] / 2
            save(tmp_path / "out" / f"{content}_{name}.png", blend.astype(np.uint8))
    return tmp_path


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def scored(call: Any, folder: str, *flags: str, metrics: str = METRICS) -> tuple[Any, dict]:
    done = call(
        run.main, f"--folder={folder}", "--contents=contents", "--styles=styles",
        f"--metrics={metrics}", *flags,
    )  # fmt: skip
    assert done.code == 0, done.err
    return done, json.loads(Path("runs", folder, "scores", "summary.json").read_text())


def values(summary: dict) -> dict[str, Any]:
    return {
        m["name"]: (m["value"], m["low"], m["high"], m["baselines"]) for m in summary["metrics"]
    }


def test_scores_are_those_of_the_metrics_by_hand(work: Path, call: Any, twins: str) -> None:
    _, summary = scored(call, "out", f"--weights={twins}")
    weights = dict(text.split(":", 1) for text in twins.split(","))
    tools = Tools(Extractors(weights))
    sidecar = pq.read_table("manifests/out/sidecars/scores/out-000000.parquet").to_pylist()
    assert len(sidecar) == 20
    by_key = {row["key"]: row for row in sidecar}

    def pixels(path: str) -> np.ndarray:
        return np.asarray(Image.open(path).convert("RGB"))

    for name, reference in (("lpips_squeeze", "contents/cat_two"), ("colour_histogram", None)):
        metric = open_metric(name, tools)
        assert isinstance(metric, Metric)
        seen = metric.extractor.look(pixels("out/cat_two_b2.png"))
        other = metric.extractor.look(pixels(f"{reference or 'styles/Fauvism/b2'}.png"))
        assert by_key["cat_two_b2"][name] == pytest.approx(metric.score(seen, other), rel=1e-6)
        mean = np.mean([row[name] for row in sidecar])
        assert values(summary)[name][0] == pytest.approx(mean)
    kid = open_metric("kid", tools)
    assert isinstance(kid, SetMetric)
    features = [
        np.stack([kid.extractor.look(pixels(str(p)))[0] for p in sorted(Path(d).rglob("*.png"))])
        for d in ("out", "styles")
    ]
    from eval.kernel_distance import kernel_distance

    assert values(summary)["kid"][0] == pytest.approx(kernel_distance(*features), rel=1e-6)
    assert summary["styles"]["Fauvism"]["pictures"] == 12
    assert summary["splits"] == {"none": 20}
    fid = next(m for m in summary["metrics"] if m["name"] == "fid")
    assert fid["expected"] > 0
    assert fid["settings"]["references"] == 5
    assert fid["low"] is None


def test_order_threads_and_shards_change_no_bit(
    work: Path, call: Any, twins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures under names that sort the other way round, in shards of seven, by three threads, out
    of a store that knows nothing: every number is the same."""
    flags = (f"--weights={twins}", "--trained_on=dataset='styles-only'")
    _, first = scored(call, "out", f"--weights={twins}")
    rows = [("file_name", "content", "style_reference")]
    for number, path in enumerate(sorted((work / "out").glob("*.png"), reverse=True)):
        content, style = path.stem.rsplit("_", 1)
        save(work / "again" / f"p{number:02}.png", np.asarray(Image.open(path)))
        rows.append((f"p{number:02}.png", content, f"{style}.png"))
    with open(work / "again" / "metadata.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    (work / "manifests" / ".features" / "features.sqlite").unlink()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(3)))
    monkeypatch.setattr("eval.folder._PER_SHARD", 7)
    _, second = scored(call, "again", *flags[:1])
    assert len(list((work / "shards" / "again").glob("*.tar"))) == 3
    for name in ("lpips_squeeze", "edge_structure", "colour_histogram"):
        assert values(first)[name][0] == pytest.approx(values(second)[name][0], rel=1e-14)
    for name in ("fid", "kid"):
        assert values(first)[name] == values(second)[name]
    columns = [
        {
            tuple(row["links"][role] for role in ("content", "style")): row["scores"]
            for row in linked(work, name)
        }
        for name in ("out", "again")
    ]
    keys = [{(c.split("/")[1], s.split("/")[1]): v for (c, s), v in col.items()} for col in columns]
    assert keys[0] == keys[1]


def linked(work: Path, dataset: str) -> list[dict[str, Any]]:
    """Links and scores of each picture."""
    found = []
    for path in sorted((work / "manifests" / dataset).glob("*.parquet")):
        sidecar = pq.read_table(path.parent / "sidecars" / "scores" / path.name).to_pylist()
        rows = pq.ParquetFile(path).read(columns=["key", "links"]).to_pylist()
        for row, scores in zip(rows, sidecar, strict=True):
            links = {link["role"]: f"{link['dataset']}/{link['key']}" for link in row["links"]}
            found.append({"links": links, "scores": {k: scores[k] for k in scores if k != "key"}})
    return found


def test_nothing_is_looked_at_twice(
    work: Path, call: Any, twins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second evaluation asks no network: not even for the same pictures under another name."""
    metrics = f"{SINGLE},kid"
    _, first = scored(call, "out", f"--weights={twins}", metrics=metrics)
    (work / "out").rename(work / "moved")

    def refuse(*_: Any) -> None:
        raise AssertionError("looked again")

    monkeypatch.setattr(Extractor, "look", refuse)
    _, second = scored(call, "moved", f"--weights={twins}", metrics=metrics)
    assert values(first) == values(second)


def test_overlap_with_training_is_found_counted_and_refused(work: Path, call: Any) -> None:
    """Contents that were trained on, one of them as a JPEG of another size."""
    same = (work / "contents" / "dog.png").read_bytes()
    save(work / "trained" / "other.png", picture(50, 64))
    (work / "trained" / "dog.png").write_bytes(same)
    big = Image.open(work / "contents" / "house.png").resize((160, 160), Image.Resampling.BICUBIC)
    big.save(work / "trained" / "house.jpg", quality=60)
    from toolkit.packing.dataset import pack
    from toolkit.sources.folder import open_source
    from toolkit.store.layout import Layout

    pack(open_source(work / "trained"), "trained", Layout(), 8)
    flag = "--trained_on=dataset='trained'"
    done, summary = scored(call, "out", flag, metrics="colour_distance")
    leaks = summary["leaks"]
    assert (leaks["trained"], leaks["checked"]) == (3, {"content": 4, "style": 5})
    assert leaks["same"] == {"content": 1, "style": 0}
    assert leaks["near"] == {"content": 1, "style": 0}
    assert "1 content the same and 1 nearly the same" in done.out
    refused = call(
        run.main, "--folder=out", "--contents=contents", "--styles=styles", flag, "--strict"
    )
    assert refused.code == 2
    assert "--strict refuses to score them" in refused.err.splitlines()[-1]
    done, _ = scored(call, "out", "--trained_on=key='other'", "--strict", metrics="colour_distance")
    assert "none of 4 content, 5 style is among 1 pictures" in done.out


def test_what_cannot_be_scored_is_counted(work: Path, call: Any, twins: str) -> None:
    (work / "out" / "boat_broken.png").write_bytes(b"no picture")
    save(work / "out" / "nobody_knows.png", picture(7, 64))
    save(work / "out" / "dog_b3.png", picture(8, 24))
    done, summary = scored(call, "out", f"--weights={twins}", metrics=SINGLE)
    assert "1 failed" in done.out
    assert summary["not_scored"] == {"failed: not_a_picture": 1}
    found = {m["name"]: m for m in summary["metrics"]}
    reasons = {"linked to no content": 1, "LPIPS takes pictures from 35 pixels a side": 1}
    assert found["lpips_squeeze"]["left_out"] == reasons
    assert found["lpips_squeeze"]["num_samples"] == 19
    assert found["edge_structure"]["num_samples"] == 20
    assert "lpips_squeeze: 1 pictures without a score: linked to no content" in done.out
    rows = pq.read_table("manifests/out/sidecars/scores/out-000000.parquet").to_pylist()
    by_key = {row["key"]: row for row in rows}
    assert by_key["nobody_knows"]["edge_structure"] is None
    assert by_key["dog_b3"]["lpips_squeeze"] is None
    assert by_key["dog_b3"]["edge_structure"] is not None


def test_pictures_of_a_style_without_a_reference_are_compared_with_its_pictures(
    work: Path, call: Any
) -> None:
    """The mean over the pictures of the pool; the set is the whole pool of the named styles."""
    for style in STYLES:
        for name in CONTENTS:
            save(work / "labelled" / style / f"{name}.png", disturbed(picture(3, 64), 20))
    scored(call, "out", metrics="colour_distance")  # packs contents and styles
    done = call(
        run.main, "--folder=labelled", "--contents=contents", "--metrics=colour_distance",
        "--references=dataset='styles'",
    )  # fmt: skip
    assert done.code == 0, done.err
    rows = pq.read_table("manifests/labelled/sidecars/scores/labelled-000000.parquet").to_pylist()
    metric = open_metric("colour_distance", Tools())
    assert isinstance(metric, Metric)
    own = (disturbed(picture(3, 64), 20),)
    expected = np.mean([metric.score(own, (picture(102 + n, 64),)) for n in range(3)])
    assert rows[-1]["key"].startswith("fauvism")
    assert rows[-1]["colour_distance"] == pytest.approx(expected)
    summary = json.loads(Path("runs/labelled/scores/summary.json").read_text())
    assert summary["metrics"][0]["num_samples"] == 8


def test_mistakes_are_one_line(work: Path, call: Any) -> None:
    for flags, words in (
        ((), "name either --run=runs/NAME or --folder=DIR"),
        (("--folder=absent",), "there is no such folder"),
        (("--folder=out", "--styles=absent"), "--styles=absent: there is no such folder"),
        (("--folder=out", "--metrics=lpis"), "unknown metric 'lpis'"),
        (("--folder=out", "--weights=dinov2"), "takes EXTRACTOR:PLACE"),
        (("--folder=out", "--weights=dino3:x"), "there is no extractor 'dino3'"),
        (("--run=runs/x", "--contents=contents"), "go with --folder"),
    ):
        assert words in call(run.main, *flags).refusal(), flags
    rows = "file_name,content\nboat_a1.png,nothing\n"
    (work / "out" / "metadata.csv").write_text(rows)
    refused = call(run.main, "--folder=out", "--contents=contents")
    assert refused.code == 2
    last = refused.err.splitlines()[-1]
    assert last.startswith("error: the table names the content 'nothing', which is not among")


def test_a_rehearsal_writes_no_scores(work: Path, call: Any) -> None:
    done = call(
        run.main, "--folder=out", "--contents=contents", "--styles=styles",
        "--metrics=colour_distance", "--limit=3",
    )  # fmt: skip
    assert "a rehearsal: nothing was written" in done.out
    assert not (work / "runs").exists()
    assert not (work / "manifests" / "out" / "sidecars").exists()


def test_the_report_of_a_folder_stands_alone(work: Path, call: Any, twins: str) -> None:
    scored(call, "out", f"--weights={twins}")
    done = call(report.main, "--name=out", "--pictures=4")
    assert done.code == 0, done.err
    page = Path("runs/out/report.html").read_text()
    for word in ("Content against style", "best by colour_histogram", "kid", "few for 2048"):
        assert word in page, word
    assert page.count("<img") >= 3 * 4
    text = Path("runs/out/report.md").read_text()
    assert "| lpips_squeeze ↓ |" in text
    assert json.loads(Path("runs/out/report.json").read_text())["pictures"] == 20
    assert "nothing is scored there yet" in call(report.main, "--name=absent").refusal()


def test_two_folders_are_compared_and_ranked(work: Path, call: Any) -> None:
    """The second has noise over it: worse edges, and it says so; its colours are about the same."""
    metrics = "edge_structure,colour_histogram"
    for path in (work / "out").glob("*.png"):
        save(work / "noisy" / path.name, disturbed(np.asarray(Image.open(path)), 90))
    scored(call, "out", metrics=metrics)
    call(
        run.main, "--folder=noisy", "--contents=contents", "--styles=styles",
        f"--metrics={metrics},colour_distance",
    )  # fmt: skip
    done = call(compare.main, "out", "noisy", "--format=json")
    found = json.loads(done.out)
    edges = next(one for one in found["pairs"] if one["metric"] == "edge_structure")
    assert edges["verdict"] == "worse"
    assert edges["high"] < 0
    assert edges["pairs"] == 20
    assert found["not_compared"] == {"colour_distance": "out has none"}
    table = call(compare.main, "out", "out").out
    assert table.count("inside noise") == 2
    ranked = call(leaderboard.main, "--by=edge_structure", "--format=csv").out.splitlines()
    assert ranked[0].startswith("name,method,pictures,colour_distance,colour_histogram")
    assert [line.split(",")[0] for line in ranked[1:]] == ["out", "noisy"]
    assert "(" not in ranked[1]
    path = Path("runs/out/scores/summary.json")
    summary = json.loads(path.read_text())
    next(m for m in summary["metrics"] if m["name"] == "edge_structure")["num_samples"] = 3
    path.write_text(json.dumps(summary))
    assert call(leaderboard.main, "--metrics=edge_structure", "--format=csv").out.count(" (3)") == 1
    assert "no run has the metric" in call(leaderboard.main, "--by=fid").refusal()
    assert "scored are noisy, out" in call(compare.main, "out", "absent").refusal()
    (work / "out" / "boat_a1.png").unlink()
    call(run.main, "--folder=out", "--contents=contents", "--limit=1")
    assert "are of other pictures" in call(compare.main, "out", "noisy").refusal()


def test_a_picture_may_be_a_content_and_stand_for_its_style(work: Path) -> None:
    """Paintings that are painted anew in another style are in the pool of their own."""
    from eval.roster import Roster, pool_of
    from toolkit.packing.dataset import pack
    from toolkit.sources.folder import open_source
    from toolkit.store.layout import Layout

    layout = Layout()
    pack(open_source(work / "styles"), "styles", layout, 100)
    for name in ("a1", "a2"):
        save(work / "anew" / "Fauvism" / f"{name}.png", picture(9, 64))
        save(work / "anew" / "Cubism" / f"{name}.png", picture(9, 64))
    from eval.folder import subject_of_folder

    subject_of_folder(work / "anew", "styles", "", None, Path("runs"), layout)
    roster = Roster(layout, "anew", pool_of(layout, "dataset='styles'"))
    assert {p.key.partition("-")[0] for p in roster.pool("Cubism")} == {"cubism_a1", "cubism_a2"}
    assert len(list(roster.all_references("style"))) == 5
    item = next(i for i in roster.items() if i.style == "Fauvism")
    assert len(item.refs["style"]) == 3
    assert len(item.refs["content"]) == 1


def test_what_a_picture_stands_for_may_be_its_task(work: Path) -> None:
    """As a method has it whose labels are tasks, or whose samples have no style."""
    from eval.roster import Roster, pool_of
    from toolkit.packing.dataset import pack
    from toolkit.sources.folder import open_source
    from toolkit.store.layout import Layout

    layout = Layout()
    for n in range(3):
        save(work / "plain" / f"p{n}.png", picture(200 + n, 64))
    pack(open_source(work / "styles"), "styles", layout, 100)
    pack(open_source(work / "plain"), "plain", layout, 100)
    wanted = "dataset in ('styles', 'plain')"
    tasks = {"styles": "paintings", "plain": "plain ones"}

    def counted(label: dict[str, Any] | None) -> dict[str, int]:
        return dict(Counter(style for _, _, style in pool_of(layout, wanted, label)))

    assert counted(None) == {"Cubism": 2, "Fauvism": 3}
    by_style = {"tasks": tasks, "always": False}
    assert counted(by_style) == {"Cubism": 2, "Fauvism": 3, "plain ones": 3}
    assert counted({"tasks": tasks, "always": True}) == {"paintings": 5, "plain ones": 3}
    for name in ("a", "b"):
        save(work / "made" / "paintings" / f"{name}.png", picture(9, 64))
    from eval.folder import subject_of_folder

    subject_of_folder(work / "made", "", "", None, Path("runs"), layout)
    roster = Roster(layout, "made", pool_of(layout, wanted, {"tasks": tasks, "always": True}))
    assert {p.dataset for p in roster.pool("paintings")} == {"styles"}
    assert len(list(roster.all_references("style"))) == 5
    assert {p.style for p in roster.pool("paintings")} == {"paintings"}


def test_other_pictures_under_a_taken_name_are_refused(work: Path, call: Any) -> None:
    metrics = "colour_distance"
    _, before = scored(call, "out", metrics=metrics)
    save(work / "other" / "out" / "boat_a1.png", picture(400, 64))
    flags = ("--contents=contents", "--styles=styles", f"--metrics={metrics}")
    refused = call(run.main, "--folder=other/out", *flags)
    assert refused.code == 2
    assert "was packed from" in refused.err
    assert refused.err.rstrip().endswith("give --name=…, what to call these pictures")
    assert json.loads(Path("runs/out/scores/summary.json").read_text()) == before
    assert call(run.main, "--folder=other/out", "--name=second", *flags).code == 0
    shutil.copytree(work / "contents", work / "elsewhere" / "contents")
    save(work / "elsewhere" / "contents" / "more.png", picture(401, 64))
    refused = call(run.main, "--folder=out", "--contents=elsewhere/contents", "--styles=styles")
    assert refused.code == 2
    assert "--src=elsewhere/contents --name=OTHER, and give --contents=OTHER" in refused.err
    (work / "runs" / "trained").mkdir()
    (work / "runs" / "trained" / "config.toml").touch()
    refused = call(run.main, "--folder=out", "--name=trained", *flags)
    assert "runs/trained is a run: give --name=…" in refused.err


def test_pictures_that_belong_to_nothing_say_what_to_do(work: Path, call: Any) -> None:
    save(work / "out" / "zebra_a1.png", picture(7, 64))
    done, _ = scored(call, "out", metrics="colour_distance")
    for role in ("content", "style"):
        assert f"1 pictures without a {role}, as zebra_a1.png: name them CONTENT_STYLE" in done.out
    done = call(run.main, "--folder=out", "--contents=contents", "--metrics=edge_structure")
    assert "pictures without a style: --styles=DIR names the styles" in done.out
    assert "scored before and not now: colour_distance; --metrics=…" in done.out
