"""What a Go program will get before it runs: from its build info, its image and its manifest."""
