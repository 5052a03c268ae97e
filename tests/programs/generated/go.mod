module generated

go 1.21
