package webhook

import (
	"net/netip"
	"testing"
	"time"

	"portico/core"

	"pgregory.net/rapid"
)

func TestGuard(t *testing.T) {
	g := newGuard([]netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")})
	for address, want := range map[string]bool{
		"93.184.215.14": true, "2606:2800:21f:cb07:6820:80da:af6b:8b2c": true, "10.1.2.3": true, "::ffff:10.1.2.3": true,
		"127.0.0.1": false, "127.255.255.254": false, "0.0.0.0": false, "10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "172.32.0.1": true, "192.168.1.1": false,
		"169.254.169.254": false, "100.64.0.1": false, "100.128.0.1": true, "224.0.0.1": false, "255.255.255.255": false, "192.0.2.1": false, "198.18.0.1": false,
		"::": false, "::1": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd12::1": false, "ff02::1": false, "::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false,
		"::127.0.0.1": false, "64:ff9b::7f00:1": false, "64:ff9b::808:808": false, "2002:7f00:1::": false, "2001::1": false, "fec0::1": false,
	} {
		if got := g.allows(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %t, want %t", address, got, want)
		}
	}
	if g.control("tcp", "no address", nil) == nil || g.control("tcp", "127.0.0.1:80", nil) == nil || g.control("tcp", "8.8.8.8:80", nil) != nil {
		t.Error("control does not ask for the address")
	}
}

func TestFilterMatches(t *testing.T) {
	const body = `{"type":"a","n":7,"big":12345678901234567890,"ok":true,"none":null,"deep":{"list":[{"id":"x"},2]}}`
	for name, c := range map[string]struct {
		path  string
		value any
		want  bool
	}{
		"text": {"type", "a", true}, "other text": {"type", "b", false}, "number": {"n", 7.0, true}, "number as text": {"n", "7", false}, "true": {"ok", true, true},
		"null": {"none", nil, true}, "missing": {"no", nil, false}, "list": {"deep.list.0.id", "x", true}, "list number": {"deep.list.1", 2.0, true}, "behind the list": {"deep.list.2", 2.0, false},
		"through text": {"type.a", "a", false}, "object": {"deep", nil, false}, "negative": {"deep.list.-1", 2.0, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := Filter{JSON: map[string]any{c.path: c.value}}
			if err := f.check(); err != nil {
				t.Fatal(err)
			}
			if got := f.matches(&core.Message{Data: []byte(body)}); got != c.want {
				t.Errorf("%t, want %t", got, c.want)
			}
		})
	}
	f := Filter{JSON: map[string]any{"a": 1.0}}
	for _, data := range []string{"", "{", `{"a":1} x`, `[1]`} {
		if f.matches(&core.Message{Data: []byte(data)}) {
			t.Errorf("%q matches", data)
		}
	}
}

func TestBreaker(t *testing.T) {
	now := time.Now()
	spec := &Spec{PauseAfter: 2, Pause: 1000}
	var b breaker
	fail := func() { b.begin(); b.done(false, spec, now) }
	fail()
	if ok, _ := b.ready(now); !ok {
		t.Error("it opens after one failure")
	}
	fail()
	for _, pause := range []time.Duration{1, 2, 4, 8, 16, 32, 32} {
		ok, at := b.ready(now)
		if ok || at.Sub(now) != pause*time.Second && pause < 32 {
			t.Errorf("open %t until %v, want %d s", !ok, at.Sub(now), pause)
		}
		now = b.until
		if ok, _ := b.ready(now); !ok {
			t.Fatal("it does not let one through")
		}
		b.begin()
		if ok, _ := b.ready(now); ok {
			t.Error("it lets two through")
		}
		b.done(false, spec, now)
	}
	now = b.until
	b.begin()
	b.done(true, spec, now)
	if ok, _ := b.ready(now); !ok || b.open() {
		t.Error("a success does not close it")
	}
}

func TestHoldUntil(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "5": 5 * time.Second, "-5": 0, "x": 0, "100000": maxHold, "99999999999999999999": 0, "9223372036854775807": maxHold,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0, "Fri, 02 Jan 2099 03:04:00 GMT": maxHold,
	} {
		got := holdUntil(text, now)
		if want == 0 && !got.IsZero() || want != 0 && got.Sub(now) != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// TestMemory: whatever the log and the queue say after a crash, each message gets an id, none gets another's, and those that have no outcome keep theirs.
func TestMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hashes := rapid.SliceOfN(rapid.Uint8Range(0, 3), 1, 30).Draw(t, "records") // those of the queue in order; few kinds, so that many are the same
		m := &memory{open: map[hash][]*known{}, ended: map[hash][]string{}, expect: len(hashes)}
		open := map[string]bool{}
		for i, h := range hashes {
			if rapid.Bool().Draw(t, "told") { // the log has it
				id := string(rune('a' + i))
				m.open[hash{h}] = append(m.open[hash{h}], &known{id: id, hash: hash{h}})
				open[id] = true
			}
		}
		last := map[uint8]string{}
		for _, h := range hashes {
			k, _ := m.take(hash{h})
			if k == nil {
				continue
			}
			if !open[k.id] || k.hash != (hash{h}) || last[h] >= k.id {
				t.Fatalf("record %d got %+v", h, k)
			}
			delete(open, k.id)
			last[h] = k.id
		}
		if len(open) > 0 {
			t.Fatalf("nobody got %v", open)
		}
		if k, again := m.take(hash{0}); k != nil || again != "" {
			t.Fatal("a new message got an old id")
		}
	})
}

func TestSeal(t *testing.T) {
	s, err := newSealer(make([]byte, sealKeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	e, payload := entryOf("msg_1", hash{1}, &core.Message{Subject: "a", Header: core.Header{"x": {"y"}, headerID: {"z"}}, Data: []byte("data")}, time.Now(), maxKept)
	sealed, err := s.seal("owner", e, payload)
	if err != nil {
		t.Fatal(err)
	}
	got, data, err := s.open("owner", sealed)
	if err != nil || got.ID != "msg_1" || got.hash() != (hash{1}) || string(data) != "data" || got.Header.Get("x") != "y" || got.Header.Get(headerID) != "" {
		t.Errorf("opened is %+v %q, %v", got, data, err)
	}
	for i := range sealed {
		sealed[i] ^= 1
		if _, _, err := s.open("owner", sealed); err == nil {
			t.Fatalf("changed in octet %d it opens", i)
		}
		sealed[i] ^= 1
	}
	if _, _, err := s.open("other", sealed); err == nil {
		t.Error("another's log has it too")
	}
	proof := s.prove("owner", "msg_1")
	if s.proved("owner", proof) != "msg_1" || s.proved("other", proof) != "" || s.proved("owner", "msg_2"+proof[5:]) != "" || s.proved("owner", "") != "" {
		t.Error("a proof is taken for what it is not")
	}
}

func FuzzDecodeEntry(f *testing.F) {
	e, payload := entryOf("msg_1", hash{1}, &core.Message{Data: []byte("x")}, time.Unix(0, 0), maxKept)
	plain, err := e.encode(payload)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Add([]byte{0x80})
	f.Fuzz(func(t *testing.T, plain []byte) {
		e, payload, err := decodeEntry(plain)
		if err == nil && (e == nil || len(payload) > len(plain)) {
			t.Error("no error, and no entry")
		}
	})
}
