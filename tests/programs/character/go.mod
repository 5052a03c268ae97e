module character

go 1.21
