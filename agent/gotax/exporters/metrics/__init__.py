"""What is measured, under which name and with which labels; no format, and no library."""
