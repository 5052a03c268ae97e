module charttemplate

go 1.22
