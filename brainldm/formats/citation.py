"""How a release is cited and catalogued: CITATION.cff 1.2.0, and DataCite's schema 4.5 as JSON."""

from typing import Any

from brainldm.formats.facts import PAPER, Facts

KEYWORDS = ["brain MRI", "synthetic data", "latent diffusion", "T1-weighted", "neuroimaging"]


def cff(facts: Facts) -> dict[str, Any]:
    """CITATION.cff, of a dataset; its authors are named as a whole, so that people and institutions are treated alike."""
    own = facts.own
    given = {"doi": own.doi, "url": own.url}
    return {
        "cff-version": "1.2.0",
        "message": "If you use this dataset, please cite it.",
        "type": "dataset",
        "title": facts.title,
        "abstract": facts.summary,
        "version": own.version,
        "date-released": own.published.isoformat(),
        "license": own.license,
        "authors": [{"name": author} for author in own.authors],
        "keywords": KEYWORDS,
        "references": [_paper()],
        **{key: value for key, value in given.items() if value},
    }


def _paper() -> dict[str, Any]:
    return {
        "type": "conference-paper",
        "title": "Brain Imaging Generation with Latent Diffusion Models",
        "authors": [{"family-names": "Pinaya", "given-names": "Walter H. L."}, {"name": "others"}],
        "doi": PAPER.removeprefix("https://doi.org/"),
        "year": 2022,
    }


def datacite(facts: Facts, n_bytes: int) -> dict[str, Any]:
    """datacite.json; `n_bytes` is the size of all files."""
    own = facts.own
    given = {"doi": own.doi, "url": own.url}
    return {
        "schemaVersion": "http://datacite.org/schema/kernel-4",
        "types": {"resourceTypeGeneral": "Dataset", "resourceType": "Synthetic brain MRI"},
        "titles": [{"title": facts.title}],
        "creators": [{"name": author} for author in own.authors],
        "publisher": {"name": own.authors[0]},
        "publicationYear": str(own.published.year),
        "version": own.version,
        "dates": [{"date": own.published.isoformat(), "dateType": "Issued"}],
        "subjects": [{"subject": word} for word in KEYWORDS],
        "language": "en",
        "sizes": [f"{len(facts.table)} volumes", f"{n_bytes} bytes"],
        "formats": ["NIfTI-1", "Parquet"],
        "rightsList": [{"rights": own.license, "rightsUri": facts.license_url, "rightsIdentifier": own.license}],
        "descriptions": [{"description": facts.summary, "descriptionType": "Abstract"}],
        "relatedIdentifiers": [
            {
                "relatedIdentifier": PAPER.removeprefix("https://doi.org/"),
                "relatedIdentifierType": "DOI",
                "relationType": "IsDocumentedBy",
            }
        ],
        **{key: value for key, value in given.items() if value},
    }
