"""The verbs that are no stage, for a person at a prompt: a module each, which nothing imports but the command line."""

COMMANDS: dict[str, str] = {
    "init": "Make a project's folder: configuration, profiles, an empty manifest.",
    "example": "Write a small BIDS dataset of made-up people, to try everything on.",
    "run": "Run the workflow in this folder.",
    "view": "Draw three planes of a scan or of a synthetic row, with labels over it.",
    "status": "Tell what is done, running, failed and missing, with rates and time left.",
    "config": "Check or show a configuration, tell what an edit re-runs, list all settings.",
    "request_key": "Make the secret key from which the random numbers of the requests come; one that is there is kept.",
    "sample": "Make a few volumes for one age, sex, ventricular and brain volume, with the packaged model or any other.",
    "bundle": "Import the published MONAI bundle's weights; export our models as a MONAI bundle.",
    "manifest": "Write a checked manifest of raw scans, from a BIDS dataset or from any table.",
    "fetch_weights": "Fetch weights of others, SynthSeg's say, and check their hashes: for clusters whose nodes have no internet.",
    "get": "Get part of a release, from a folder or over HTTP, by a condition on its table.",
    "score": "Score somebody else's volumes, a folder and a table, with our protocol.",
    "verify": "Verify a release: files, hashes, table, headers; with the weights, make random rows of it again.",
    "leak_check": "Search a folder that will be published for ids, covariates, keys and paths of the training scans.",
    "plan": "Measure for half a minute; then tell hours, disk and jobs of the run that a configuration asks for.",
    "doctor": "Check a configuration, its scans, weights and hardware before days are spent.",
}
