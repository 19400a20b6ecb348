import base64
import io
import json
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import yaml

from brainldm.core import paper
from brainldm.core.config import parse, section_json
from brainldm.core.errors import DataError
from brainldm.core.files import sha256
from brainldm.core.rows import participant_id
from brainldm.formats import evaluation, scan_sheet
from brainldm.formats.checksums import write_checksums
from brainldm.formats.nifti import encode_volume, quantise, write_bytes
from brainldm.formats.tables import write_tsv
from brainldm.metrics import anatomy, audit, conditioning, fidelity, summary, verdicts
from brainldm.stages.report import contents, main, read_log

CONFIG = parse(yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text()))
N, SEED = 40, 3
LADDERS = ("ladder_ventricles_ml", "ladder_age_years", "beyond_ventricles_ml", "beyond_brain_ml")


def planted(volumes: dict[str, np.ndarray]) -> evaluation.Evaluation:
    """An evaluation of numbers drawn here and scored by the true metrics."""
    generator = np.random.default_rng(SEED)
    age, ventricles = generator.uniform(45, 80, N), generator.uniform(15, 110, N)
    table = pd.DataFrame(
        {
            "index": range(N),
            "participant_id": [participant_id(index) for index in range(N)],
            "seed": SEED,
            "age_years": age,
            "sex": "F",
            "ventricles_ml": ventricles,
            "brain_ml": 1800 - 5 * age,
            "measured_ventricles_ml": ventricles + generator.normal(2, 4, N),
            "measured_brain_ml": 1790 - 5 * age + generator.normal(0, 20, N),
            "age_predicted_years": age + generator.normal(0, 6, N),
            "qc_pass": True,
            "in_support": np.arange(N) % 5 > 0,
        }
    )
    ages = {"true": age[:20], "predicted": age[:20] + generator.normal(0, 5, 20)}
    alike = [
        summary.mean_of(f"{name}{kind}", generator.normal(mean, 0.04, 500), 100, SEED)
        for name, shift in (("ms_ssim", 0.0), ("g4r_ssim", -0.3), ("g4r_ssim_single_scale", -0.2), ("g4r_ssim_plain", -0.2))
        for kind, mean in (("", 0.86 + shift), ("_reconstruction", 0.84 + shift), ("_real", 0.77 + shift))
    ]
    report = {
        "population": "numbers planted by a test",
        "resolution": "32 x 40 x 32 voxels of 5 mm",
        "n_synthetic": N,
        "fid_features": "planted",
        "ms_ssim_weights": [0.2, 0.8],
        **conditioning.conditioning(table, ages, 200, SEED),
        **fidelity.fidelity(generator.standard_normal((60, 4)), generator.standard_normal((40, 4)), SEED),
        **{key: value for entries in alike for key, value in entries.items()},
        **summary.nearness(generator.uniform(1, 2, 30), generator.uniform(1, 2, 20), 100, SEED),
        **summary.entry("autoencoder_psnr_db", float("nan"), 20),
        **audit.audit(np.arange(N) < 1, np.zeros(30, bool), {kind: np.ones(30, bool) for kind in ("altered", "decoded")}, 0.05),
        "paper": paper.block(),
    }
    regions = {name: generator.normal(300, 20, N) for name in ("left thalamus", "csf")}
    report["tables"] = {**conditioning.tables(table, table), "anatomy": anatomy.regions(regions, regions, table, table)}
    report["verdicts"] = verdicts.verdicts(report)
    shown = {name: [f"{name}-{place}" for place in range(len(volumes[name]))] for name in volumes}
    steps = {name: np.linspace(15, 110, 5) for name in LADDERS}
    return evaluation.Evaluation(
        report,
        table,
        volumes,
        {
            **shown,
            "near_score": np.linspace(0.6, 0.9, len(volumes["near_train"])),
            "worst_reason": ["a reason with <angle> & ampersand"] * len(volumes["worst"]),
            "held_out_ages": ages,
            **{name: {"requested": values, "measured": values + 1} for name, values in steps.items()},
        },
    )


def write_inputs(folder: Path, found: evaluation.Evaluation) -> dict[str, object]:
    """The files that the stage reads, and its arguments."""
    section = folder / "report.section.json"
    section.write_text(section_json(CONFIG, "report"))
    evaluation.write(folder / "evaluate" / "report.json", found)
    steps = np.arange(10, 500, 10)
    logs = []
    for name in ("train_autoencoder", "train_age"):
        logs.append(folder / name / "log.csv")
        logs[-1].parent.mkdir()
        late = pd.Series(np.where(steps > 200, 0.5, np.nan))
        pd.DataFrame({"step": steps, "seconds": steps / 7, "l1": 9 / steps, "adversarial": late}).to_csv(logs[-1], index=False)
    release = folder / "release"
    files = [release / "dataset_description.json", release / "sub-000001/anat/sub-000001_T1w.nii.gz"]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1500)
    write_checksums(release / "checksums.sha256", files)
    (release / "planted.torrent").write_bytes(b"d1:ae")
    return {
        "section": section,
        "qc": [write_qc(folder / "preprocess/000")],
        "evaluate": folder / "evaluate" / "report.json",
        "log": logs,
        "release": release / "checksums.sha256",
        "out": folder / "report.html",
    }


def write_qc(folder: Path) -> Path:
    """Thirty scans: the last is bad, the two before it are flagged."""
    grid, generator = CONFIG.grid, np.random.default_rng(8)
    table = pd.DataFrame({"participant_id": [f"sub-{index:02d}" for index in range(30)], "status": "ok", "reason": None})
    table["volume"] = [f"{name}_T1w.nii.gz" for name in table["participant_id"]]
    for name in table["volume"]:
        write_bytes(folder / name, encode_volume(quantise(generator.random(grid.shape)), grid, "test"))
    measures = {name: generator.random(30) for name in scan_sheet.MEASURES}
    table = table.assign(flags=None, **measures)
    table.loc[27:28, "flags"] = ["low_similarity", "dark_brain;flat_brain"]
    table.loc[29, ["status", "reason", "volume", *scan_sheet.MEASURES]] = ["bad", "expected a head, found <nothing>", *[None] * 9]
    write_tsv(folder / "qc.tsv", table)
    return folder / "qc.tsv"


def random_volumes() -> dict[str, np.ndarray]:
    counts = {"real": 3, "synthetic": 3, "near_synthetic": 2, "near_train": 2, "worst": 2, **dict.fromkeys(LADDERS, 5)}
    generator = np.random.default_rng(9)
    return {name: generator.random((n, *CONFIG.grid.shape)) for name, n in counts.items()}


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
        self.words.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, str, Path]:
    folder = tmp_path_factory.mktemp("report")
    arguments = write_inputs(folder, planted(random_volumes()))
    main(**arguments)  # type: ignore[arg-type]
    text = (folder / "report.html").read_text(encoding="utf-8")
    return Page(text), text, folder


def test_the_page_asks_the_network_for_nothing(page: tuple[Page, str, Path]) -> None:
    parsed, text, _ = page
    assert parsed.addresses
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in parsed.addresses)
    assert "@import" not in text
    assert "<script" not in text
    assert not parsed.open


def test_every_picture_decodes_and_every_svg_parses(page: tuple[Page, str, Path]) -> None:
    parsed, text, _ = page
    pictures = [address for address in parsed.addresses if address.startswith("data:")]
    assert len(pictures) == 3 + 3 + 4 + 2 + 4 * (5 + 5) + scan_sheet.SHOWN
    for picture in pictures:
        assert min(matplotlib.image.imread(io.BytesIO(base64.b64decode(picture.split(",")[1]))).shape) > 0
    svgs = [f"<svg{part.split('</svg>')[0]}</svg>" for part in text.split("<svg")[1:]]
    assert len(svgs) == 1 + 3 + 4 + 1 + 2 + 1 + 2
    for svg in svgs:
        ElementTree.fromstring(svg)


def test_the_page_says_what_the_files_say(page: tuple[Page, str, Path]) -> None:
    parsed, _, folder = page
    report = json.loads((folder / "evaluate" / "report.json").read_text())
    low, high = report["ventricles_r_ci"]
    assert f"{report['ventricles_r']:.3f} [{low:.3f}, {high:.3f}]" in parsed.text
    assert f"{report['age_r_real']:.3f}" in parsed.text
    assert f"n = {N}" in parsed.text
    assert "0.692" in parsed.text
    assert "UK Biobank, published" in parsed.text
    assert "not computed" in parsed.text
    assert "a reason with <angle> & ampersand" in parsed.text
    assert sha256(folder / "release" / "planted.torrent") in parsed.text
    assert "subject's left" in parsed.text
    assert "Audit: not enough data." in parsed.text
    assert "left thalamus" in parsed.text
    assert "NO" in parsed.words


def test_the_release_is_counted_by_entry(page: tuple[Page, str, Path]) -> None:
    release = page[2] / "release" / "checksums.sha256"
    assert contents(release) == [("dataset_description.json", 1, 1500), ("sub-*/", 1, 1500)]


def test_the_same_inputs_make_the_same_page(page: tuple[Page, str, Path], tmp_path: Path) -> None:
    main(**write_inputs(tmp_path, planted(random_volumes())))  # type: ignore[arg-type]
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page[1]


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
    shown = [part.split(",")[0] for part in chapter.split("<figcaption>")[1:]]
    assert set(shown[:2]) == {"sub-27", "sub-28"}
    assert len(shown) == len(set(shown)) == scan_sheet.SHOWN
