module gotax.dev/demo/service

// Below 1.25 on purpose: from that line on, Go sizes GOMAXPROCS by the cgroup's
// CPU limit by itself, and the story this service tells would not happen.
go 1.21
