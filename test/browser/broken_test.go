package browser

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"portico/test/gateway"
)

// cutter passes bytes on to a gateway, and cuts each connection after some of them, however a frame is hit.
type cutter struct {
	to       string
	listener net.Listener
	alive    sync.WaitGroup
}

// cut starts a cutter that is gone at the end of the test.
func cut(t *testing.T, to string) *cutter {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{to: to, listener: listener}
	ctx, cancel := context.WithCancel(context.Background())
	c.alive.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			c.alive.Go(func() { c.carry(ctx, near) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		cancel()
		c.alive.Wait()
	})
	return c
}

// carry lets between 2 and 100 KiB pass in each direction; the first that is through ends both.
func (c *cutter) carry(ctx context.Context, near net.Conn) {
	defer near.Close()
	far, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.to)
	if err != nil {
		return
	}
	defer far.Close()
	stop := context.AfterFunc(ctx, func() { near.Close(); far.Close() })
	defer stop()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() {
			_, _ = io.CopyN(way[0], way[1], 2<<10+rand.Int64N(98<<10))
			near.Close()
			far.Close()
		})
	}
	both.Wait()
}

// TestStreamOverBrokenConnections: what is published with ids and what is followed neither doubles nor is lost when connections break at any byte.
func TestStreamOverBrokenConnections(t *testing.T) {
	for place, run := range runners(t) {
		t.Run(place, func(t *testing.T) {
			g := gateway.Run(t, exec.Command(program(t)))
			put(t, g.Doors["HTTP"]+"/v1/streams/broken", `{"subjects":["broken.>"]}`)
			through := cut(t, strings.TrimPrefix(g.Doors["HTTP"], "http://"))
			var got []string
			run(t, "testdata/broken.mjs", &url.URL{Scheme: "ws", Host: through.listener.Addr().String(), Path: "/ws"}, func(line string) { got = append(got, line) })
			same(t, "testdata/broken.mjs", got)
		})
	}
}
