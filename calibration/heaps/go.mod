module heaps

go 1.22
