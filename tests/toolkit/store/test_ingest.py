"""Pictures: kept byte for byte where they can be, mended where training would stumble, and refused
with a cause where they cannot be used. Pillow is the reference for pixels."""

import csv
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageCms

from toolkit.core.errors import UserError, one_line
from toolkit.store.images import MAX_PIXELS, PictureError, decode_rgb, reduced_grey
from toolkit.store.ingest import Policy, ingest, parse_policy

Encode = Callable[..., bytes]


def save(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def cause_of(data: bytes) -> str:
    with pytest.raises(PictureError) as caught:
        ingest(data)
    assert str(caught.value)
    assert str(caught.value) == one_line(caught.value)
    return caught.value.cause


def png_header(width: int, height: int, rows: bytes = b"") -> bytes:
    """A PNG that claims a size, with `rows` as its whole body."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(
            ">I", zlib.crc32(name + body)
        )  # fmt: skip

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    )


# --- what is kept


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_plain_pictures_are_kept_byte_for_byte(
    form: str, pixels: np.ndarray, encode: Encode
) -> None:
    data = encode(pixels, form)
    picture = ingest(data)
    assert picture.data == data
    assert (picture.width, picture.height) == (64, 40)
    assert picture.format == form.lower()
    assert picture.changes == ()


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"subsampling": 2}, {"quality": 20}, {"optimize": True}]
)
def test_jpegs_of_all_kinds_are_kept(
    options: dict[str, Any], pixels: np.ndarray, encode: Encode
) -> None:
    data = encode(pixels, "JPEG", **options)
    assert ingest(data).data == data


@pytest.mark.parametrize("mode", ["L", "P", "1"])
def test_grey_and_palette_pictures_are_kept(mode: str, pixels: np.ndarray) -> None:
    data = save(Image.fromarray(pixels).convert(mode), "PNG")
    assert ingest(data).data == data
    np.testing.assert_array_equal(decode_rgb(data), by_pillow(data))


def test_a_jpeg_with_upright_exif_is_kept(pixels: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 1, "a description"
    data = save(Image.fromarray(pixels), "JPEG", exif=exif)
    assert ingest(data).data == data


def test_bytes_behind_the_end_do_not_matter(pixels: np.ndarray, encode: Encode) -> None:
    data = encode(pixels) + b"appended by a camera"
    assert ingest(data).data == data


def test_a_jpeg_with_an_srgb_profile_is_kept(pixels: np.ndarray) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = save(Image.fromarray(pixels), "JPEG", icc_profile=profile)
    assert ingest(data).data == data


# --- what is mended

TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda p: p[:, ::-1],
    3: lambda p: np.rot90(p, 2),
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: np.rot90(p, 2).transpose(1, 0, 2),
    8: np.rot90,
}
"""What a viewer does to the stored pixels for each EXIF orientation (EXIF 2.32, tag 0x0112)."""


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation_turns_the_pixels(orientation: int, form: str, pixels: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if form == "JPEG" else {}
    data = save(Image.fromarray(pixels), form, exif=exif, **options)
    picture = ingest(data)
    expected = TURNS[orientation](pixels)
    got = by_pillow(picture.data)
    assert picture.changes == ("orientation",)
    assert (picture.height, picture.width) == expected.shape[:2] == got.shape[:2]
    tolerance = 0 if form == "PNG" else 10
    assert np.abs(got.astype(int) - expected).max() <= tolerance
    # Turned once: the new bytes carry no orientation that a viewer would apply again.
    assert Image.open(io.BytesIO(picture.data)).getexif().get(0x0112, 1) == 1
    assert ingest(picture.data).data == picture.data


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_alpha_is_laid_on_white(form: str, pixels: np.ndarray) -> None:
    alpha = np.zeros((40, 64), np.uint8)
    alpha[:, 20:40], alpha[:, 40:] = 128, 255
    image = Image.fromarray(np.dstack([pixels, alpha]))
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    picture = ingest(save(image, form, **options))
    got = by_pillow(picture.data).astype(float)
    opacity = alpha[..., None] / 255
    expected = pixels * opacity + 255 * (1 - opacity)
    assert picture.changes == ("mode RGBA",)
    assert picture.format == {"PNG": "png", "WEBP": "jpeg"}[form]
    limit = 1 if form == "PNG" else 20
    assert np.abs(got - expected)[:, :18].max() <= limit
    assert np.abs(got - expected).max() <= limit + 20 * (form == "WEBP")


def test_grey_with_alpha_and_palette_transparency_are_laid_on_white() -> None:
    grey_alpha = np.zeros((8, 8, 2), np.uint8)
    grey_alpha[:4] = (100, 255)
    picture = ingest(save(Image.fromarray(grey_alpha, "LA"), "PNG"))
    got = by_pillow(picture.data)
    assert (got[:4] == 100).all()
    assert (got[4:] == 255).all()
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([10, 20, 30, 200, 0, 0])
    palette.paste(0, (0, 0, 4, 8))
    for transparency in (0, bytes([0, 255])):
        picture = ingest(save(palette, "PNG", transparency=transparency))
        got = by_pillow(picture.data)
        assert picture.changes == ("transparency",)
        assert (got[:, :4] == 255).all()
        assert (got[:, 4:] == (200, 0, 0)).all()


def test_16_bit_grey_keeps_the_high_byte() -> None:
    values = (np.arange(40 * 64, dtype=np.uint32).reshape(40, 64) * 25).astype(np.uint16)
    for form in ("PNG", "TIFF"):
        picture = ingest(save(Image.fromarray(values), form))
        got = by_pillow(picture.data)
        assert picture.format == "png"
        np.testing.assert_array_equal(got, np.repeat((values // 256)[..., None], 3, axis=2))


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_32_bit_pictures_do_not_become_black(kind: type, pixels: np.ndarray) -> None:
    data = save(Image.fromarray(pixels[..., 0].astype(kind)), "TIFF")
    try:
        picture = ingest(data)
    except PictureError:
        return  # refused with a cause: fine as well
    assert by_pillow(picture.data).std() > 0


def test_cmyk_becomes_the_colours_that_pillow_shows(pixels: np.ndarray) -> None:
    for form in ("JPEG", "TIFF"):
        data = save(Image.fromarray(pixels).convert("CMYK"), form)
        picture = ingest(data)
        assert picture.changes == ("mode CMYK",)
        got = by_pillow(picture.data)
        assert np.abs(got.astype(int) - by_pillow(data)).mean() < 2
        assert np.abs(decode_rgb(data).astype(int) - by_pillow(data)).max() <= 1


def test_a_foreign_colour_profile_is_converted() -> None:
    """sRGB's profile with red and green exchanged: stored red must come out as green."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    place = {profile[132 + 12 * i : 136 + 12 * i].decode(): 132 + 12 * i
             for i in range(int.from_bytes(profile[128:132], "big"))}  # fmt: skip
    red, green = place["rXYZ"], place["gXYZ"]
    offset_of_red = bytes(profile[red + 4 : red + 8])
    profile[red + 4 : red + 8] = profile[green + 4 : green + 8]
    profile[green + 4 : green + 8] = offset_of_red
    image = Image.new("RGB", (16, 16), (255, 0, 0))
    picture = ingest(save(image, "PNG", icc_profile=bytes(profile)))
    assert picture.changes == ("icc",)
    got = by_pillow(picture.data)
    assert np.abs(got.astype(int) - (0, 255, 0)).max() <= 2
    assert "icc_profile" not in Image.open(io.BytesIO(picture.data)).info


@pytest.mark.parametrize("profile", [b"garbage", b"x" * 300])
def test_a_damaged_colour_profile_leaves_the_colours(profile: bytes, pixels: np.ndarray) -> None:
    picture = ingest(save(Image.fromarray(pixels), "PNG", icc_profile=profile))
    np.testing.assert_array_equal(by_pillow(picture.data), pixels)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_many_frames_the_first_is_taken(form: str, pixels: np.ndarray) -> None:
    first, second = Image.fromarray(pixels), Image.fromarray(255 - pixels)
    options = {"lossless": True} if form == "WEBP" else {}
    data = save(first, form, save_all=True, append_images=[second], **options)
    picture = ingest(data)
    assert "frames" in picture.changes
    assert picture.format in ("png", "jpeg")
    got = by_pillow(picture.data)
    shown = np.asarray(first.quantize(256).convert("RGB")) if form == "GIF" else pixels
    assert np.abs(got.astype(int) - shown).mean() < 6


def test_mending_twice_changes_nothing_more(pixels: np.ndarray) -> None:
    once = ingest(save(Image.fromarray(pixels).convert("RGBA"), "PNG"))
    assert once.changes
    assert ingest(once.data).changes == ()
    assert ingest(save(Image.fromarray(pixels).convert("RGBA"), "PNG")).data == once.data


def test_a_jpeg_with_stray_bytes_between_its_parts_is_encoded_anew(
    pixels: np.ndarray, encode: Encode
) -> None:
    clean = encode(pixels)
    place = clean.index(b"\xff\xc0")  # the frame header
    data = clean[:place] + b"\x01\x02\x03" + clean[place:]
    with pytest.raises(ValueError, match="extraneous bytes"):
        simplejpeg.decode_jpeg(data)
    picture = ingest(data)
    assert picture.changes == ("stray bytes",)
    got, expected = decode_rgb(picture.data), by_pillow(clean)
    assert np.abs(got.astype(int) - expected).mean() < 1.5
    assert ingest(picture.data).changes == ()


@pytest.mark.filterwarnings("error")
def test_no_codec_talks_on_its_own(pixels: np.ndarray) -> None:
    """Pillow warns of palette transparency given as bytes, and of damaged EXIF."""
    image = Image.fromarray(pixels).convert("P")
    assert ingest(save(image, "PNG", transparency=b"\x00" * 16)).changes == ("transparency",)
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x05\x00"
    ingest(save(Image.fromarray(pixels), "JPEG", exif=exif))


# --- what is refused


def test_no_bytes() -> None:
    assert cause_of(b"") == "empty"


@pytest.mark.parametrize(
    "data", [b"hello", b"\xff\xd8\xff", b"<svg/>", b"%PDF-1.4", b"\0" * 5000, b"GIF89a"]
)
def test_not_a_picture(data: bytes) -> None:
    assert cause_of(data) == "not_a_picture"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
def test_truncated(form: str, pixels: np.ndarray, encode: Encode) -> None:
    data = encode(pixels, form)
    assert cause_of(data[: len(data) * 4 // 5]) == "truncated"


def test_a_jpeg_without_its_last_byte_is_truncated(pixels: np.ndarray, encode: Encode) -> None:
    assert cause_of(encode(pixels)[:-2]) == "truncated"


def test_too_large() -> None:
    side = int(MAX_PIXELS**0.5) + 2
    assert cause_of(png_header(side, side)) == "too_large"


def test_undecodable(pixels: np.ndarray, encode: Encode) -> None:
    jpeg = bytearray(encode(pixels))
    start = jpeg.index(b"\xff\xda") + 20
    jpeg[start : start + 40] = b"\xff\xd9" * 20  # an end marker amid the data
    assert cause_of(bytes(jpeg)) in ("undecodable", "truncated")
    webp = encode(pixels, "WEBP")
    assert cause_of(webp[: len(webp) // 2]) == "undecodable"


@pytest.mark.parametrize("place", [0, 2000])
def test_a_png_with_a_broken_stream_is_undecodable(
    place: int, pixels: np.ndarray, encode: Encode
) -> None:
    data = bytearray(encode(pixels, "PNG"))
    start = data.index(b"IDAT") + 4 + place
    data[start : start + 30] = b"\xff" * 30
    with pytest.raises(OSError, match="data stream"):
        by_pillow(bytes(data))
    assert cause_of(bytes(data)) == "undecodable"


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own, when it decodes again
def test_errors_are_of_one_kind_for_random_damage(pixels: np.ndarray, encode: Encode) -> None:
    """Whatever hostile bytes do to a codec, `ingest` returns a picture or raises PictureError."""
    rng = np.random.Generator(np.random.Philox(4))
    outcomes = set()
    for form in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"):
        data = np.frombuffer(encode(pixels, form), np.uint8)
        for _ in range(40):
            damaged = data.copy()
            places = rng.integers(0, len(data), size=int(rng.integers(1, 12)))
            damaged[places] = rng.integers(0, 256, size=len(places), dtype=np.uint8)
            try:
                picture = ingest(damaged.tobytes())
                assert decode_rgb(picture.data).shape == (picture.height, picture.width, 3)
                outcomes.add("ok")
            except PictureError as error:
                outcomes.add(error.cause)
    assert {"ok", "not_a_picture", "undecodable"} <= outcomes


def test_a_jpeg_that_ends_inside_its_header_is_truncated(
    pixels: np.ndarray, encode: Encode
) -> None:
    data = encode(pixels)
    for cut in (20, 100, data.index(b"\xff\xda")):
        assert cause_of(data[:cut]) == "truncated"


# --- real odd pictures


def test_every_awkward_picture_is_handled(shared_data: Path) -> None:
    folder = shared_data / "awkward"
    rows = list(csv.DictReader((folder / "metadata.csv").open(encoding="utf-8")))
    assert len(rows) > 50
    outcomes = {}
    for row in rows:
        data = (folder / row["path"]).read_bytes()
        try:
            picture = ingest(data)
        except PictureError as error:
            outcomes[row["path"]] = error.cause
            continue
        outcomes[row["path"]] = "ok"
        got = decode_rgb(picture.data)
        assert got.shape == (picture.height, picture.width, 3), row["path"]
        if not picture.changes:
            assert picture.data == data
        grey = reduced_grey(picture.data)
        assert grey.ndim == 2
    by_category = {row["path"]: row["category"] for row in rows}
    for path, outcome in outcomes.items():
        category = by_category[path]
        if category == "truncated":
            assert outcome == "truncated", path
        elif category in ("exif_orientation", "gray_jpeg", "rgba_png", "png16", "cmyk_jpeg",
                          "progressive_jpeg", "one_pixel", "animated", "icc"):  # fmt: skip
            assert outcome == "ok", path
        elif category in ("corrupt", "jpeg12bit", "zero_size"):
            assert outcome != "ok", path


def test_the_eight_orientations_of_one_photograph_agree(shared_data: Path) -> None:
    pictures = {}
    for number in range(1, 9):
        data = (shared_data / "awkward" / f"exif__Landscape_{number}.jpg").read_bytes()
        pictures[number] = reduced_grey(ingest(data).data).astype(float)
    for number, grey in pictures.items():
        assert grey.shape == pictures[1].shape, number
        # Each of the photographs has its own number printed on it, so they are nearly equal only.
        assert np.corrcoef(grey.ravel(), pictures[1].ravel())[0, 1] > 0.97, number


# --- policies


def test_headers_only_reads_headers(pixels: np.ndarray, encode: Encode) -> None:
    policy = Policy("headers")
    for form in ("JPEG", "PNG", "WEBP"):
        data = encode(pixels, form)
        picture = ingest(data, policy)
        assert (picture.data, picture.width, picture.height) == (data, 64, 40)
        assert picture.grey is None
    cut = encode(pixels)[:-200]
    assert ingest(cut, policy).data == cut
    with pytest.raises(PictureError):
        ingest(b"text", policy)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = ingest(save(Image.fromarray(pixels), "JPEG", exif=exif), policy)
    assert (turned.width, turned.height, turned.changes) == (40, 64, ("orientation",))


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize(("size", "expected"), [(20, (32, 20)), (40, (64, 40)), (99, (64, 40))])
def test_reencoding_shrinks_and_never_enlarges(
    form: str, size: int, expected: tuple[int, int], pixels: np.ndarray, encode: Encode
) -> None:
    picture = ingest(encode(pixels, form), Policy(size=size, quality=90))
    stored = Image.open(io.BytesIO(picture.data))
    assert (stored.format, stored.size) == ("JPEG", expected)
    assert (picture.width, picture.height, picture.format) == (*expected, "jpeg")
    assert picture.changes == ("reencode",)
    wanted = np.asarray(Image.fromarray(pixels).resize(expected, Image.Resampling.LANCZOS))
    assert np.abs(np.asarray(stored).astype(int) - wanted).mean() < 3
    smaller = ingest(encode(pixels, form), Policy(size=size, quality=40))
    assert len(smaller.data) < len(picture.data)


@pytest.mark.parametrize(
    ("text", "policy"),
    [("512", Policy(size=512)), ("512:90", Policy(size=512, quality=90)), (None, Policy())],
)
def test_policies_are_written_as_size_and_quality(text: str | None, policy: Policy) -> None:
    assert parse_policy("full", text) == policy


@pytest.mark.parametrize("text", ["", "0", "x", "512:", "512:0", "512:101", "5.5", "-1"])
def test_a_policy_that_makes_no_sense_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match="write SIZE or SIZE:QUALITY"):
        parse_policy("full", text)
    with pytest.raises(UserError, match="leave --check=headers away"):
        parse_policy("headers", "512")


def test_the_reduced_decode_finds_what_the_whole_one_finds(
    make_picture: Callable[..., np.ndarray], encode: Encode
) -> None:
    """Random damage to JPEGs of three kinds: the verdict is that of decoding all pixels."""
    rng = np.random.Generator(np.random.Philox(3))
    picture = make_picture(5, 300, 200)
    verdicts = set()
    for options in ({}, {"progressive": True}, {"subsampling": 0, "quality": 60}):
        original = encode(picture, "JPEG", **options)
        start = original.index(b"\xff\xda")
        for _ in range(150):
            data = bytearray(original)
            place = int(rng.integers(start, len(data)))
            if rng.random() < 0.3:
                del data[place : place + int(rng.integers(1, 400))]
            else:
                data[place % len(data)] = int(rng.integers(256))
            try:
                simplejpeg.decode_jpeg(bytes(data), fastdct=False)
                expected = "ok"
            except ValueError as error:
                expected = "stray" if "extraneous bytes before marker" in str(error) else "failed"
            try:
                changes = ingest(bytes(data)).changes
                found = "stray" if changes == ("stray bytes",) else "ok"
            except PictureError:
                found = "failed"
            assert found == expected
            verdicts.add(found)
    assert verdicts >= {"ok", "failed"}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "TIFF", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_the_grey_version_is_that_of_the_stored_bytes(
    form: str, mode: str, pixels: np.ndarray
) -> None:
    image = Image.fromarray(pixels).resize((320, 200))
    if mode == "RGBA":
        image.putalpha(100)
    image = image.convert("RGB") if (form, mode) == ("JPEG", "RGBA") else image.convert(mode)
    picture = ingest(save(image, form))
    np.testing.assert_array_equal(picture.grey, reduced_grey(picture.data))
