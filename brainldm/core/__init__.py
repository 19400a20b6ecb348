"""The nouns of the package: configuration, grid, covariates, rows, errors; no torch, no image I/O."""
