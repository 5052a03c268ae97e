module gotax.example/load

go 1.21
