module findings

go 1.22
