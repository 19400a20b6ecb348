"""Releases that tell of nobody pass the leak check, however odd their names, numbers, licences and languages are."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from leak_plants import NAME, arrow, member, packed, parquet, people, picture, put, synthetic, tar, tensors, torrent, volume
from release_files import CONFIG, OWN, SHARDS, make_results, pack_all
from safetensors.numpy import save_file

from brainldm.core.config import parse, section_json
from brainldm.core.rows import participant_id
from brainldm.formats.leaks.check import findings
from brainldm.stages import release as release_stage

LAB = [f"sub-{i:04d}" for i in range(1, 120)]
LAB += ["sub-1000027", "ukb-2000456", "3000789", "sub-12345", "sub-NDARINVAB12CD34", "sub-01", "sub-2"]
ORCID, ISSN, ISBN = "0000-0002-1825-0097", "0028-0836", "978-0-0123-7410-1"


def lab(folder: Path, ids: list[str] = LAB, seed: int = 5) -> Path:
    people(ids, seed).to_csv(folder / "lab.tsv", sep="\t", index=False)
    return folder / "lab.tsv"


INNOCENT = {
    "counts and decimals": lambda f: put(f, "README.md", "n = 1000027.5, 0.1000027, 21000027, 10000 draws, 12345 volumes, 0.0123"),
    "sizes": lambda f: put(f, "croissant.json", json.dumps({"contentSize": "1000027 B", "sizes": ["12345 bytes", "3000789 voxels"]})),
    "known numbers": lambda f: put(f, "a.json", '{"n_bytes": 1000027, "seed": 3000789, "tar_offset": 12345, "index": 12345}'),
    "columns of numbers": lambda f: parquet(f, pa.table({"n_bytes": [1000027, 3000789], "index": [0, 1], "tar_offset": [12345, 1]})),
    "a TSV of known numbers": lambda f: put(f, "participants.tsv", "participant_id\tn_bytes\tage\nsub-000001\t1000027\t61.5\n"),
    "dates and years": lambda f: put(f, "CHANGES", "1.0.0 2026-11-21\n  - Since 0001-01-01T00:00:00+0100, 2026-11-21 09:30:00+0115.\n"),
    "licence with a year": lambda f: put(f, "LICENSE", "Copyright (c) 2019-2026 A lab. CC BY 4.0, 0BSD, GPL-3.0-or-later."),
    "ORCID": lambda f: put(f, "CITATION.cff", f"authors:\n- name: A\n  orcid: https://orcid.org/{ORCID}\n"),
    "ISSN and ISBN": lambda f: put(f, "README.md", f"Nature, ISSN {ISSN}; ISBN {ISBN}; doi:10.1007/978-3-031-18576-2_12"),
    "DOI": lambda f: put(f, "README.md", "https://doi.org/10.5281/zenodo.1234567, arXiv:2209.07162, PMID 36345678"),
    "telephone": lambda f: put(f, "README.md", "Write to a@example.org or call +49 30 0012 0034 56."),
    "UUID": lambda f: put(f, "a.json", '{"id": "0a1b2c3d-0012-4034-8056-0123456789ab"}'),
    "hashes": lambda f: put(f, "checksums.sha256", "".join(f"{i:02x}0012{'0a1000027f' * 5}{i:08x}  a{i}.json\n" for i in range(50))),
    "other languages": lambda f: put(f, "README.md", "Ein Datensatz. 合成脳画像データ。Набор данных. مجموعة بيانات ١٢٣. Größe: 1 500,5 ml"),  # noqa: RUF001
    "authors": lambda f: put(f, "datacite.json", json.dumps({"creators": [{"name": "Müller, Zoë"}, {"name": "O'Neil & Söhne"}]})),
    "escapes": lambda f: put(f, "a.json", '{"a": "\\u00e9\\u0123", "b": "100%25 &amp; =3D"}'),
    "web seeds": lambda f: put(f, "a.torrent", torrent(**{"url-list": ["https://example.org/2026/0x12/"], "creation date": 1000027})),
    "names of synthetic participants": lambda f: put(f, "participants.tsv", "participant_id\nsub-000001\nsub-000002\nsub-000003\n"),
    "shards": lambda f: put(f, "README.md", "shards/000000-000003.tar, latents/000000-000003.safetensors"),
    "a plain volume": lambda f: put(f, f"{NAME}.nii.gz", packed(volume())),
    "a volume of noise": lambda f: put(f, f"{NAME}.nii.gz", packed(volume()[:352] + np.random.default_rng(1).bytes(1152))),
    "a plain tar": lambda f: put(f, "shards/a.tar", tar([member(), member(f"{NAME}.nii.gz")], [b"{}", packed(volume())])),
    "tensors of noise": lambda f: put(f, "a.safetensors", tensors(a=np.random.default_rng(1).normal(0, 500, 90_000).astype(np.float32))),
    "a bright picture": lambda f: put(f, "a.png", picture("tEXt", "made by nobody")),
    "an empty folder and file": lambda f: ((f / "sub-000001").mkdir(), put(f, "README", "")),
    "figures": lambda f: put(f, "README.md", "\n".join(f"| figure_{i} | {i * 0.7315:.4f} |" for i in range(400))),
    "a table of near misses": lambda f: near(f),
    "configuration": lambda f: put(f, "protocol.yaml", (Path(__file__).parents[2] / "config.yaml").read_text()),
    "scientific numbers": lambda f: put(f, "a.json", '{"a": 1.000027e6, "b": -1e-12345, "c": [1, 2, 3], "d": null}'),
    "Markdown": lambda f: put(f, "DATASHEET.md", "1. one\n2. two\n\n`sub-000002/anat`\n\n[12]: https://example.org/a?b=c%20d#e\n"),
}


def near(folder: Path) -> None:
    """Rows that differ from the lab's in every value by a little more than rounding."""
    made = people(LAB, 5)[["sex", "age_years", "ventricles_ml", "brain_ml"]]
    made = made.assign(age_years=made["age_years"] + 0.3, ventricles_ml=made["ventricles_ml"] + 0.0123, brain_ml=made["brain_ml"] - 0.321)
    made.insert(0, "participant_id", [participant_id(i) for i in range(len(made))])
    made.assign(index=range(len(made))).to_parquet(folder / "covariates.parquet")
    made.to_csv(folder / "participants.tsv", sep="\t", index=False)


@pytest.mark.parametrize("case", INNOCENT)
def test_an_innocent_release_passes(tmp_path: Path, case: str) -> None:
    (tmp_path / "release").mkdir()
    parquet(tmp_path / "release", arrow())
    INNOCENT[case](tmp_path / "release")
    assert [str(finding) for finding in findings(tmp_path / "release", lab(tmp_path))] == []


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_results(tmp_path_factory.mktemp("results"))
    pack_all(made)
    save_file({"decoder.weight": np.random.default_rng(1).normal(size=(8, 8)).astype(np.float32)}, made / "autoencoder.safetensors")
    people(LAB, 5).to_csv(made / "covariates.tsv", sep="\t", index=False)
    return made


@pytest.mark.parametrize(
    ("packaging", "own"),
    [
        ("files", {"authors": ["Müller, Zoë", "株式会社", f"A. Nobody ({ORCID})"], "license": "CC-BY-4.0", "name": "brains-2026.1"}),
        ("tars", {"web_seeds": ["https://example.org/seeds/v0/"], "doi": "10.5281/zenodo.7654321", "url": "https://example.org/0x10"}),
        ("latents", {"version": "0.0.12", "license": "ODC-By-1.0", "authors": ["0 lab", "Lab 12"], "sample": 3}),
    ],
)
def test_a_real_release_passes(results: Path, packaging: str, own: dict[str, object]) -> None:
    """The stage itself runs the check, and with it the check of the torrent."""
    config = parse({**CONFIG, "release": {**OWN, "packaging": packaging, **own}})
    (results / "release.json").write_text(section_json(config, "release"))
    packs = [results / "pack" / f"{shard}.json" for shard in SHARDS]
    out = results / packaging / "checksums.sha256"
    latents = [results / "generate" / f"{shard}.safetensors" for shard in SHARDS]
    sample = results / f"{packaging}-sample" / "checksums.sha256" if own.get("sample") else None
    decoder = results / "autoencoder.safetensors"
    tables = results / "covariates.tsv", results / "model.json"
    shared = {"latents": latents, "autoencoder": decoder, "sample": sample, "page": results / "report-public.html"}
    release_stage.main(results / "release.json", packs, results / "report.json", *tables, out, **shared)
    assert out.exists()


@pytest.mark.parametrize(("n_people", "n_rows"), [(222, 256), (2000, 2000), (5, 10)])
def test_rows_drawn_from_the_same_population_are_nobodys(tmp_path: Path, n_people: int, n_rows: int) -> None:
    (tmp_path / "release").mkdir()
    for seed in range(4):
        table = lab(tmp_path, [f"sub-{i:05d}" for i in range(n_people)], seed)
        synthetic(n_rows, seed + 100).to_parquet(tmp_path / "release" / "covariates.parquet")
        synthetic(n_rows, seed + 100).round(2).to_csv(tmp_path / "release" / "participants.tsv", sep="\t", index=False)
        assert list(findings(tmp_path / "release", table)) == []


def test_ids_that_synthetic_participants_have_too_do_not_hide_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "release").mkdir()
    parquet(tmp_path / "release", arrow())
    table = lab(tmp_path, ["sub-000001", "sub-000002", "sub-000777", "sub-0123"])
    put(tmp_path / "release", "README.md", "sub-000001, sub-000002 and 000001")
    assert list(findings(tmp_path / "release", table)) == []
    assert "2 ids are names of synthetic participants too" in caplog.text
    put(tmp_path / "release", "README.md", "sub-000001, sub-000777 and sub-0123")
    found = "\n".join(map(str, findings(tmp_path / "release", table)))
    assert "'sub-000777'" in found
    assert "'sub-0123'" in found
    assert "'sub-000001'" not in found


def test_a_table_cannot_declare_ids_of_the_lab_to_be_synthetic(tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    table = lab(tmp_path)
    pd.DataFrame({"participant_id": LAB, "index": range(len(LAB))}).to_parquet(tmp_path / "release" / "covariates.parquet")
    assert any("'sub-0001'" in str(finding) for finding in findings(tmp_path / "release", table))
