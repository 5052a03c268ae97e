module knownwork

go 1.21
