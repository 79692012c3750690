package websocket

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestStalledReaderAmongMany: two clients of a crowd never read their sockets while far more is published to them than may wait. The others get every message, in order and in
// time; the gateway's memory stays bounded; and the two are cut. 1,000 clients with E2E=long.
func TestStalledReaderAmongMany(t *testing.T) {
	h := started(t, "--websocket-max-outbound", "4MiB")
	const most = 192 << 20 // growth of the process; what the stalled clients may keep is 4 MiB each and what the kernel buffers
	many, ticks, flood := scaled(100, 1000), scaled(100, 200), scaled(256<<20, 512<<20)
	for _, extra := range []string{"", `,"slow":"drop-oldest","buffer":100`} {
		stalled, err := connect(h.socket())
		if err != nil {
			t.Fatal(err)
		}
		defer stalled.Close()
		for _, subject := range []string{"tick", "flood"} {
			if err := stalled.ask(`{"op":"sub","id":"1","sid":"` + subject + `","subject":"` + subject + `"` + extra + `}`); err != nil {
				t.Fatal(err)
			}
		}
	}
	listeners := make([]*octets, many)
	err := crowd(many, 16, func(i int) (err error) {
		if listeners[i], err = connect(h.socket()); err != nil {
			return err
		}
		return listeners[i].ask(`{"op":"sub","id":"1","sid":"s","subject":"tick"}`)
	})
	if err != nil {
		t.Fatal(err)
	}
	before := h.resident(t, "VmRSS")
	var reading sync.WaitGroup
	var late [][]time.Duration
	var mu sync.Mutex
	for _, w := range listeners {
		reading.Go(func() {
			defer w.Close()
			delays, err := listen(w, ticks)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			late = append(late, delays)
			mu.Unlock()
		})
	}
	var flooding sync.WaitGroup
	var over atomic.Bool
	flooding.Go(func() {
		if err := pour(h.socket(), flood); err != nil {
			t.Error(err)
		}
		over.Store(true)
	})
	if err := tick(h.socket(), ticks, &over); err != nil {
		t.Error(err)
	}
	reading.Wait()
	flooding.Wait()
	all := slices.Sorted(slices.Values(slices.Concat(late...)))
	grown := h.resident(t, "VmHWM") - before
	t.Logf("%d clients, %d messages each while %d MiB went to the stalled: p50 %v, p99 %v, longest %v; memory grew by %d MiB at most", many, ticks, flood>>20,
		all[len(all)/2], all[len(all)*99/100], all[len(all)-1], grown>>20)
	if p99 := all[len(all)*99/100]; p99 > 5*time.Second {
		t.Errorf("p99 is %v: the others wait", p99)
	}
	if grown > most {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	eventually(t, func() error {
		if n := h.metric(t, `portico_connections{door="websocket"}`); n > 0 {
			return fmt.Errorf("%d are still connected", n)
		}
		return nil
	})
}

// tick publishes numbered messages that say when they were sent, as many as asked for, spread over the flood.
func tick(address string, n int, over *atomic.Bool) error {
	w, err := connect(address)
	if err != nil {
		return err
	}
	defer w.Close()
	for i := range n {
		if err := w.ask(fmt.Sprintf(`{"op":"pub","id":"p","subject":"tick","data":"%d %d"}`, i, time.Now().UnixNano())); err != nil {
			return fmt.Errorf("tick %d: %w", i, err)
		}
		if !over.Load() {
			<-time.After(20 * time.Millisecond)
		}
	}
	return nil
}

// listen reads numbered messages and tells how old each was.
func listen(w *octets, n int) (late []time.Duration, err error) {
	if err := w.SetDeadline(time.Now().Add(6 * patience)); err != nil {
		return nil, err
	}
	for len(late) < n {
		f, err := w.next()
		if err != nil {
			return late, fmt.Errorf("after %d of %d messages: %w", len(late), n, err)
		}
		var m struct{ Op, Data string }
		if f.op != opText || json.Unmarshal([]byte(f.text), &m) != nil || m.Op != "msg" {
			continue
		}
		number, sent, _ := strings.Cut(m.Data, " ")
		at, err := strconv.ParseInt(sent, 10, 64)
		if err != nil || number != strconv.Itoa(len(late)) {
			return late, fmt.Errorf("message %q instead of %d", m.Data, len(late))
		}
		late = append(late, time.Since(time.Unix(0, at)))
	}
	return late, nil
}

// pour publishes so many bytes.
func pour(address string, bytes int) error {
	w, err := connect(address)
	if err != nil {
		return err
	}
	defer w.Close()
	if err := w.SetDeadline(time.Now().Add(6 * patience)); err != nil {
		return err
	}
	const each = 64 << 10
	text := `{"op":"pub","id":"p","subject":"flood","data":"` + strings.Repeat("x", each) + `"}`
	for range bytes / each {
		if err := w.ask(text); err != nil {
			return err
		}
	}
	return nil
}

// TestBurstLeavesNothing: connections that are opened, subscribe and are dropped all at once leave no goroutine, no subscription and no connection behind. 10,000 with E2E=long.
func TestBurstLeavesNothing(t *testing.T) {
	h := started(t, "--websocket-max-connections", "20000")
	n := scaled(500, 10_000)
	h.live(t, "burst") // so that what comes with the first request is there
	goroutines := h.metric(t, "go_goroutines")
	for round := range 2 {
		all := make([]*octets, n)
		err := crowd(n, 32, func(i int) (err error) {
			if all[i], err = connect(h.socket()); err != nil {
				return err
			}
			if err := all[i].ask(`{"op":"sub","id":"1","sid":"own","subject":"burst.` + strconv.Itoa(i) + `"}`); err != nil {
				return err
			}
			return all[i].ask(`{"op":"sub","id":"2","sid":"same","subject":"burst"}`)
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := h.metric(t, `portico_connections{door="websocket"}`); got != n || !h.live(t, "burst") || !h.live(t, "burst.7") {
			t.Errorf("%d connections are open, want %d", got, n)
		}
		grown := h.metric(t, "go_goroutines") - goroutines
		began := time.Now()
		_ = crowd(n, 32, func(i int) error { return all[i].Close() })
		eventually(t, func() error {
			http.DefaultClient.CloseIdleConnections()
			left, now := h.metric(t, `portico_connections{door="websocket"}`), h.metric(t, "go_goroutines")
			if left > 0 || now > goroutines+5 || h.live(t, "burst") || h.live(t, "burst.7") {
				return fmt.Errorf("%d connections, %d goroutines instead of %d, subscriptions %v %v", left, now, goroutines, h.live(t, "burst"), h.live(t, "burst.7"))
			}
			return nil
		})
		t.Logf("round %d: %d connections had %d goroutines; all had gone after %v", round+1, n, grown, time.Since(began).Round(time.Millisecond))
	}
}
