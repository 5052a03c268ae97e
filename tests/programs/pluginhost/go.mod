module pluginhost

go 1.21
