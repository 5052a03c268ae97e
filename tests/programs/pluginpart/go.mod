module pluginpart

go 1.21
