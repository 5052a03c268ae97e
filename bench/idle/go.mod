module idle.test/k0000

go 1.21
