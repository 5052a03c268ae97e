"""Count stacks in the kernel and drain the counts."""
