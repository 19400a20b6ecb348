"""Package the synthetic dataset: volumes or shards, tables, metadata, checksums and torrent, in one folder that appears whole."""

import logging
from pathlib import Path
from typing import Annotated

import typer
import yaml

from brainldm import __version__
from brainldm.core import copula
from brainldm.core.config import read_section
from brainldm.core.errors import DataError
from brainldm.core.files import atomic_folder, read_json, sha256, write_json, write_text
from brainldm.core.gate import pass_audit
from brainldm.core.outputs import without_dots
from brainldm.core.publication import Release
from brainldm.formats import bids, cards, citation, html, package
from brainldm.formats.croissant import croissant
from brainldm.formats.earlier_release import check_replaceable
from brainldm.formats.facts import DESCRIBED, Facts
from brainldm.formats.leaks.check import check as check_leaks
from brainldm.formats.packs import read_pack
from brainldm.formats.publishable import figures as publishable_figures
from brainldm.formats.shard_set import check_origin, provenance
from brainldm.formats.tables import write_tsv

Tars = dict[Path, tuple[str, bytes]]


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    pack: Annotated[list[Path], typer.Option(help="manifest of a packed shard; repeat for every shard")],
    report: Annotated[Path, typer.Option(help="report of the evaluation, with its protocol beside it")],
    covariates: Annotated[Path, typer.Option(help="covariates of the training scans; nothing of them may be in the release")],
    covariate_model: Annotated[Path, typer.Option(help="model that requests were drawn from; it is published")],
    out: Annotated[Path, typer.Option(help="checksums to write; the folder they lie in becomes the dataset")],
    latents: Annotated[list[Path] | None, typer.Option(help="latents of a shard, for a release of latents; repeat for every shard")] = None,
    autoencoder: Annotated[Path | None, typer.Option(help="what decodes the latents")] = None,
    sample: Annotated[Path | None, typer.Option(help="checksums of the sample release")] = None,
    key: Annotated[list[Path] | None, typer.Option(help="secret key of the requests; it may not be in the release")] = None,
    manifest: Annotated[Path | None, typer.Option(help="manifest of the raw scans; none of its paths may be in the release")] = None,
    page: Annotated[Path | None, typer.Option(help="public page of the report, which the release carries")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace texts of an earlier release that were edited")] = False,
) -> None:
    """A dataset is built beside its place and swapped in; an earlier release there goes, other files are refused."""
    given, packs, figures = read_section(section, "release"), sorted(pack, key=lambda path: path.stem), read_json(report)
    own = given.own(Release)
    figures = publishable_figures(pass_audit(figures, report, own.despite_audit, own.packaging))
    public = read_public_page(page) if page else None
    model = copula.read(covariate_model)
    if not (protocol := report.with_name(package.PROTOCOL)).is_file():
        raise DataError(f"{protocol}: expected the protocol beside its report, found none; evaluate again")
    n_rows = sum(len(package.read_rows(path)) for path in packs)
    wanted = [(own.name, own.packaging, n_rows, out)]
    if sample:
        wanted.append((f"{own.name}-sample", "files", min(own.sample, n_rows), sample))
    sealed = [read_pack(path) for path in packs]
    check_origin(packs, sealed)
    places = [without_dots(place.parent) for *_, place in wanted]
    for place in places:
        check_replaceable(place, overwrite)
    for (name, packaging, n_wanted, _), place in zip(wanted, places, strict=True):
        with atomic_folder(place) as folder:
            tars = package.link_tars(folder, packs) if packaging == "tars" else {}
            if packaging == "latents" and autoencoder:
                package.link_latents(folder, packs, latents or [], autoencoder)
            elif not tars:
                package.write_volumes(folder, packs, n_wanted)
            table = package.write_table(folder, packs, n_wanted, packaging)
            facts = Facts(own, name, packaging, given.grid, table, figures, provenance(sealed), model, __version__)
            _write_texts(folder, facts, tars, protocol, public)
            infohash = package.seal(folder, name, sealed[0]["piece_length"], own.web_seeds, tars)
            check_leaks(folder, covariates, key or (), manifest)
            check_replaceable(place, overwrite, folder)
        logging.info("%s: %d volumes, infohash %s", place, len(table), infohash)


def read_public_page(path: Path) -> str:
    """Return the text of a report that may be published; DataError for a private one, which holds real scans, and for any other file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path} ({error}). Run the stage report again; it writes {package.PAGE}.") from None
    if html.kind_of(text) != "public":
        raise DataError(f"Cannot release {path}: it is not a public page of the report. Pass results/{package.PAGE} as --page.")
    return text


def _write_texts(folder: Path, facts: Facts, tars: Tars, protocol: Path, public: str | None) -> None:
    """Everything about the volumes; the same facts for people, BIDS, citations and catalogues."""
    if public:
        write_text(folder / package.PAGE, public)
    for name, text in {
        "README.md": cards.readme(facts, has_page=public is not None),
        "DATASHEET.md": cards.datasheet(facts),
        "LICENSE": cards.licence(facts),
        "CHANGES": bids.changes(facts),
        "CITATION.cff": yaml.safe_dump(citation.cff(facts), sort_keys=False, allow_unicode=True),
        bids.IGNORED: bids.NOT_BIDS,
        package.PROTOCOL: protocol.read_text(encoding="utf-8"),
    }.items():
        write_text(folder / name, text)
    write_json(folder / "dataset_description.json", bids.dataset_description(facts))
    write_json(folder / "provenance.json", facts.provenance)
    write_json(folder / package.COVARIATE_MODEL, facts.covariate_model.model_dump(mode="json"))
    write_json(folder / "T1w.json", bids.volume_sidecar(facts))
    write_tsv(folder / "participants.tsv", bids.participants_table(facts.table, DESCRIBED))
    write_json(folder / "participants.json", bids.participants_sidecar(DESCRIBED))
    described = {folder / package.TABLE: sha256(folder / package.TABLE), **{tar: digest for tar, (digest, _) in tars.items()}}
    files = {path.relative_to(folder).as_posix(): (digest, path.stat().st_size) for path, digest in described.items()}
    write_json(folder / "croissant.json", croissant(facts, files))
    n_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    write_json(folder / "datacite.json", citation.datacite(facts, n_bytes))
