"""brainldm: from raw T1w scans to a public synthetic brain MRI dataset (after Pinaya et al. 2022, arXiv 2209.07162)."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brainldm.model import load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """`load` is imported when it is asked for: `import brainldm` is instant."""
    if name == "load":
        return importlib.import_module("brainldm.model").load
    raise AttributeError(f"module 'brainldm' has no attribute {name!r}")
