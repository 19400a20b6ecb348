import base64
import io
import json
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import pytest
from planted_report import CONFIG, SEED, N, planted, volumes, write_inputs, write_qc

from brainldm.core.errors import DataError
from brainldm.formats import scan_sheet
from brainldm.stages.report import main, read_log


class Page(HTMLParser):
    """What a page asks for, shows and says; every tag must be closed in its turn."""

    VOID = ("meta", "img", "input", "br", "hr", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["script"]:
            self.words.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, str, Path]:
    folder = tmp_path_factory.mktemp("report")
    arguments = write_inputs(folder, planted(volumes()))
    main(**arguments)  # type: ignore[arg-type]
    text = (folder / "report.html").read_text(encoding="utf-8")
    return Page(text), text, folder


def test_the_page_asks_the_network_for_nothing(page: tuple[Page, str, Path]) -> None:
    parsed, text, _ = page
    assert parsed.addresses
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in parsed.addresses)
    assert "@import" not in text
    assert not parsed.open


def test_every_picture_decodes_and_every_svg_parses(page: tuple[Page, str, Path]) -> None:
    parsed, text, _ = page
    pictures = [address for address in parsed.addresses if address.startswith("data:")]
    assert len(pictures) == 3 + 3 + 6 + 6 + 4 + 2 + 5 * (5 + 5) + scan_sheet.SHOWN
    for picture in pictures:
        assert min(matplotlib.image.imread(io.BytesIO(base64.b64decode(picture.split(",")[1]))).shape) > 0
    svgs = [f"<svg{part.split('</svg>')[0]}</svg>" for part in text.split("<svg")[1:]]
    assert len(svgs) == 1 + 3 + 5 + 1 + 2 + 1 + 2
    for svg in svgs:
        ElementTree.fromstring(svg)


def test_the_page_says_what_the_files_say(page: tuple[Page, str, Path]) -> None:
    parsed, text, folder = page
    report = json.loads((folder / "evaluate" / "report.json").read_text())
    low, high = report["ventricles_r_ci"]
    assert f"{report['ventricles_r']:.3f} [{low:.3f}, {high:.3f}]" in parsed.text
    assert f"{report['age_r_real']:.3f}" in parsed.text
    assert f"n = {N}" in parsed.text
    assert "UK Biobank, published: r = 0.692" in text
    assert f"{report['age_mae_years']:.2f} [" in parsed.text
    assert "ventricles +1.9. This run: asked" in parsed.text
    assert "UK Biobank, published" in parsed.text
    assert "not computed" in parsed.text
    assert "a reason with <angle> & ampersand" in parsed.text
    assert "subject's left" in parsed.text
    assert "Audit: not enough data." in parsed.text
    assert "left thalamus" in parsed.text
    assert "NO" in parsed.words


def test_the_same_inputs_make_the_same_page(page: tuple[Page, str, Path], tmp_path: Path) -> None:
    main(**write_inputs(tmp_path, planted(volumes())))  # type: ignore[arg-type]
    for name in ("report.html", "report-public.html"):
        assert (tmp_path / name).read_text(encoding="utf-8") == (page[2] / name).read_text(encoding="utf-8")


def test_a_log_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none that can be read"):
        read_log(tmp_path / "log.csv")
    (tmp_path / "log.csv").write_text("loss\n1\n")
    with pytest.raises(DataError, match="step and seconds"):
        read_log(tmp_path / "log.csv")


def test_flagged_scans_come_first_and_bad_ones_are_named(tmp_path: Path) -> None:
    scans = scan_sheet.read_batches([write_qc(tmp_path / "000")])
    chapter = scan_sheet.chapter(scans, CONFIG.grid, SEED)
    assert "29 scans were taken, 2 of them flagged; 1 could not be used." in chapter
    assert "found &lt;nothing&gt;" in chapter
    assert "Scans whose header called for a decision: 1" in chapter
    assert "lengths in &lt;micron&gt; are converted to mm" in chapter
    assert "which form places the voxels" in chapter
    assert "level of the air, where 0 is right" in chapter
    shown = [part.split(",")[0] for part in chapter.split("<figcaption>")[1:]]
    assert set(shown[:2]) == {"sub-27", "sub-28"}
    assert len(shown) == len(set(shown)) == scan_sheet.SHOWN
