"""Guests: gotax on other kernels, more CPUs and arm64, under QEMU's emulation. See README.md."""
