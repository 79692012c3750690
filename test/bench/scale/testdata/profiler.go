package main

import (
	"net"
	"net/http"
	_ "net/http/pprof" // what this file is for
	"os"
)

// init serves profiles on the socket that SCALE_PROFILE_SOCKET names. This file is in the program only when test/bench/scale builds it to be profiled.
func init() {
	l, err := net.Listen("unix", os.Getenv("SCALE_PROFILE_SOCKET"))
	if err == nil {
		go func() { _ = http.Serve(l, nil) }()
	}
}
