module calling

go 1.25
