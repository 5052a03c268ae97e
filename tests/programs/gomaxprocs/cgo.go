//go:build cgo
// +build cgo

package main

import "C" // so that the program is linked by the C toolchain
