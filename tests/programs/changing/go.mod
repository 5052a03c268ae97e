module changing

go 1.22
