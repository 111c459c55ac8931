"""The competition's final score from its six terms.

    python -m eval.score --dino=0.12 --hist=0.78 --fid=1.6 --lpips=0.43 --clip_iqa=0.76 --clip_r=0.9

The formula stands in eval/competition.py.
"""

from pathlib import Path

from eval.competition import Terms, final
from toolkit.core import command
from toolkit.core.files import make_folder, write_atomic


def main(
    *,
    dino: float,
    hist: float,
    fid: float,
    lpips: float,
    clip_iqa: float,
    clip_r: float,
    out: Path = Path("score.txt"),
) -> None:
    """Puts six numbers together, prints the parts, and writes them.

    Args:
        dino: similarity of DINOv2, -1 to 1.
        hist: correlation of colour histograms, -1 to 1.
        fid: Fréchet distance; from 20 it costs no more.
        lpips: perceptual distance.
        clip_iqa: quality, 0 to 1.
        clip_r: share of pictures whose word is among the first five, 0 to 1.
        out: the file.
    """
    found = final(Terms(dino, hist, fid, lpips, clip_iqa, clip_r))
    text = (
        f"style {found.style:.4f}\ntext {found.text:.4f}\nquality {found.quality:.4f}\n"
        f"final {found.score:.5f}\n"
    )
    print(text, end="")
    make_folder(out.parent)
    write_atomic(out, text)
    print(f"written: {out}")


if __name__ == "__main__":
    command.run(main, "python -m eval.score")
