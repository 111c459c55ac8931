"""From a source's inputs to shards and manifests."""
