module charttemplate

go 1.21
