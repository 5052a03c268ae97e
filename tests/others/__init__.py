"""Real programs that are not Go, under a small limit: before and after GT020's remedy."""
