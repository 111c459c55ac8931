"""What lies on disk: shards, manifests, pictures, sidecars, and queries over them."""
