module marking

go 1.25
