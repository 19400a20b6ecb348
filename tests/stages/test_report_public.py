"""The public page holds nothing of one person: planted ids, scans and values are looked for in all that it carries, decoded."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from page_payloads import pictures, texts
from page_payloads import volumes as viewed
from planted_report import CONFIG, planted, volumes, write_inputs
from scipy import ndimage

from brainldm.core.errors import DataError
from brainldm.core.files import read_json
from brainldm.formats import figures, html, publishable
from brainldm.formats.leaks.check import findings
from brainldm.formats.nifti import read_volume
from brainldm.stages.release import read_public_page
from brainldm.stages.report import main

IDS = ("ukb-4711", "sub-Zephyr", "S0815x")  # how the ids of planted people begin
REAL = ("real", "near_train")
ALIKE = 0.15  # correlation of fine detail: of strangers it is about 0.02, of a mean of ten with one of them 0.3


class Run:
    """A run with planted people, and the two pages of it."""

    def __init__(self, folder: Path) -> None:
        found = planted(volumes())
        n_people = {name: len(found.volumes[name]) for name in REAL}
        for prefix, name in zip(IDS, REAL, strict=False):
            found.shown[name] = [f"{prefix}{place:04d}" for place in range(n_people[name])]
        generator = np.random.default_rng(77)
        self.ages = generator.uniform(45, 80, 20).round(4)
        self.predicted = (self.ages + generator.normal(0, 4, 20)).round(4)
        found.shown["held_out_ages"] = {"true": self.ages, "predicted": self.predicted}
        found.report["copies_as_planted_score"] = self.score = 0.73914
        found.report["an_entry_that_nobody_listed"] = self.unlisted = 71.8362
        for name in REAL:  # detail that no other volume shares
            found.volumes[name] = generator.random((n_people[name], *CONFIG.grid.shape))
        self.real = np.concatenate([found.volumes[name] for name in REAL])
        self.inputs = write_inputs(folder, found)
        self.scans = self._plant_ids(folder / "preprocess/000/qc.tsv")
        checked = [read_volume(folder / "preprocess/000" / name, CONFIG.grid) for name in self.scans["volume"].dropna()]
        self.checked = np.stack(checked)
        main(**self.inputs)  # type: ignore[arg-type]
        self.private, self.public = ((folder / name).read_text(encoding="utf-8") for name in ("report.html", "report-public.html"))
        self.folder = folder
        self.ids = [*found.shown["real"], *found.shown["near_train"], *self.scans["participant_id"]]

    @staticmethod
    def _plant_ids(path: Path) -> pd.DataFrame:
        """Rename the people of the quality table, and let a reason name one of them and his file."""
        scans = pd.read_csv(path, sep="\t")
        names = [f"{IDS[2]}{place:03d}" for place in range(len(scans))]
        for old, new in zip(scans["volume"], names, strict=True):
            if isinstance(old, str):
                (path.parent / old).rename(path.parent / f"{new}_T1w.nii.gz")
        scans["volume"] = [f"{new}_T1w.nii.gz" if isinstance(old, str) else None for old, new in zip(scans["volume"], names, strict=True)]
        scans["participant_id"] = names
        scans.loc[scans["status"] == "bad", "reason"] = f"/data/raw/{names[-1]}.nii.gz is empty"
        scans.to_csv(path, sep="\t", index=False)
        return scans


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("run"))


def fine(array: np.ndarray) -> np.ndarray:
    """Return the fine detail of a picture or volume, which differs from person to person, with mean 0 and norm 1."""
    detail = (array - ndimage.uniform_filter(array, 3)).ravel()
    detail -= detail.mean()
    return detail / max(np.linalg.norm(detail), 1e-9)


def likeness(text: str, real: np.ndarray) -> float:
    """Return the highest correlation of fine detail between what a page shows and the real volumes [N,I,J,K], planes included."""
    grid = CONFIG.grid
    planes: dict[tuple[int, ...], list[np.ndarray]] = {}
    for volume in real:
        for picture in (figures.strip(volume, grid), *figures.planes(volume, grid)):
            planes.setdefault(picture.shape, []).append(fine(picture))
    highest = 0.0
    for picture in pictures(text):
        for known in planes.get(picture.shape[:2], []):
            highest = max(highest, abs(float(fine(picture.mean(2)) @ known)))
    for _, frames in viewed(text):
        for frame in frames:
            assert frame.shape == real.shape[1:], "the viewer shows volumes at full size here"
            for volume in real:
                highest = max(highest, abs(float(fine(frame / 255) @ fine(volume))))
    return highest


def numbers(text: str) -> set[str]:
    """Return the decimal numbers of a text."""
    return set(re.findall(r"\d+\.\d+", text))


def shortened(values: np.ndarray) -> Iterator[str]:
    """Yield values as people write them, with two digits behind the point and more."""
    for value in values:
        for digits in (2, 3, 4):
            yield f"{value:.{digits}f}"


def section(text: str, title: str) -> str:
    """Return a chapter of a page."""
    return text.partition(f">{title}</h2>")[2].partition("</section>")[0]


def test_the_public_page_shows_no_scan_of_a_person(run: Run) -> None:
    assert likeness(run.private, run.real) > 0.95  # the search finds what is there
    assert likeness(run.private, run.checked) > 0.95
    assert likeness(run.public, np.concatenate([run.real, run.checked])) < ALIKE
    mean = run.real[:4].mean(axis=0, keepdims=True)
    assert abs(float(fine(mean[0]) @ fine(run.real[0]))) > ALIKE  # it would find a mean of few, too
    assert len(list(pictures(run.public))) > 30
    assert len(list(viewed(run.public))) == 3 + 5


def test_the_public_page_names_nobody(run: Run) -> None:
    everything = "\n".join(texts(run.public))
    assert all(name in "\n".join(texts(run.private)) for name in run.ids[:5])
    for name in run.ids:
        assert name not in everything
    for prefix in IDS:
        assert prefix.lower() not in everything.lower()
    assert IDS[0].split("-")[1] + "0000" not in everything
    assert "/data/raw" not in everything


def test_the_public_page_holds_no_value_of_a_person(run: Run) -> None:
    said = numbers("\n".join(texts(run.public)))
    for values in (run.ages, run.predicted, [run.score, run.unlisted]):
        assert not said & set(shortened(values))
    good = run.scans[run.scans["status"] == "ok"]
    sheet = section(run.public, "Were the scans read right?")
    for column in ("similarity", "rotation_deg", "intensity_p50"):
        assert f"{good[column].min():.3f}" in run.private
        for extreme in (good[column].min(), good[column].max()):
            assert f"{extreme:.3f}" not in sheet
    for word in ("real, held out", "a real scan", "near_train", "an_entry_that_nobody_listed", "copies_as_planted_score"):
        assert word not in run.public


def test_points_of_a_plot_are_synthetic_rows_alone(run: Run) -> None:
    """The age plot has a marker for each synthetic row, and in the private page one more for each real person."""
    counts = [section(text, "Does it obey?").count("<use ") for text in (run.private, run.public)]
    assert counts[0] - counts[1] == len(run.ages) + 1  # and the one in the legend


def test_the_private_page_says_what_it_is(run: Run) -> None:
    assert html.kind_of(run.private) == "private"
    assert "<title>Private. " in run.private
    banner = run.private.partition('<div class="banner private"')[2].partition("</div>")[0]
    assert run.private.index('class="banner private"') < run.private.index("<h1>")
    assert "do not publish this page" in banner
    assert "3 real scans as whole volumes" in banner
    assert "2 training scans" in banner
    assert "age and predicted age of 20" in banner
    assert "report-public.html" in banner
    assert html.kind_of(run.public) == "public"
    assert 'class="banner public"' in run.public
    assert "private: it holds real scans" in (run.folder / "report.txt").read_text(encoding="utf-8")


def test_the_public_page_has_the_figures_all_the_same(run: Run) -> None:
    for chapter in ("What came out", "Is it sound?", "Does it look like a brain?", "Look for yourself", "Is it diverse?", "Is it a copy?"):
        assert f">{chapter}</h2>" in run.public
    report = read_json(run.folder / "evaluate/report.json")
    assert f"{report['ventricles_r']:.3f}" in run.public
    assert f"{report['age_r_real']:.3f}" in run.public


def test_the_leak_check_accepts_the_public_page_and_refuses_the_private_one(run: Run, tmp_path: Path) -> None:
    lines = ["participant_id\tsex\tage_years\tventricles_ml\tbrain_ml"]
    lines += [f"{name}\tF\t{50 + place + 0.1234}\t{20 + place + 0.4321}\t{1400 + place + 0.2468}" for place, name in enumerate(run.ids)]
    (tmp_path / "covariates.tsv").write_text("\n".join(lines) + "\n")
    refused = {}
    for kind, text in (("public", run.public), ("private", run.private)):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "report.html").write_text(text, encoding="utf-8")
        refused[kind] = list(findings(tmp_path / kind, tmp_path / "covariates.tsv"))
    assert refused["public"] == []
    assert len(refused["private"]) > 5


def test_only_a_public_page_is_released(run: Run, tmp_path: Path) -> None:
    assert read_public_page(run.folder / "report-public.html") == run.public
    with pytest.raises(DataError, match=r"^Cannot release .*report\.html: it is not a public page .* Pass results/report-public\.html"):
        read_public_page(run.folder / "report.html")
    with pytest.raises(DataError, match=r"^Cannot read .*none\.html"):
        read_public_page(tmp_path / "none.html")


def test_every_planted_entry_is_listed_but_the_one_that_nobody_listed(run: Run) -> None:
    report = read_json(run.folder / "evaluate/report.json")
    assert list(publishable.unlisted(report)) == ["an_entry_that_nobody_listed"]


def test_small_counts_of_people_are_not_told() -> None:
    few = {"age_r_real": 0.512345678, "age_r_real_n": 9, "age_r_real_ci": [0.1, 0.9], "ventricles_r": 0.98765432, "ventricles_r_n": 9}
    cells = [{"n_train": count, "n": 3} for count in (0, 1, 9, 10, 37)]
    regions = {"csf": {"n_real": 9, "d": 0.1}, "thalamus": {"n_real": 57, "d": 0.123456}}
    found = publishable.figures({**few, "tables": {"coverage": cells, "anatomy": regions, "ladders": {"ladder_age_years": {}}}})
    assert found["age_r_real"] is None
    assert found["age_r_real_ci"] == [None, None]
    assert found["ventricles_r"] == 0.9877
    assert [cell["n_train"] for cell in found["tables"]["coverage"]] == ["under 10", "under 10", "under 10", "10 to 19", "30 to 39"]
    assert found["tables"]["anatomy"] == {"thalamus": {"n_real": 50, "d": 0.1235}}
    assert "ladders" not in found["tables"]


def test_verdicts_keep_what_does_not_rest_on_few_scans() -> None:
    rows = {
        "a": {"figure": "age_r", "value": 0.71234567, "limit": 0.41, "sense": ">=", "passed": True},
        "b": {"figure": "fid", "value": 0.5, "limit": 0.41, "sense": "<=", "passed": False},
        "c": {"figure": "ms_ssim", "value": 0.5, "limit": 0.41, "sense": "<=", "passed": False},
    }
    counts = {"age_r": 50, "age_r_real": 9, "fid": 9, "fid_real": 9, "ms_ssim": 44, "ms_ssim_reconstruction": 45}
    figures = {key: value for name, n in counts.items() for key, value in ((name, 0.5), (f"{name}_n", n))}
    found = publishable.figures({**figures, "verdicts": rows})["verdicts"]
    assert [(row["value"], row["limit"]) for row in found.values()] == [(0.7123, None), (None, None), (0.5, 0.41)]


def test_a_study_of_few_scans_has_a_public_page(tmp_path: Path) -> None:
    """Figures of real scans are left out, and the page is whole."""
    found = planted(volumes())
    for key in [key for key in found.report if key.endswith("_n") and key != "rejection_rate_n"]:
        found.report[key] = 4
    found.report["fid_curve"]["n"] = [2, 3, 4, 5]
    found.report["tables"]["anatomy"] = {}
    main(**write_inputs(tmp_path, found))  # type: ignore[arg-type]
    page = (tmp_path / "report-public.html").read_text(encoding="utf-8")
    for key in ("age_r_real", "fid", "ms_ssim_real", "ms_ssim_reconstruction", "audit_false_alarms"):
        assert found.report[key] is not None
        assert f"<code>{key}</code></td><td>not computed</td>" in page
    assert "Do features tell it from real?" not in page
