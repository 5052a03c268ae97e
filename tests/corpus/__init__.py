"""Go binaries of every release, and well-known programs, to check gotax with. docs/corpus.md."""
