package core

import (
	"context"
	"strings"
	"time"
)

// SweepObjects removes chunks without an object that are older than age.
func (g *Gateway) SweepObjects(ctx context.Context, age time.Duration) {
	g.tenant.streams.sweep(ctx, age)
}

// HiddenAddr is where the embedded server listens although the NATS door is closed.
func (g *Gateway) HiddenAddr() string { return g.server.Addr().String() }

// FailStore tells the gateway that its store has failed.
func (g *Gateway) FailStore(err error) { g.storeFailed(err) }

// CutLinks ends the in-process connections behind the gateway's back, as the server does when it is not read from.
func (g *Gateway) CutLinks() {
	for _, l := range []*link{g.tenant.live, g.tenant.doors, g.tenant.natives} {
		l.mu.Lock()
		conn := l.conn
		l.mu.Unlock()
		if conn != nil {
			conn.Close()
		}
	}
}

// CutStreams ends the connection to the streams behind the gateway's back.
func (g *Gateway) CutStreams() {
	if err := g.tenant.streams.nc.ForceReconnect(); err != nil {
		panic(err)
	}
}

// ServerQueues are the names of the embedded server's internal queues that belong to streams of queue logs; ok is false when the server keeps them otherwise.
func (g *Gateway) ServerQueues() (names []string, ok bool) {
	list := g.server.serverQueues()
	if list == nil {
		return nil, false
	}
	list.Range(func(name, _ any) bool {
		if text, _ := name.(string); strings.Contains(text, "stream 'Q_") {
			names = append(names, text)
		}
		return true
	})
	return names, true
}
