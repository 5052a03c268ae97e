module library

go 1.21
