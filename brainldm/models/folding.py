"""Blocks of voxels folded into channels and back: the same values, a coarser grid."""

import torch


def space_to_depth(volumes: torch.Tensor, fold: int) -> torch.Tensor:
    """[N,C,I,J,K] -> [N,C*fold^3,I/fold,J/fold,K/fold]; the identity for fold 1."""
    n, c, i, j, k = volumes.shape
    blocks = volumes.reshape(n, c, i // fold, fold, j // fold, fold, k // fold, fold)
    return blocks.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, c * fold**3, i // fold, j // fold, k // fold)


def depth_to_space(folded: torch.Tensor, fold: int) -> torch.Tensor:
    """The inverse of `space_to_depth`."""
    n, c, i, j, k = folded.shape
    blocks = folded.reshape(n, c // fold**3, fold, fold, fold, i, j, k).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return blocks.reshape(n, c // fold**3, i * fold, j * fold, k * fold)
