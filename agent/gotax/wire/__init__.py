"""Generated from proto/ by `make proto`, never by hand. Only exporters import it, and late."""
