module automaxprocs

go 1.21

require go.uber.org/automaxprocs v1.5.1
