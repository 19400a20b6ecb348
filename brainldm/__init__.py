"""brainldm: from raw T1w scans to a public synthetic brain MRI dataset (after Pinaya et al. 2022, arXiv 2209.07162)."""

__version__ = "0.1.0"
