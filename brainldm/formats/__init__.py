"""Files on disk: NIfTI, manifests, shards, tables, BIDS, torrents, figures."""
