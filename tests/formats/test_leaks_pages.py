"""The leak check reads what a page of HTML carries: text, data blocks, pictures, volumes and programs, whatever they are wrapped in."""

import base64
import gzip
import io
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from brainldm.formats import html
from brainldm.formats.leaks.check import findings

ID = "ukb-1000012"
ENGINE = Path(html.__file__).parent / "page/niivue.umd.js.gz"


@pytest.fixture
def covariates(tmp_path: Path) -> Path:
    lines = ["participant_id\tsex\tage_years\tventricles_ml\tbrain_ml", f"{ID}\tF\t61.3127\t30.2361\t1598.7513"]
    path = tmp_path / "covariates.tsv"
    path.write_text("\n".join([*lines, "ukb-1000027\tM\t55.2\t22.5\t1490.1"]) + "\n")
    return path


def png(comment: str = "") -> bytes:
    buffer = io.BytesIO()
    told = PngInfo()
    if comment:
        told.add_text("Comment", comment, zip=True)
    Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20)).save(buffer, "PNG", pnginfo=told)
    return buffer.getvalue()


def volume(description: str = "brainldm report", name: str = "", behind: bytes = b"") -> bytes:
    image = nib.Nifti1Image(np.random.default_rng(0).integers(0, 255, (9, 9, 9), dtype=np.uint8), np.eye(4))
    image.header["descrip"] = description
    buffer = io.BytesIO()
    with gzip.GzipFile(name, "wb", fileobj=buffer, mtime=0) as handle:
        handle.write(image.to_bytes() + behind)
    return buffer.getvalue()


def page(words: str = "No names here.", picture: bytes | None = None, scan: bytes | None = None, more: str = "", raw: str = "") -> str:
    """A page as the report's, with one picture, one volume in its data block, and the viewer."""
    item = {"name": f"sub-000001{more}", "image": base64.b64encode(scan or volume()).decode()}
    blocks = [
        html.image(picture or png(), "a brain"),
        f'<script id="viewer-data" type="application/json">{json.dumps({"items": [item]})}</script>',
        f'<script id="viewer-code" type="text/plain">{base64.b64encode(ENGINE.read_bytes()).decode()}</script>',
        raw,
    ]
    return html.page("A report", words, [html.section("Look", *blocks)], kind="public")


def found(text: str, covariates: Path) -> list[str]:
    folder = covariates.parent / "published"
    folder.mkdir()
    (folder / "report-public.html").write_text(text, encoding="utf-8")
    return [str(finding) for finding in findings(folder, covariates)]


def test_a_page_without_people_passes(covariates: Path) -> None:
    assert found(page(), covariates) == []


@pytest.mark.parametrize(
    ("planted", "says"),
    [
        ({"words": f"Compare {ID}."}, "id of a training participant"),
        ({"picture": png(ID)}, "id of a training participant"),
        ({"picture": png() + ID.encode()}, "behind the PNG's end"),
        ({"scan": volume(description=f"scan of {ID}")}, "id of a training participant"),
        ({"scan": volume(name=f"{ID}.nii")}, "id of a training participant"),
        ({"scan": volume(behind=b"anything at all")}, "behind the voxels"),
        ({"scan": gzip.compress(f"the scan of {ID} was the nearest".encode() * 9)}, "id of a training participant"),
        ({"more": f" is like {ID}"}, "id of a training participant"),
        ({"raw": "\\u0075kb-1000012".join(['<script type="application/json">"', '"</script>'])}, "id of a training participant"),
        ({"raw": f"<!-- {ID} -->"}, "id of a training participant"),
        ({"raw": f"data:x;base64,{base64.b64encode(bytes(range(256))).decode()}"}, "neither a picture nor a volume"),
        ({"words": "F, 61.3127 years, 30.2361 mL, 1598.7513 mL"}, "training participant"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_planted_in_a_page_is_found(planted: dict[str, object], says: str, covariates: Path) -> None:
    found_there = found(page(**planted), covariates)  # type: ignore[arg-type]
    assert found_there
    assert any(says in finding for finding in found_there), found_there
