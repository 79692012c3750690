package websocket

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"
)

// cable is a connection that breaks behind so many bytes.
type cable struct {
	net.Conn
	left int
	got  []byte
}

// Write implements net.Conn.
func (c *cable) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.got, c.left = append(c.got, p[:n]...), c.left-n
	if n < len(p) {
		return n, errors.New("broken")
	}
	return n, nil
}

// SetWriteDeadline implements net.Conn.
func (c *cable) SetWriteDeadline(time.Time) error { return nil }

// Close implements net.Conn.
func (c *cable) Close() error { return nil }

// TestNothingIsLeftForTheNextWriter: whatever a client speaks, and wherever the connection of the one before it broke, it is sent exactly what it would have been sent alone. Writers take turns with the
// same buffers.
func TestNothingIsLeftForTheNextWriter(t *testing.T) {
	g := coretest.Start(t)
	door, err := New(Config{}, g, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	type way struct {
		wire    wire
		batches bool
		deflate bool
	}
	ways := []way{{jsonWire{}, false, false}, {jsonWire{}, true, false}, {jsonWire{}, true, true}, {door.binary, false, false}, {door.binary, true, false}}
	news := &core.Message{Subject: "news", Header: core.Header{"k": {"v"}}, Data: []byte("for all")} // what is the same for all is encoded once
	var large []item
	for i := range 12 { // several flushes, of which any may fail while something gathers
		m := &core.Message{Subject: "theirs", Data: []byte(strings.Repeat(fmt.Sprintf("secret %d ", i), 2500))}
		large = append(large, item{kind: itemMsg, name: "their-sid", message: m, shared: &shared{message: m, weight: weight(m)}})
	}
	write := func(w way, left int, items ...item) []byte {
		c := newConn(door, httptest.NewRequest(http.MethodGet, "/ws", nil), nil)
		defer c.cancel()
		wired := &cable{left: left}
		c.attach(wired)
		c.wire, c.deflate = w.wire, w.deflate
		c.batches.Store(w.batches)
		c.out.Push(items...)
		c.write()
		return wired.got
	}
	own := []item{
		{kind: itemAnswer, answer: &answer{Op: "ok", ID: "1"}},
		{kind: itemMsg, name: "own-sid", message: news, shared: door.shares.of(news)},
		{kind: itemStored, name: "own-kept", message: news, stored: &core.StoredMessage{Message: *news, Sequence: 7}, source: &source{tenant: "/", stream: "S"}},
	}
	const all = 1 << 30
	for _, before := range ways {
		whole := len(write(before, all, large...))
		for _, after := range ways {
			want := write(after, all, own...)
			if bytes.Contains(want, []byte("secret")) || !bytes.Contains(want, []byte("own-sid")) && !after.deflate {
				t.Fatalf("%q", want)
			}
			for left := 0; left < whole; left += 1 + whole/40 {
				write(before, left, append(large[:len(large):len(large)], item{kind: itemMsg, name: "their-sid", message: news, shared: door.shares.of(news)})...)
				if got := write(after, all, own...); !bytes.Equal(got, want) {
					t.Fatalf("%+v after %+v was cut at byte %d: sent %d bytes %.200q, alone %d", after, before, left, len(got), got, len(want))
				}
			}
		}
	}
}
