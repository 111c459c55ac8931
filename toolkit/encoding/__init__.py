"""From a query to tensors beside the shards: the unit of work is the shard."""
