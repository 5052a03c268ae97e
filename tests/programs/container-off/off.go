//go:debug containermaxprocs=0

package main
