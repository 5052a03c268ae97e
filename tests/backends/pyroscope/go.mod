module pyroscope

go 1.26

require (
	connectrpc.com/connect v1.19.2
	github.com/google/pprof v0.0.0-20260709232956-b9395ee17fa0
	github.com/grafana/pyroscope/api v1.6.0
)
