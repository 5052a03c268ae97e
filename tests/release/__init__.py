"""What a release consists of. Only the standard library: a runner of CI has no more."""
