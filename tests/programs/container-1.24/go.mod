module container

go 1.24
