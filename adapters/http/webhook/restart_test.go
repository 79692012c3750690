package webhook

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"
)

// TestRestart: after a stop in the middle of everything each message goes on under its id, with the attempts it had, not before its time, and also among others with the same bytes.
func TestRestart(t *testing.T) {
	for name, ordered := range map[string]bool{"ordered": true, "parallel": false} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			s.receiver.answers(says(500))
			spec := s.spec()
			spec.Ordered, spec.Concurrency, spec.Schedule, spec.MaxAttempts = ordered, 3, []int64{600}, 9
			s.put(spec)
			s.publish("orders.new", nil, "same", "other", "same", "same")
			waiting := 4
			if ordered {
				waiting = 1
			}
			eventually(t, "they wait", func() bool { return s.endpoint().Waiting == waiting })
			before := s.receiver.got()
			s.stop()
			s.receiver.answers(nil)
			s.serve()
			s.idle()
			ids := map[string][]string{}
			for i, c := range s.receiver.got() {
				ids[c.body] = append(ids[c.body], c.id)
				if i >= len(before) && slices.ContainsFunc(before, func(b call) bool { return b.id == c.id && c.at.Sub(b.at) < 500*time.Millisecond }) {
					t.Errorf("%s was sent before its time", c.id)
				}
			}
			for body, n := range map[string]int{"same": 3, "other": 1} {
				slices.Sort(ids[body])
				if got := len(slices.Compact(ids[body])); got != n {
					t.Errorf("%d messages %q have %d ids", n, body, got)
				}
			}
			all := s.deliveries(DeliverySucceeded)
			if len(all) != 4 {
				t.Fatalf("%d have succeeded, want 4", len(all))
			}
			if all[0].Count != 2 || all[0].Last.Number != 2 {
				t.Errorf("the first has %+v", all[0])
			}
		})
	}
}

// TestRestartWithNewMessages: those that were published while nobody delivered are new, also if an earlier one looked the same.
func TestRestartWithNewMessages(t *testing.T) {
	s := open(t)
	s.put(s.spec())
	s.publish("orders.new", nil, "a")
	s.idle()
	eventually(t, "it is logged", func() bool { return len(s.deliveries(DeliverySucceeded)) == 1 })
	s.stop()
	s.publish("orders.new", nil, "a", "c")
	s.serve()
	s.idle()
	calls := s.receiver.got()
	if len(calls) != 3 || calls[1].body != "a" || calls[2].body != "c" || calls[0].id == calls[1].id || calls[1].id == calls[2].id {
		t.Errorf("%d requests: %+v", len(calls), calls)
	}
}

// TestHoldSurvivesRestart: what the receiver asked for counts on.
func TestHoldSurvivesRestart(t *testing.T) {
	s := open(t)
	s.receiver.answers(func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(503)
	})
	s.put(s.spec())
	s.publish("orders.new", nil, "a", "b")
	eventually(t, "it is held", func() bool { return s.endpoint().State == Held })
	s.stop()
	s.serve()
	eventually(t, "it is held again", func() bool { return s.endpoint().State == Held })
	if n := len(s.receiver.got()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// TestGatewayRestart: definitions, secrets and queues are there again.
func TestGatewayRestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, coretest.DataDir(dir))
	key := s.put(s.spec())
	if _, err := s.courier.Enable(t.Context(), s.bus, "hook", false); err != nil {
		t.Fatal(err)
	}
	s.publish("orders.new", nil, "a")
	s.stop()
	if err := s.gateway.Close(); err != nil {
		t.Fatal(err)
	}
	s.gateway = coretest.Start(t, coretest.DataDir(dir))
	s.bus = s.gateway.System()
	s.serve()
	if e := s.endpoint(); e.State != Disabled || e.DisabledReason != "by a user" || e.Ready != 1 {
		t.Errorf("it is %+v", e)
	}
	if _, err := s.courier.Enable(t.Context(), s.bus, "hook", true); err != nil {
		t.Fatal(err)
	}
	verify(t, key, s.receiver.wait(t, 1)[0])
}

// TestDrain: a request that is under way when the gateway stops may end; its message is not sent again.
func TestDrain(t *testing.T) {
	s := open(t)
	arrived, answer := make(chan struct{}), make(chan struct{})
	s.receiver.answers(func(n int, _ http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			close(arrived)
			<-answer
		}
	})
	s.put(s.spec())
	s.publish("orders.new", nil, "a", "b")
	<-arrived
	time.AfterFunc(100*time.Millisecond, func() { close(answer) })
	s.stop()
	if n := len(s.receiver.got()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	s.serve()
	calls := s.receiver.wait(t, 2)
	if calls[1].body != "b" {
		t.Errorf("%q was sent again", calls[1].body)
	}
	s.idle()
}

// TestCut: a request that does not end within the drain timeout is cut, and counts as none.
func TestCut(t *testing.T) {
	s := open(t, func(c *core.Config) { c.DrainTimeout = 50 * time.Millisecond })
	s.receiver.answers(func(n int, _ http.ResponseWriter, r *http.Request) {
		if n == 1 {
			<-r.Context().Done()
		}
	})
	s.put(s.spec())
	s.publish("orders.new", nil, "a")
	first := s.receiver.wait(t, 1)[0]
	s.stop()
	s.serve()
	if again := s.receiver.wait(t, 2)[1]; again.id != first.id {
		t.Errorf("it came as %s, and then as %s", first.id, again.id)
	}
	s.idle()
	eventually(t, "it is logged", func() bool { return len(s.deliveries(DeliverySucceeded)) == 1 })
	if d := s.deliveries("")[0]; d.Count != 1 {
		t.Errorf("it has %d attempts, want 1", d.Count)
	}
}

// TestWaitingIsBounded: above the bound nothing is taken from the queue; what waits does not use up the concurrency.
func TestWaitingIsBounded(t *testing.T) {
	s := open(t)
	s.receiver.answers(says(500))
	spec := s.spec()
	spec.Ordered, spec.Concurrency, spec.Schedule, spec.MaxAttempts = false, 4, []int64{3_600_000}, 2
	s.put(spec)
	for i := range maxWaiting + 200 {
		s.bus.PublishAsync(&core.Message{Subject: "orders.new", Data: fmt.Append(nil, i)}, func(_ core.Receipt, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "the bound is reached", func() bool { return s.endpoint().Waiting >= maxWaiting })
	if e := s.endpoint(); e.Waiting > maxWaiting+spec.Concurrency {
		t.Errorf("%d wait, want at most %d", e.Waiting, maxWaiting+spec.Concurrency)
	}
	s.receiver.answers(nil)
	d := s.deliveries(Pending)
	if _, err := s.courier.Retry(t.Context(), s.bus, "hook", d[0].ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the one that was asked for is delivered", func() bool { return len(s.deliveries(DeliverySucceeded)) >= 1 })
}

// TestCarry: what waits is still known when the log has been written over.
func TestCarry(t *testing.T) {
	s := open(t)
	s.courier.limit = 512 << 10
	s.receiver.answers(func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("portico-subject") == "orders.bad" {
			w.WriteHeader(500)
		}
	})
	spec := s.spec()
	spec.Ordered, spec.Schedule = false, []int64{3_600_000}
	s.put(spec)
	s.publish("orders.bad", nil, "bad")
	eventually(t, "it waits", func() bool { return s.endpoint().Waiting == 1 })
	id := s.deliveries(Pending)[0].ID
	filler := strings.Repeat("x", 4<<10)
	for range 400 {
		s.publish("orders.good", nil, filler)
	}
	eventually(t, "the others are delivered", func() bool { return len(s.receiver.got()) == 401 })
	if n := len(s.deliveries(DeliverySucceeded)); n > 200 {
		t.Fatalf("the log has %d deliveries: it was not written over", n)
	}
	s.stop()
	s.serve()
	eventually(t, "it waits again", func() bool { return s.endpoint().Waiting == 1 })
	d, err := s.courier.Retry(t.Context(), s.bus, "hook", id)
	if err != nil || d.Count != 1 {
		t.Fatal(d, err)
	}
	if calls := s.receiver.wait(t, 402); calls[401].id != id {
		t.Errorf("it came as %s, and then as %s", id, calls[401].id)
	}
}
