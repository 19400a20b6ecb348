"""Cache the latents of all scans: moments, not samples, so that training draws anew; float16, in the order of the table."""

from pathlib import Path
from typing import Annotated

import torch
import typer

from brainldm.core.config import Inference, read_section
from brainldm.formats.volumes import VolumeSet, chunks
from brainldm.models import autoencoder, checkpoint
from brainldm.models.training import make_fabric


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    covariates: Annotated[Path, typer.Option(help="table of covariates")],
    model: Annotated[Path, typer.Option(help="autoencoder checkpoint")],
    out: Annotated[Path, typer.Option(help="latents to write: mu and sigma [N,C,i,j,k]")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """Encode every scan of the table once."""
    given = read_section(section, "encode")
    scans = VolumeSet(covariates, given.grid)
    fabric = make_fabric(device, given.precision, given.seed)
    network = fabric.setup_module(autoencoder.load(model))
    network.mark_forward_method("encode")
    moments = []
    with torch.inference_mode():
        for chunk in chunks(len(scans), given.own(Inference).batch_size):
            images = torch.from_numpy(scans.batch(chunk)).to(fabric.device)
            moments.append([moment.half().cpu() for moment in network.encode(images)])
    mu, sigma = (torch.cat(parts) for parts in zip(*moments, strict=True))
    checkpoint.save(out, {"mu": mu, "sigma": sigma}, {"kind": "latents", "participant_id": scans.table["participant_id"].tolist()})
