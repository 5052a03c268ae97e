"""What Linux says about processes, cgroups, ELF files and the kernel. Knows nothing of Go."""
