package limits_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"portico/core/limits"
)

func enter(t *testing.T, g *limits.Gate, remote string, want error) func() {
	t.Helper()
	release, err := g.Enter(remote)
	if !errors.Is(err, want) {
		t.Fatalf("%s: %v, want %v", remote, err, want)
	}
	return release
}

func TestConnections(t *testing.T) {
	g := limits.New(limits.Config{Connections: 3, ConnectionsAddress: 2}, nil)
	one := enter(t, g, "192.0.2.1:1", nil)
	enter(t, g, "[::ffff:192.0.2.1]:2", nil) // the same
	enter(t, g, "192.0.2.1:3", limits.ErrAddress)
	enter(t, g, "[2001:db8::1]:1", nil)
	enter(t, g, "192.0.2.2:1", limits.ErrFull)
	one()
	one() // counts once
	enter(t, g, "[2001:db8::2]:1", nil)
	enter(t, g, "[2001:db8:0:1::1]:1", limits.ErrFull)
	g.Set(limits.Config{ConnectionsAddress: 2})
	enter(t, g, "[2001:db8::3]:1", limits.ErrAddress) // of the same /64
	enter(t, g, "[2001:db8:0:1::1]:1", nil)
}

func TestUsers(t *testing.T) {
	g := limits.New(limits.Config{ConnectionsUser: 1}, nil)
	release, err := g.Hold("ann")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Hold("ann"); !errors.Is(err, limits.ErrUser) {
		t.Errorf("a second time: %v", err)
	}
	for _, other := range []string{"bob", "", ""} {
		if _, err := g.Hold(other); err != nil {
			t.Errorf("%q: %v", other, err)
		}
	}
	release()
	if _, err := g.Hold("ann"); err != nil {
		t.Errorf("after the first has gone: %v", err)
	}
}

func TestRates(t *testing.T) {
	g := limits.New(limits.Config{ConnectRate: 0.001, MessageRate: 0.001}, nil)
	enter(t, g, "192.0.2.1:1", nil)()
	enter(t, g, "192.0.2.1:2", limits.ErrAddressRate)
	enter(t, g, "192.0.2.2:1", nil)()
	if _, ok := g.Message("ann"); !ok {
		t.Error("the first message is refused")
	}
	if wait, ok := g.Message("ann"); ok || wait != 1000*time.Second {
		t.Errorf("the second message: %v, wait %v", ok, wait)
	}
	if _, ok := g.Message("bob"); !ok {
		t.Error("another's message is refused")
	}
	for i := range 40_000 { // many others do not make it forget who came just now
		if i%1000 == 0 {
			if _, ok := g.Message("ann"); ok {
				t.Fatalf("forgotten after %d others", i)
			}
		}
		g.Message(fmt.Sprint(i))
	}
	g.Set(limits.Config{})
	for range 100 {
		if _, ok := g.Message("ann"); !ok {
			t.Fatal("refused without a limit")
		}
	}
}

func TestListener(t *testing.T) {
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := limits.New(limits.Config{ConnectionsAddress: 1}, nil).Listener(raw, func(c net.Conn, reason error) { fmt.Fprint(c, reason) })
	defer l.Close()
	accepted := make(chan net.Conn, 4)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", raw.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		return c
	}
	dial()
	first := <-accepted
	if got, err := io.ReadAll(dial()); string(got) != limits.ErrAddress.Error() {
		t.Errorf("the second heard %q, %v", got, err)
	}
	first.Close()
	dial()
	(<-accepted).Close()
}

func TestNoGate(t *testing.T) {
	var g *limits.Gate
	enter(t, g, "192.0.2.1:1", nil)()
	if release, err := g.Hold("ann"); err != nil {
		t.Error(err)
	} else {
		release()
	}
	if _, ok := g.Message("ann"); !ok {
		t.Error("refused")
	}
}
