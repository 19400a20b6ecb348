"""Croissant 1.0 (JSON-LD): the table and the shards, with a record for every volume."""

from collections.abc import Mapping
from typing import Any

from brainldm.core.columns import MEASURED, REQUESTED, STORED, Column
from brainldm.formats.facts import PAPER, Facts
from brainldm.formats.package import TABLE

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_TYPES = {"int64": "sc:Integer", "float32": "sc:Float", "bool": "sc:Boolean", "string": "sc:Text"}


def croissant(facts: Facts, files: Mapping[str, tuple[str, int]]) -> dict[str, Any]:
    """croissant.json; `files` are SHA-256 and bytes by name, of the table and of every shard where there are shards."""
    shards = [name for name in files if name != TABLE]
    volumes = [] if not shards else [_volumes(shards)]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": facts.name,
        "description": facts.summary,
        "license": facts.license_url,
        "url": facts.own.url or PAPER,
        "version": facts.own.version,
        "datePublished": facts.own.published.isoformat(),
        "creator": [{"@type": "sc:Organization", "name": author} for author in facts.own.authors],
        "citeAs": f"{', '.join(facts.own.authors)} ({facts.own.published.year}). {facts.title}. Version {facts.own.version}.",
        "distribution": [*(_file(name, *found) for name, found in files.items()), *volumes],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "volumes",
                "name": "volumes",
                "description": "One record for every synthetic volume.",
                "field": [_field(column) for column in (*REQUESTED, *MEASURED, *STORED)],
            }
        ],
    }


def _file(name: str, sha256: str, n_bytes: int) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{n_bytes} B",
        "encodingFormat": "application/x-parquet" if name == TABLE else "application/x-tar",
        "sha256": sha256,
    }


def _volumes(shards: list[str]) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": "nifti",
        "name": "nifti",
        "containedIn": [{"@id": name} for name in shards],
        "encodingFormat": "application/gzip",
        "includes": "*/anat/*_T1w.nii.gz",
    }


def _field(column: Column) -> dict[str, Any]:
    unit = f" ({column.unit})" if column.unit else ""
    return {
        "@type": "cr:Field",
        "@id": f"volumes/{column.name}",
        "name": column.name,
        "description": column.description + unit,
        "dataType": _TYPES[column.kind],
        "source": {"fileObject": {"@id": TABLE}, "extract": {"column": column.name}},
    }
