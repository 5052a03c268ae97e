module container

go 1.25
