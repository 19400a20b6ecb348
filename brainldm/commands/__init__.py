"""The verbs that are no stage, for a person at a prompt: a module each, which nothing imports but the command line."""

COMMANDS: dict[str, str] = {
    "bundle": "Import the published MONAI bundle's weights; export our models as a MONAI bundle.",
    "manifest": "Write a checked manifest of raw scans, from a BIDS dataset or from any table.",
    "get": "Get part of a release, from a folder or over HTTP, by a condition on its table.",
    "verify": "Verify a release: files, hashes, table, headers; with the weights, make random rows of it again.",
    "doctor": "Check a configuration, its scans, weights and hardware before days are spent.",
}
