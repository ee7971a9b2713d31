"""Housing: what a census says of a district in, the median value of its houses out."""
