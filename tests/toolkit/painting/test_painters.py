"""Each painter's signature, measured independently of how it is painted."""

import numpy as np
import pytest

from toolkit.painting import facets, flat, hatching, points, strokes, styles

Pictures = dict[str, np.ndarray]


def _rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def _grey(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _shrunk(plane: np.ndarray, factor: int) -> np.ndarray:
    height, width = (size // factor for size in plane.shape[:2])
    plane = plane[: height * factor, : width * factor]
    return plane.reshape(height, factor, width, factor, *plane.shape[2:]).mean(axis=(1, 3))


@pytest.mark.parametrize("style", styles.STYLES, ids=lambda style: style.name)
class TestEveryPainter:
    def test_seed_and_palette_decide_the_bytes(
        self, style: styles.Style, photographs: Pictures
    ) -> None:
        picture = photographs["cat"]
        before = picture.copy()
        first = style.paint(picture, _rng(1), 2)
        assert first.dtype == np.uint8
        assert first.shape == picture.shape
        np.testing.assert_array_equal(picture, before)
        np.testing.assert_array_equal(first, style.paint(picture, _rng(1), 2))
        assert (first != style.paint(picture, _rng(2), 2)).any()

    def test_palettes_differ_clearly(self, style: styles.Style, photographs: Pictures) -> None:
        assert len(style.palettes) == 4
        for name in ("cat", "astronaut"):
            means = [
                style.paint(photographs[name], _rng(1), palette).mean(axis=(0, 1))
                for palette in range(4)
            ]
            for one in range(4):
                for other in range(one):
                    assert np.linalg.norm(means[one] - means[other]) > 15

    def test_the_subject_stays_recognisable(
        self, style: styles.Style, photographs: Pictures
    ) -> None:
        for name, picture in photographs.items():
            painting = style.paint(picture, _rng(3), 0)
            own = _shrunk(_grey(painting), 8)
            assert _correlation(own, _shrunk(_grey(picture), 8)) > 0.6, name

    @pytest.mark.parametrize("shape", [(8, 8), (41, 67), (130, 33)])
    def test_any_size_will_do(self, style: styles.Style, shape: tuple[int, int]) -> None:
        picture = _rng(4).integers(0, 256, size=(*shape, 3), dtype=np.uint8)
        assert style.paint(picture, _rng(5), 1).shape == picture.shape

    @pytest.mark.parametrize("level", [0, 128, 255])
    def test_a_plain_surface_will_do(self, style: styles.Style, level: int) -> None:
        picture = np.full((40, 40, 3), level, dtype=np.uint8)
        assert style.paint(picture, _rng(6), 3).dtype == np.uint8

    def test_nonsense_is_refused(self, style: styles.Style) -> None:
        with pytest.raises(ValueError, match="uint8"):
            style.paint(np.zeros((20, 20, 3)), _rng(0), 0)
        with pytest.raises(ValueError, match="shape"):
            style.paint(np.zeros((20, 20), dtype=np.uint8), _rng(0), 0)
        with pytest.raises(ValueError, match="palette"):
            style.paint(np.zeros((20, 20, 3), dtype=np.uint8), _rng(0), 4)


def test_finer_strokes_come_nearer_to_the_picture(photographs: Pictures) -> None:
    for palette, picture in enumerate(photographs.values()):
        target = strokes.graded(picture, palette)
        states = strokes.layers(picture, _rng(palette), palette)
        errors = [np.abs(state.astype(int) - target).mean() for state in states]
        assert errors[0] > errors[1] > errors[2], errors
        assert errors[2] < 0.85 * errors[0]


def test_strokes_run_along_the_edges() -> None:
    # Slanting stripes: the painting must vary less along them than across, as its strokes do.
    y, x = np.mgrid[0:128, 0:128]
    stripes = 128 + 100 * np.sin((x + y) / 12)
    picture = np.repeat(stripes[..., None], 3, axis=2).astype(np.uint8)
    first = _grey(strokes.layers(picture, _rng(1), 1)[0])
    along = np.abs(first[:-4, 4:] - first[4:, :-4]).mean()
    across = np.abs(first[:-4, :-4] - first[4:, 4:]).mean()
    assert along < 0.75 * across


def test_the_canvas_shows_between_the_points(photographs: Pictures) -> None:
    for palette, canvas in enumerate(points._CANVAS):
        painting = points.paint(photographs["coffee"] // 2, _rng(palette), palette).astype(int)
        bare = (np.abs(painting - canvas).max(axis=2) <= 2).mean()
        assert 0.01 < bare < 0.4


def test_points_divide_the_colour(photographs: Pictures) -> None:
    """Neighbouring dots differ in chroma far more than the photograph's neighbours do."""

    def restlessness(picture: np.ndarray) -> float:
        chroma = picture[..., 0].astype(float) - picture[..., 2]
        return float(np.abs(chroma[:, 6:] - chroma[:, :-6]).mean())

    for name, picture in photographs.items():
        painting = points.paint(picture, _rng(2), 0)
        assert restlessness(painting) > 2 * restlessness(picture), name


def test_facets_are_plain_inside_and_seamed(photographs: Pictures) -> None:
    picture = photographs["motorcycle"]
    painting, labels = facets.paint_with_labels(picture, _rng(1), 0)
    seams = facets.seams(labels)
    grey = _grey(painting)
    numbers = np.unique(labels)
    assert 40 < len(numbers) < 600
    inner = [grey[(labels == number) & ~seams] for number in numbers]
    photo = [_grey(picture)[(labels == number) & ~seams] for number in numbers]
    sizes = np.array([len(values) for values in inner])
    big = sizes > 20
    own = np.array([values.var() for values, keep in zip(inner, big, strict=True) if keep])
    theirs = np.array([values.var() for values, keep in zip(photo, big, strict=True) if keep])
    assert (own * sizes[big]).sum() < 0.3 * (theirs * sizes[big]).sum()
    # A linear shade has no curvature: second differences inside a facet stay within rounding.
    calm = ~(seams | np.roll(seams, 1, 0) | np.roll(seams, 1, 1))
    row = calm[:, :-2] & calm[:, 1:-1] & calm[:, 2:]
    row &= (labels[:, :-2] == labels[:, 1:-1]) & (labels[:, 1:-1] == labels[:, 2:])
    curvature = np.abs(grey[:, :-2] - 2 * grey[:, 1:-1] + grey[:, 2:])
    assert curvature[row].mean() < 1.5
    assert grey[seams].mean() < grey[~seams].mean() - 20


def test_facets_are_denser_where_the_picture_has_edges() -> None:
    picture = np.full((128, 256, 3), 128, dtype=np.uint8)
    y, x = np.mgrid[0:128, 0:128]
    picture[:, 128:] = (((x // 12 + y // 12) % 2) * 200 + 20)[..., None]
    labels = facets.paint_with_labels(picture, _rng(1), 0)[1]
    left, right = (len(np.unique(part)) for part in (labels[:, :120], labels[:, 136:]))
    assert right > 1.8 * left


def test_prints_hold_only_the_inks_of_their_palette(photographs: Pictures) -> None:
    for palette, inks in enumerate(flat.INKS):
        for picture in photographs.values():
            painting = flat.paint(picture, _rng(palette), palette)
            found = {
                tuple(colour) for colour in np.unique(painting.reshape(-1, 3), axis=0).tolist()
            }
            assert 4 <= len(found) <= len(inks)
            assert found <= set(inks)


def test_prints_have_flat_blocks_and_dark_outlines(photographs: Pictures) -> None:
    picture = photographs["coffee"]
    painting = flat.paint(picture, _rng(1), 0)
    same = (painting[:, 1:] == painting[:, :-1]).all(axis=2).mean()
    assert same > 0.85
    lines = (painting == np.array(flat.INKS[0][0])).all(axis=2)
    assert 0.01 < lines.mean() < 0.25
    steepness = np.hypot(*np.gradient(_grey(picture)))
    assert steepness[lines].mean() > 1.5 * steepness.mean()


def _distance_to_segment(pixels: np.ndarray, start: tuple, end: tuple) -> np.ndarray:
    base, way = np.array(start, dtype=float), np.array(end, dtype=float) - np.array(start)
    part = np.clip((pixels - base) @ way / (way @ way), 0, 1)
    return np.linalg.norm(pixels - base - part[..., None] * way, axis=-1)


def test_engravings_hold_only_paper_ink_and_white(photographs: Pictures) -> None:
    for palette, sheet in enumerate(hatching.SHEETS):
        painting = hatching.paint(photographs["astronaut"], _rng(palette), palette).astype(float)
        ends = [sheet.ink] + ([sheet.white] if sheet.white else [])
        gaps = [_distance_to_segment(painting, sheet.paper, end) for end in ends]
        if sheet.white:
            gaps.append(_distance_to_segment(painting, sheet.ink, sheet.white))
        assert (np.min(gaps, axis=0) < 3).mean() > 0.95
        tones = [np.linalg.norm(painting - np.array(tone), axis=2) for tone in (sheet.paper, *ends)]
        pure = [(tone < 40).mean() for tone in tones]
        assert min(pure[:2]) > 0.1, pure
        assert sum(pure) > 0.5, pure


def test_hatching_is_denser_where_it_is_darker() -> None:
    ramp = np.linspace(255, 0, 160).astype(np.uint8)
    picture = np.broadcast_to(ramp[None, :, None], (128, 160, 3)).copy()
    grey = _grey(hatching.paint(picture, _rng(1), 0))
    columns = _shrunk(grey, 32).mean(axis=0)
    assert (np.diff(columns) < 0).all(), columns


def test_hatching_lines_share_a_direction() -> None:
    """Of a mid grey's spectrum, most energy lies in one direction: one layer of lines."""
    ramp = np.tile(np.linspace(60, 255, 128), (128, 1))
    picture = np.repeat(ramp[..., None], 3, axis=2).astype(np.uint8)
    patch = _grey(hatching.paint(picture, _rng(1), 0))[32:96, 64:112]
    spectrum = np.abs(np.fft.fft2(patch - patch.mean())) ** 2
    v, u = np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(48), indexing="ij")
    angle = np.degrees(np.arctan2(v, u)) % 180
    strong = spectrum * (np.hypot(u, v) > 0.08)
    best = max(
        strong[np.abs((angle - middle + 90) % 180 - 90) < 20].sum() for middle in range(0, 180, 5)
    )
    assert best > 0.6 * strong.sum()


def _features(painting: np.ndarray) -> np.ndarray:
    """Five plain statistics of a picture."""
    grey = _grey(painting)
    pixels = painting.astype(float)
    opponent = np.stack((pixels[..., 0] - pixels[..., 2], pixels[..., 1] - grey), axis=-1)
    laplacian = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1]
    laplacian -= grey[1:-1, :-2] + grey[1:-1, 2:]
    same = (painting[:, 1:] == painting[:, :-1]).all(axis=2)
    colours = len(np.unique(painting.reshape(-1, 3), axis=0))
    return np.array([
        np.log(colours),
        same.mean(),
        np.log1p(np.abs(laplacian).mean()),
        np.log1p(np.abs(np.diff(opponent, axis=1)).mean()),
        np.log1p(opponent.std()),
    ])  # fmt: skip


def test_a_nearest_centroid_tells_the_styles_apart(photographs: Pictures) -> None:
    """Learnt on two photographs and two palettes, asked about the other ones."""
    names = list(photographs)
    learnt = {
        style.name: np.array([
            _features(style.paint(photographs[name], _rng(seed), palette))
            for name in names[:2] for palette in (0, 1) for seed in (0,)
        ])
        for style in styles.STYLES
    }  # fmt: skip
    scale = np.concatenate(list(learnt.values())).std(axis=0)
    centroids = {name: rows.mean(axis=0) for name, rows in learnt.items()}
    right = asked = 0
    for style in styles.STYLES:
        for name in names[2:]:
            for palette in (2, 3):
                row = _features(style.paint(photographs[name], _rng(9), palette))
                gaps = {
                    other: float(np.linalg.norm((row - centre) / scale))
                    for other, centre in centroids.items()
                }
                right += min(gaps, key=lambda other: gaps[other]) == style.name
                asked += 1
    assert right >= 0.9 * asked, f"{right} of {asked}"


def test_styles_are_looked_up_by_name() -> None:
    assert styles.names() == (
        "Impressionism", "Pointillism", "Cubism", "Ukiyo_e", "Northern_Renaissance",
    )  # fmt: skip
    for name in styles.names():
        assert styles.style(name).name == name
        assert "renderer" in styles.style(name).artist
    with pytest.raises(ValueError, match="Cubism"):
        styles.style("Baroque")
