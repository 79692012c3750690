package core

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// nodes returns how to begin a node: they hear each other over one server.
func nodes(t *testing.T) func(name string) *presence {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server does not start")
	}
	return func(name string) *presence {
		t.Helper()
		nc, err := nats.Connect("", nats.InProcessServer(s))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		p, err := openPresence(nc, name, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.close)
		if err := nc.FlushTimeout(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		return p
	}
}

func (p *presence) here(client string) *attendee {
	return &attendee{Member: Member{Client: client, Info: json.RawMessage(`{"x":"` + strings.Repeat("x", 500) + `"}`), Since: time.Now().UTC()}, node: p.node}
}

// seen waits until a node sees just these clients in a room.
func (p *presence) seen(t *testing.T, room string, clients ...string) {
	t.Helper()
	slices.Sort(clients)
	deadline := time.Now().Add(20 * time.Second)
	for {
		p.mu.Lock()
		members, _ := p.list(room, maxPresent)
		p.mu.Unlock()
		var have []string
		for _, m := range members {
			have = append(have, m.Client)
		}
		slices.Sort(have)
		if slices.Equal(have, clients) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("node %s sees %d of %d in %s", p.node, len(have), len(clients), room)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// events is what a watcher heard.
type events struct {
	mu  sync.Mutex
	all []string
}

func (e *events) add(v PresenceEvent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, fmt.Sprintf("%s %v", v.Member.Client, v.Joined))
}

func (e *events) are(t *testing.T, want ...string) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Equal(e.all, want) {
		t.Errorf("heard %v, want %v", e.all, want)
	}
}

func TestPresenceOfNodes(t *testing.T) {
	begin := nodes(t)
	a := begin("a")
	heard := &events{}
	a.mu.Lock()
	a.room("t r").watchers[&presenceWatch{heard.add}] = struct{}{}
	a.mu.Unlock()
	if err := a.join("t r", a.here("one")); err != nil {
		t.Fatal(err)
	}
	b := begin("b") // which has to ask who is there
	b.seen(t, "t r", "one")
	if err := b.join("t r", b.here("two")); err != nil {
		t.Fatal(err)
	}
	a.seen(t, "t r", "one", "two")
	b.leave("t r", "two")
	a.seen(t, "t r", "one")
	a.leave("t r", "two") // not its own
	heard.are(t, "one true", "two true", "two false")
	a.leave("t r", "one")
	b.seen(t, "t r")
}

// TestPresenceOfManyOnANode: everything that a node has comes in more than one note.
func TestPresenceOfManyOnANode(t *testing.T) {
	begin := nodes(t)
	a := begin("a")
	var clients []string
	for i := range 1500 {
		clients = append(clients, fmt.Sprintf("c%04d", i))
		if err := a.join("t r", a.here(clients[i])); err != nil {
			t.Fatal(err)
		}
	}
	b := begin("b")
	b.seen(t, "t r", clients...)
	a.close()
	b.seen(t, "t r")
}

// TestMissedNote: a node that has missed a note finds it by the next, or by a beat, and asks.
func TestMissedNote(t *testing.T) {
	begin := nodes(t)
	a, b := begin("a"), begin("b")
	miss := func(room, client string) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.own++
		a.add(room, a.here(client))
		a.said++ // and not sent
	}
	miss("t r", "lost")
	if err := a.join("t r", a.here("next")); err != nil {
		t.Fatal(err)
	}
	b.seen(t, "t r", "lost", "next")

	b.mu.Lock()
	b.nodes["a"].asked = time.Time{}
	b.mu.Unlock()
	miss("t s", "quiet")
	a.tick(time.Now())
	b.seen(t, "t s", "quiet")
}

// TestSilentNode: who was present on a node that says nothing any more has left.
func TestSilentNode(t *testing.T) {
	begin := nodes(t)
	a, b := begin("a"), begin("b")
	if err := a.join("t r", a.here("one")); err != nil {
		t.Fatal(err)
	}
	b.seen(t, "t r", "one")
	b.tick(time.Now().Add(presencePatient - presenceBeat))
	b.seen(t, "t r", "one")
	b.tick(time.Now().Add(presencePatient + presenceBeat))
	b.seen(t, "t r")
	if err := a.join("t r", a.here("two")); err != nil { // it was only slow
		t.Fatal(err)
	}
	b.seen(t, "t r", "one", "two")
}

func TestNonsenseAmongNotes(t *testing.T) {
	begin := nodes(t)
	a := begin("a")
	for _, note := range []string{``, `{}`, `null`, `{"node":"x","full":true}`, `{"node":"x","n":9,"leaves":[{"room":"t r","member":{"client":"y"}}]}`, `{"node":"x","beat":true,"n":3}`, `{"node":"a","bye":true}`} {
		a.hear([]byte(note))
	}
	a.seen(t, "t r")
}
