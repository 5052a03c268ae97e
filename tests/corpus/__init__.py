"""Go binaries of every release, and well-known programs: what gotax is held to. docs/corpus.md."""
