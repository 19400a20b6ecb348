"""A project: a folder with a configuration, a profile and a manifest, where the workflow that the package carries is run."""

from pathlib import Path

from brainldm import __version__
from brainldm.core.errors import ConfigError
from brainldm.core.files import read_json, write_json

WORKFLOW = Path(__file__).parents[1] / "project"  # links into the repository; whole files in an installed package
SNAKEFILE = WORKFLOW / "Snakefile"
CONFIG = "config.yaml"
MANIFEST = "scans.tsv"
RESULTS = Path("results/format.json")
FORMAT = 2  # of the files in results/; raised when a stage would misread those of an older version
OWN_SCANS = {  # in the demo's configuration, where scans are the user's own
    "kind: cohort  ": "kind: manifest",
    "manifest: null": f"manifest: {MANIFEST}",
    "n_subjects: 288": "n_subjects: 1   # of the embedded population only the label maps are used",
    "registration_spacing_mm: 3.0   #": "registration_spacing_mm: 2.0   # 3.0 is",
    "bounds: {age_years: [44, 82]} # of the cohort. Public": "bounds: {}                # public",
    "skull_stripped: true ": "skull_stripped: false",
    "name: brainldm-demo": "name: my-dataset",
}


def presets() -> dict[str, Path]:
    """The configurations to begin with, by name; `demo` is the default one."""
    return {"demo": WORKFLOW / CONFIG, **{path.stem: path for path in sorted((WORKFLOW / "workflow/presets").glob("*.yaml"))}}


def configuration(preset: str, own_scans: bool) -> str:
    """The text of a preset; with the user's own scans in the place of the embedded population. ConfigError for no such preset."""
    if preset not in presets():
        raise ConfigError(f"--preset: expected one of {', '.join(presets())}, found {preset!r}")
    text = presets()[preset].read_text(encoding="utf-8").replace("name-your-manifest.tsv", MANIFEST)
    for there, mine in OWN_SCANS.items() if own_scans and preset == "demo" else ():
        text = text.replace(there, mine, 1)
    return text


def check_results(folder: Path) -> None:
    """ConfigError where the folder's results are of a version whose files this one would misread."""
    path = folder / RESULTS
    found = read_json(path) if path.is_file() else {"format": FORMAT}
    if found["format"] != FORMAT:
        made = f"format {found['format']} of brainldm {found.get('brainldm', 'unknown')}"
        wanted = f"expected results of format {FORMAT}, as brainldm {__version__} writes them"
        raise ConfigError(f"{path}: {wanted}, found {made}; run in a new folder, or go on with that version")


def mark_results(folder: Path) -> None:
    """Note which version the folder's results are of."""
    if not (folder / RESULTS).is_file():
        write_json(folder / RESULTS, {"format": FORMAT, "brainldm": __version__})


def news(folder: Path, since: float) -> str:
    """Return the report's figures as text and the release's folder, each if it was written after `since`, in seconds of the epoch."""
    report = folder / "results/report.txt"
    release = folder / "results/release/checksums.sha256"
    fresh = [path for path in (report, release) if path.is_file() and path.stat().st_mtime >= since]
    text = report.read_text(encoding="utf-8") if report in fresh else ""
    return f"{text}release: {release.parent}\n" if release in fresh else text
