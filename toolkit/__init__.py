"""The data engine: raw pictures to shards, manifests, queries and a training stream."""
