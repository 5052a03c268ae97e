module workloads

go 1.22
