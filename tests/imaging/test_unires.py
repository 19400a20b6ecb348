import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from brainldm.core.errors import ConfigError, DataError, ScanError
from brainldm.core.grid import Grid
from brainldm.imaging import unires
from brainldm.imaging.mni152 import read_map
from brainldm.imaging.register import register as embedded
from brainldm.imaging.resample import onto_grid

SCAN = Path(__file__).parents[2].parent / "shared" / "data" / "scans" / "spm152.nii.gz"
GRID = Grid(shape=(54, 64, 54), spacing_mm=3.0, center_mm=(0.0, -17.0, 6.0))

# A stand-in for UniRes' environment: the same names, the same shapes of results, the same convention of the matrix. Where the
# real one searches for the pose, this one is told it.
TORCH = """
class cuda:
    is_available = staticmethod(lambda: False)
def set_grad_enabled(enabled): pass
def manual_seed(seed):
    import unires
    unires.seed = seed
"""
SETTINGS = """
class settings:
    def __init__(self):
        self.atlas_rigid = self.common_output = self.crop = self.do_atlas_align = self.unified_rigid = False
        self.device, self.dir_out, self.do_print, self.fov, self.max_iter = "cuda", None, 1, "brain", 512
        self.pow, self.prefix, self.vx, self.write_out = 0, "u_", 1.0, True
"""
PREPROC = """
import json, os, sys
import nibabel as nib
import numpy as np
from nibabel.processing import resample_from_to
from nitorch.core.datasets import fetch_data
import unires

def preproc(data, sett):
    told = json.load(open({told!r}))
    json.dump({{**vars(sett), "seed": unires.seed, "data": data}}, open({told!r} + ".seen", "w"), default=str)
    if told.get("crash"):
        print("some warning\\nRuntimeError: the histogram is empty", file=sys.stderr)
        os._exit(told["crash"])
    sett.mat_atlas = np.array(told["mat_atlas"])
    scan = nib.load(data[0])
    aligned = nib.Nifti1Image(scan.get_fdata(), np.linalg.solve(sett.mat_atlas, scan.affine))
    atlas = nib.load(fetch_data("atlas_t1"))
    grid = nib.affines.rescale_affine(atlas.affine, atlas.shape, 3, (62, 74, 62))
    output = resample_from_to(aligned, ((62, 74, 62), grid), order=1)
    path = os.path.join(sett.dir_out, sett.prefix + os.path.basename(data[0]))
    nib.save(output, path)
    return output.get_fdata()[..., None], grid, [path]
"""
DATASETS = """
import os
cache_dir = {folder!r}
data = {{"atlas_t1": ["https://example.org/25595000", "mb_avg218T1.nii.gz"]}}
def fetch_data(name):
    path = os.path.join(cache_dir, data[name][1])
    if not os.path.exists(path):
        raise OSError("no route to host")
    return path
"""


class _Environment:
    """A folder like UniRes' environment, whose UniRes finds the pose `mat_atlas` or does what else it is told."""

    def __init__(self, folder: Path, atlas: Path) -> None:
        self.folder, self.command, self.told = folder, folder / "bin" / "unires", folder / "told.json"
        modules = {
            "torch": TORCH,
            "unires": "",
            "unires.struct": SETTINGS,
            "unires.run": PREPROC.format(told=str(self.told)),
            "nitorch": "",
            "nitorch.core": "",
            "nitorch.core.datasets": DATASETS.format(folder=str(folder)),
        }
        for name, text in modules.items():
            package = any(other.startswith(f"{name}.") for other in modules)
            path = folder / "lib" / (name.replace(".", "/") + ("/__init__.py" if package else ".py"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self._script("python", f'#!/bin/sh\nPYTHONPATH={folder / "lib"} exec {sys.executable} "$@"\n')
        self._script("unires", "#!/bin/sh\n")
        (folder / "mb_avg218T1.nii.gz").symlink_to(atlas)

    def _script(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def tell(self, **told: Any) -> None:
        self.told.write_text(json.dumps({name: np.asarray(value).tolist() for name, value in told.items()}))

    def seen(self) -> dict[str, Any]:
        return dict(json.loads(Path(f"{self.told}.seen").read_text()))

    def register(self, scan: tuple[np.ndarray, np.ndarray], **options: Any) -> unires.UniresResult:
        return unires.register(*scan, str(self.command), name="sub-7.nii.gz", **options)


def _pose(rotation_deg: tuple[float, float, float], translation_mm: tuple[float, float, float]) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
    pose[:3, 3] = translation_mm
    return pose


MNI_TO_ATLAS = _pose((6, 0, -3), (3, -8, 12))
MNI_TO_NATIVE = _pose((-12, 10, 15), (15, -10, 5))


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template in a frame of its own, as UniRes' atlas is."""
    volume, affine = read_map("t1")
    path = tmp_path_factory.mktemp("atlas") / "atlas.nii.gz"
    nib.save(nib.Nifti1Image(volume[::2, ::2, ::2].astype(np.uint8), MNI_TO_ATLAS @ affine @ np.diag([2.0, 2, 2, 1])), path)
    return path


@pytest.fixture
def environment(tmp_path: Path, atlas: Path) -> _Environment:
    return _Environment(tmp_path / "unires", atlas)


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process makes its temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def _scan(spacing_mm: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """The template in the pose MNI_TO_NATIVE, along axes that are tilted and partly reversed."""
    volume, affine = read_map("t1")
    step = np.array(spacing_mm, int)
    native = MNI_TO_NATIVE @ affine @ np.diag([*step.astype(float), 1.0])
    volume = volume[:: step[0], :: step[1], :: step[2]][:, ::-1]
    flip = np.diag([1.0, -1, 1, 1])
    flip[1, 3] = volume.shape[1] - 1
    return volume, native @ flip


def _brain_mm() -> np.ndarray:
    volume, affine = read_map("t1")
    return np.argwhere(volume[::8, ::8, ::8] > 20) * 8 + affine[:3, 3]


def _error_mm(one: np.ndarray, other: np.ndarray) -> float:
    difference = one - other
    return float(np.linalg.norm(_brain_mm() @ difference[:3, :3].T + difference[:3, 3], axis=1).mean())


def _likeness(found: unires.UniresResult) -> float:
    shown = onto_grid(found.volume, found.affine, GRID, found.mni_to_native)
    return float(np.corrcoef(shown.ravel(), onto_grid(*read_map("t1"), GRID).ravel())[0, 1])


def test_the_pose_leads_from_mni_to_the_scan_whatever_the_frame_of_the_atlas(environment: _Environment, temporary_folder: Path) -> None:
    environment.tell(mat_atlas=MNI_TO_NATIVE @ np.linalg.inv(MNI_TO_ATLAS))
    scan = _scan((2, 2, 2))
    found = environment.register(scan)
    assert _error_mm(found.mni_to_native, MNI_TO_NATIVE) < 0.5
    assert found.volume is scan[0]
    assert found.affine is scan[1]
    assert _likeness(found) > 0.97
    assert _likeness(found._replace(mni_to_native=np.linalg.inv(found.mni_to_native))) < 0.8
    assert not list(temporary_folder.iterdir())


def test_it_registers_truly_rigidly_and_does_nothing_else(environment: _Environment) -> None:
    environment.tell(mat_atlas=np.eye(4))
    environment.register(_scan((2, 2, 2)))
    seen = environment.seen()
    assert seen["atlas_rigid"] is True
    assert (seen["max_iter"], seen["vx"], seen["do_atlas_align"], seen["common_output"]) == (0, 1.0, True, True)
    assert (seen["crop"], seen["fov"], seen["pow"], seen["device"], seen["seed"]) == (True, "head", 256, "cpu", 0)
    assert seen["dir_out"] == str(Path(seen["data"][0]).parent)


def test_super_resolution_gives_the_volume_that_unires_wrote_in_the_scans_space(environment: _Environment) -> None:
    environment.tell(mat_atlas=MNI_TO_NATIVE @ np.linalg.inv(MNI_TO_ATLAS))
    found = environment.register(_scan((2, 2, 4)), super_resolution=True)
    seen = environment.seen()
    assert (seen["max_iter"], seen["atlas_rigid"], seen["vx"]) == (512, True, 1.0)
    assert found.volume.shape == (62, 74, 62)
    assert _likeness(found) > 0.95


def test_a_scan_that_needs_no_super_resolution_is_not_denoised_in_its_stead(environment: _Environment) -> None:
    environment.tell(mat_atlas=np.eye(4))
    scan = _scan((1, 1, 1))
    assert environment.register(scan, super_resolution=True).volume is scan[0]
    assert environment.seen()["max_iter"] == 0


def test_without_unires_the_error_says_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"found no 'unires-of-nowhere'.*conda env create --file envs/unires\.yaml.*preprocess\.unires_command"
    ):
        unires.register(*_scan((4, 4, 4)), "unires-of-nowhere")
    lonely = tmp_path / "unires"
    lonely.write_text("#!/bin/sh\n")
    lonely.chmod(0o755)
    with pytest.raises(ConfigError, match="no Python beside it"):
        unires.find_interpreter(str(lonely))


def test_the_interpreter_is_the_one_of_the_console_script(
    environment: _Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = environment.folder / "bin" / "python"
    assert unires.find_interpreter(str(environment.command)) == beside
    (tmp_path / "link").symlink_to(environment.command)
    assert unires.find_interpreter(str(tmp_path / "link")) == beside
    monkeypatch.setenv("PATH", str(environment.folder / "bin"))
    assert unires.find_interpreter("unires") == beside
    environment.command.write_text(f"#!{sys.executable}\n")
    assert unires.find_interpreter(str(environment.command)) == Path(sys.executable)


@pytest.mark.parametrize("status", [1, 0])
def test_a_crash_names_the_scan_and_the_last_words(environment: _Environment, temporary_folder: Path, status: int) -> None:
    environment.tell(mat_atlas=np.eye(4), crash=1)
    if not status:  # it ends well, but without an answer
        (environment.folder / "lib" / "unires" / "run.py").write_text("import os\npreproc = lambda *_: os._exit(0)\n")
    said = "RuntimeError: the histogram is empty" if status else "nothing on stderr"
    with pytest.raises(ScanError, match=rf"^sub-7\.nii\.gz: expected .*exit status {status} .*{said}"):
        environment.register(_scan((4, 4, 4)))
    assert not list(temporary_folder.iterdir())


@pytest.mark.parametrize("matrix", [np.diag([1.07, 1.07, 1.07, 1]), np.diag([-1.0, 1, 1, 1]), np.full((4, 4), np.nan), np.eye(3)])
def test_what_is_not_rigid_is_refused(environment: _Environment, matrix: np.ndarray) -> None:
    said = (
        f"import numpy\nnan = numpy.nan\ndef preproc(data, sett):\n  sett.mat_atlas = numpy.array({matrix.tolist()})\n  return 0, 0, data\n"
    )
    (environment.folder / "lib" / "unires" / "run.py").write_text(said)
    with pytest.raises(ScanError, match=r"^sub-7\.nii\.gz: expected a rigid transform"):
        environment.register(_scan((4, 4, 4)))


def test_an_environment_at_fault_is_no_fault_of_the_scan(environment: _Environment, atlas: Path) -> None:
    (environment.folder / "mb_avg218T1.nii.gz").unlink()
    with pytest.raises(DataError, match=r"mb_avg218T1\.nii\.gz, found none.*https://example\.org/25595000 \(OSError: no route to host\)"):
        environment.register(_scan((4, 4, 4)))
    struct = environment.folder / "lib" / "unires" / "struct.py"
    struct.write_text(struct.read_text().replace("self.atlas_rigid = ", ""))
    (environment.folder / "mb_avg218T1.nii.gz").symlink_to(atlas)
    with pytest.raises(DataError, match="without the setting 'atlas_rigid'"):
        environment.register(_scan((4, 4, 4)))
    shutil.rmtree(environment.folder / "lib" / "unires")
    with pytest.raises(DataError, match="expected an environment with UniRes, found: No module named 'unires'"):
        environment.register(_scan((4, 4, 4)))


@pytest.mark.slow
def test_the_real_unires_lays_a_real_scan_where_the_embedded_backend_does(
    tmp_path: Path, temporary_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = os.environ.get("BRAINLDM_UNIRES", "unires")
    if shutil.which(command) is None:
        pytest.skip(f"UniRes is not installed: no command {command!r} (BRAINLDM_UNIRES names another)")
    if not SCAN.exists():
        pytest.skip(f"no scan at {SCAN}")
    image = nib.as_closest_canonical(nib.load(SCAN))
    volume, affine = np.asarray(image.dataobj, np.float32), image.affine
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # there the template stands in for the atlas, which is a download
    (tmp_path / "nitorch").mkdir()
    nib.save(nib.Nifti1Image(read_map("t1")[0].astype(np.uint8), read_map("t1")[1]), tmp_path / "nitorch" / "mb_avg218T1.nii.gz")

    found = unires.call(unires.find_interpreter(command), volume, affine, False, temporary_folder, str(SCAN))
    assert _error_mm(found.atlas_to_native, embedded(volume, affine, 2.0, 0.75, seed=1).mni_to_native) < 3
    written = nib.load(found.volume)
    matrix = np.linalg.inv(affine) @ found.atlas_to_native @ written.affine
    expected = ndimage.affine_transform(volume, matrix[:3, :3], matrix[:3, 3], written.shape, order=1)
    inside = expected > 0
    assert np.corrcoef(expected[inside], np.asarray(written.dataobj)[inside])[0, 1] > 0.999
