"""From a plan to packed targets: made one by one, looked at, staged, packed in the plan's order."""
