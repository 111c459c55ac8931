"""From selections to batches: order, range reads, decoding. torch is allowed from here on."""
