module plugin

go 1.21
