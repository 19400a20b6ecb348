"""Cache the latents of all scans: moments, not samples, so that training draws anew; float16, in the order of the table."""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.progress import track

from brainldm.core.config import Encode, read_section
from brainldm.core.files import sha256
from brainldm.formats.volumes import VolumeSet, chunks
from brainldm.models import autoencoder, latents
from brainldm.models.training import make_fabric


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    covariates: Annotated[Path, typer.Option(help="table of covariates")],
    model: Annotated[Path, typer.Option(help="autoencoder checkpoint")],
    out: Annotated[Path, typer.Option(help="manifest to write; the files of mu and sigma [N,C,i,j,k] go beside it")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """Encode every scan of the table once. What a run that was killed had finished, from the same scans and weights, stays as it is."""
    given = read_section(section, "encode")
    options, scans = given.own(Encode), VolumeSet(covariates, given.grid)
    fabric = make_fabric(device, given.precision, given.seed)
    network = fabric.setup_module(autoencoder.load(model))
    network.mark_forward_method("encode")
    weights, parts = sha256(model), chunks(len(scans), options.scans_per_file)

    def encoded(part: range) -> tuple[torch.Tensor, torch.Tensor]:
        moments = []
        with torch.inference_mode():
            for chunk in chunks(len(part), options.batch_size):
                images = torch.from_numpy(scans.batch(part[chunk.start : chunk.stop])).to(fabric.device)
                moments.append([moment.half().cpu() for moment in network.encode(images)])
        mu, sigma = (torch.cat(values) for values in zip(*moments, strict=True))
        return mu, sigma

    participants = [[scans.table["participant_id"][index] for index in part] for part in parts]
    for place, part in enumerate(track(parts, "encode")):
        path, made_from = latents.file_of(out, place), latents.fingerprint(given.model_dump(mode="json"), weights, _state_of(scans, part))
        if not latents.is_made_from(path, made_from):
            latents.write_file(path, *encoded(part), participants[place], made_from)
    latents.write_manifest(out, participants)


def _state_of(scans: VolumeSet, part: range) -> list[list[Any]]:
    """Names, sizes and times of scans: a checksum of each would cost a second reading."""
    rows = scans.table.iloc[part.start : part.stop]
    states = [(scans.folder / volume).stat() for volume in rows["volume"]]
    return [[who, state.st_size, state.st_mtime_ns] for who, state in zip(rows["participant_id"], states, strict=True)]
