"""What a training can be told: typed options, sizes, what would have no effect, and the request that follows."""
