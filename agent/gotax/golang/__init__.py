"""What a Go binary and a Go process say of themselves, read from outside."""
