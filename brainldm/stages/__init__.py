"""One module per stage: read files, call the layer below, write files atomically."""
