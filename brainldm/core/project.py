"""A project: a folder with a configuration, a profile and a manifest, where the workflow that the package carries is run."""

from pathlib import Path

from brainldm.core.errors import ConfigError

WORKFLOW = Path(__file__).parents[1] / "project"  # links into the repository; whole files in an installed package
SNAKEFILE = WORKFLOW / "Snakefile"
CONFIG = "config.yaml"
MANIFEST = "scans.tsv"
OWN_SCANS = {  # in the demo's configuration, where scans are the user's own
    "kind: cohort  ": "kind: manifest",
    "manifest: null": f"manifest: {MANIFEST}",
    "n_subjects: 288": "n_subjects: 1   # of the embedded population only the label maps are used",
    "registration_spacing_mm: 3.0   #": "registration_spacing_mm: 2.0   # 3.0 is",
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
