module unwinding

go 1.21
