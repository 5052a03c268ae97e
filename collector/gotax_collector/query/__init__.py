"""Questions of a fleet, and their answers as plain values."""
