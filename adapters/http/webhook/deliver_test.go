package webhook

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/core"
)

func TestDelivery(t *testing.T) {
	s := open(t)
	spec := s.spec()
	spec.Headers, spec.MessageHeaders = map[string]string{"X-Tenant": "7"}, []string{"Color"}
	key := s.put(spec)
	s.publish("orders.new", core.Header{"Content-Type": {"application/json"}, "color": {"red"}, "shape": {"round"}, "traceparent": {"00-1-2-01"}}, `{"item":7}`)
	c := s.receiver.wait(t, 1)[0]
	verify(t, key, c)
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Msg-Color": "red", "Msg-Shape": "", "Traceparent": "00-1-2-01", "X-Tenant": "7", "Portico-Subject": "orders.new", "User-Agent": userAgent,
	} {
		if got := c.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if c.body != `{"item":7}` || !strings.HasPrefix(c.id, "msg_") {
		t.Errorf("body %q, id %q", c.body, c.id)
	}
	s.idle()
	d, err := s.courier.Delivery(t.Context(), s.bus, "hook", c.id)
	if err != nil {
		t.Fatal(err)
	}
	if d.Status != DeliverySucceeded || d.Count != 1 || d.Subject != "orders.new" || d.Size != 10 || !d.Replayable || d.Attempts[0].Status != 200 || d.Attempts[0].Number != 1 {
		t.Errorf("the log has %+v", d)
	}
}

// TestRetries: the id stays, the order too, and the log has every attempt.
func TestRetries(t *testing.T) {
	s := open(t)
	s.receiver.answers(func(n int, w http.ResponseWriter, _ *http.Request) {
		if n <= 2 {
			w.WriteHeader(500)
			fmt.Fprint(w, strings.Repeat("ü", 1000))
		}
	})
	s.put(s.spec())
	s.publish("orders.new", nil, "a", "b", "c")
	calls := s.receiver.wait(t, 5)
	var order []string
	for _, c := range calls {
		order = append(order, c.body)
	}
	if want := []string{"a", "a", "a", "b", "c"}; !slices.Equal(order, want) {
		t.Errorf("the order is %v, want %v", order, want)
	}
	if calls[0].id != calls[1].id || calls[1].id != calls[2].id || calls[2].id == calls[3].id {
		t.Error("the id does not stay with the message")
	}
	s.idle()
	d, err := s.courier.Delivery(t.Context(), s.bus, "hook", calls[0].id)
	if err != nil || len(d.Attempts) != 3 {
		t.Fatal(d, err)
	}
	first := d.Attempts[0]
	if first.Status != 500 || first.Result != Retry || len(first.Response) != maxExcerpt || first.Next.Sub(first.Time) < 9*time.Millisecond {
		t.Errorf("the first attempt is %+v", first)
	}
}

// TestSmallMessages: where the gateway's messages are small the log does without what makes its entries larger than that.
func TestSmallMessages(t *testing.T) {
	for name, c := range map[string]struct {
		most, payload, header int
		replayable            bool
	}{
		"payload": {1 << 10, 1000, 0, false}, "header": {4 << 10, 1000, 3000, false}, "both fit": {4 << 10, 1000, 100, true}, "nothing fits": {130, 100, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, func(cfg *core.Config) { cfg.MaxMessage = c.most })
			s.receiver.answers(func(n int, w http.ResponseWriter, _ *http.Request) {
				if n == 1 {
					w.WriteHeader(500)
					fmt.Fprint(w, strings.Repeat("\x01", maxExcerpt))
				}
			})
			s.put(s.spec())
			s.publish("orders.new", core.Header{"x": {strings.Repeat("x", c.header)}}, strings.Repeat("b", c.payload), "next")
			if calls := s.receiver.wait(t, 3); calls[0].id != calls[1].id || calls[2].body != "next" {
				t.Errorf("the requests are %+v", calls)
			}
			s.idle()
			if name == "nothing fits" {
				return
			}
			eventually(t, "both are logged", func() bool { return len(s.deliveries(DeliverySucceeded)) == 2 })
			if d := s.deliveries("")[0]; d.Replayable != c.replayable || d.Count != 2 {
				t.Errorf("the log has %+v", d)
			}
		})
	}
}

// TestLastAttempt: the message is dead then.
func TestLastAttempt(t *testing.T) {
	for name, dead := range map[string]string{"dead letters": "dead", "without": ""} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			s.receiver.answers(says(404))
			spec := s.spec()
			spec.MaxAttempts, spec.DeadLetterQueue = 2, dead
			if dead != "" {
				if _, _, err := s.bus.DeclareQueue(t.Context(), core.QueueConfig{Name: dead, Durable: true}); err != nil {
					t.Fatal(err)
				}
			}
			s.put(spec)
			s.publish("orders.new", nil, "a")
			s.receiver.wait(t, 2)
			s.idle()
			if all := s.deliveries(DeliveryFailed); len(all) != 1 || all[0].Count != 2 || all[0].Last.Result != Failed || !all[0].Last.Next.IsZero() {
				t.Fatalf("failed are %+v", all)
			}
			if dead == "" {
				return
			}
			q := s.bus.Lookup(dead)
			eventually(t, "the dead letter is there", func() bool { st, err := q.Stats(); return err == nil && st.Ready == 1 })
			d, _, err := q.Get(true, nil)
			if err != nil {
				t.Fatal(err)
			}
			m, err := s.gateway.Message(d.Record)
			if err != nil || string(m.Data) != "a" || m.Header.Get(core.HeaderDeathReason) != "rejected" || m.Header.Get(core.HeaderDeathQueue) != "webhook.hook" {
				t.Errorf("the dead letter is %+v, %v", m, err)
			}
		})
	}
}

// TestOutcomes: what each kind of answer means.
func TestOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(int, http.ResponseWriter, *http.Request)
		result Result
		words  string
	}{
		"204": {says(204), Succeeded, ""},
		"redirect": {func(_ int, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}, Retry, "redirects"},
		"400": {says(400), Retry, ""},
		"410": {says(410), Gone, "no more"},
		"cut": {func(int, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, Retry, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			s.receiver.answers(c.answer)
			spec := s.spec()
			spec.Schedule = []int64{60_000}
			s.put(spec)
			s.publish("orders.new", nil, "a")
			s.receiver.wait(t, 1)
			eventually(t, "it is logged", func() bool { d := s.deliveries(""); return len(d) == 1 && d[0].Count == 1 })
			if a := s.deliveries("")[0].Last; a.Result != c.result || !strings.Contains(a.Error, c.words) {
				t.Errorf("the attempt is %+v", a)
			}
			if n := len(s.receiver.got()); n != 1 {
				t.Errorf("there were %d requests", n)
			}
		})
	}
}

// TestGone: 410 disables the endpoint, the message stays, and enabling sends it again.
func TestGone(t *testing.T) {
	s := open(t)
	s.receiver.answers(says(410))
	s.put(s.spec())
	s.publish("orders.new", nil, "a", "b")
	eventually(t, "it is disabled", func() bool { return s.endpoint().State == Disabled })
	if e := s.endpoint(); !strings.Contains(e.DisabledReason, "410") {
		t.Errorf("the reason is %q", e.DisabledReason)
	}
	if n := len(s.receiver.got()); n != 1 {
		t.Errorf("there were %d requests, want 1", n)
	}
	s.receiver.answers(nil)
	if _, err := s.courier.Enable(t.Context(), s.bus, "hook", true); err != nil {
		t.Fatal(err)
	}
	calls := s.receiver.wait(t, 3)
	if calls[1].id != calls[0].id || calls[1].body != "a" || calls[2].body != "b" {
		t.Errorf("after that came %q, %q", calls[1].body, calls[2].body)
	}
	s.idle()
}

// TestRetryAfter holds the whole endpoint, also one that is not ordered.
func TestRetryAfter(t *testing.T) {
	for name, header := range map[string]func() string{
		"seconds": func() string { return "1" },
		"date":    func() string { return time.Now().Add(2 * time.Second).UTC().Format(http.TimeFormat) },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			s.receiver.answers(func(n int, w http.ResponseWriter, _ *http.Request) {
				if n == 1 {
					w.Header().Set("Retry-After", header())
					w.WriteHeader(429)
				}
			})
			spec := s.spec()
			spec.Ordered, spec.Concurrency = false, 1
			s.put(spec)
			s.publish("orders.new", nil, "a")
			s.receiver.wait(t, 1)
			eventually(t, "it is held", func() bool { return s.endpoint().State == Held })
			s.publish("orders.new", nil, "b")
			calls := s.receiver.wait(t, 3)
			if gap := calls[1].at.Sub(calls[0].at); gap < 500*time.Millisecond {
				t.Errorf("the next request came after %v", gap)
			}
		})
	}
}

// TestStall: a receiver that does not answer in time; others are not held up if the endpoint is not ordered.
func TestStall(t *testing.T) {
	s := open(t)
	s.receiver.answers(func(n int, _ http.ResponseWriter, r *http.Request) {
		if n == 1 {
			<-r.Context().Done()
		}
	})
	spec := s.spec()
	spec.Ordered, spec.Concurrency, spec.Timeout = false, 2, 1000
	s.put(spec)
	s.publish("orders.new", nil, "a", "b", "c")
	calls := s.receiver.wait(t, 4)
	if calls[3].id != calls[0].id {
		t.Error("the last request is not that of the message that had to wait")
	}
	s.idle()
	d, err := s.courier.Delivery(t.Context(), s.bus, "hook", calls[0].id)
	if err != nil || d.Attempts[0].Error != "no answer in time" || d.Attempts[0].Latency < 900 {
		t.Errorf("the log has %+v, %v", d, err)
	}
}

// TestConcurrency: no more than allowed at once, and no message twice at once.
func TestConcurrency(t *testing.T) {
	for name, c := range map[string]struct {
		ordered bool
		most    int
	}{"ordered": {true, 1}, "parallel": {false, 4}} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			under, most := map[string]int{}, 0
			full := make(chan struct{}) // closed when as many are under way as may be
			s.receiver.answers(func(n int, w http.ResponseWriter, r *http.Request) {
				id := r.Header.Get("webhook-id")
				s.receiver.mu.Lock()
				under[id]++
				if under[id] > 1 {
					t.Errorf("%s is attempted twice at once", id)
				}
				if most < c.most && len(under) >= c.most {
					close(full)
				}
				most = max(most, len(under))
				s.receiver.mu.Unlock()
				select {
				case <-full:
				case <-time.After(20 * time.Second):
				}
				<-time.After(time.Millisecond) // a chance for one too many
				s.receiver.mu.Lock()
				delete(under, id)
				s.receiver.mu.Unlock()
				if n%7 == 0 {
					w.WriteHeader(500)
				}
			})
			spec := s.spec()
			spec.Ordered, spec.Concurrency = c.ordered, 4
			s.put(spec)
			for i := range 100 {
				s.publish("orders.new", nil, fmt.Sprint(i))
			}
			s.idle()
			eventually(t, "all are logged", func() bool { return len(s.deliveries(DeliverySucceeded)) == 100 })
			s.receiver.mu.Lock()
			defer s.receiver.mu.Unlock()
			if most != c.most {
				t.Errorf("%d requests were under way at once, want %d", most, c.most)
			}
		})
	}
}

func TestRate(t *testing.T) {
	s := open(t)
	spec := s.spec()
	spec.Rate = 50
	s.put(spec)
	before := time.Now() // not the first call: that may have come late
	s.publish("orders.new", nil, "1", "2", "3", "4", "5", "6")
	calls := s.receiver.wait(t, 6)
	if took := calls[5].at.Sub(before); took < 100*time.Millisecond {
		t.Errorf("six requests took %v, want 100 ms", took)
	}
}

// TestPause: after failures in a row nothing is sent for a while, then one attempt.
func TestPause(t *testing.T) {
	s := open(t)
	s.receiver.answers(func(n int, w http.ResponseWriter, _ *http.Request) {
		if n <= 4 {
			w.WriteHeader(500)
		}
	})
	spec := s.spec()
	spec.Ordered, spec.Concurrency, spec.PauseAfter, spec.Pause, spec.Schedule = false, 1, 3, 300, []int64{1, 1, 1, 1, 1}
	s.put(spec)
	s.publish("orders.new", nil, "1", "2", "3", "4", "5")
	calls := s.receiver.wait(t, 5)
	if gap := calls[3].at.Sub(calls[2].at); gap < 290*time.Millisecond {
		t.Errorf("the probe came after %v, want 300 ms", gap)
	}
	if gap := calls[4].at.Sub(calls[3].at); gap < 590*time.Millisecond {
		t.Errorf("the second probe came after %v, want 600 ms", gap)
	}
	s.idle()
}

func TestFilter(t *testing.T) {
	s := open(t)
	spec := s.spec()
	spec.Filter = Filter{Headers: map[string]string{"color": "red"}, JSON: map[string]any{"data.items.0.id": 7.0}}
	s.put(spec)
	red := core.Header{"color": {"red"}}
	s.publish("orders.new", red, `{"data":{"items":[{"id":8}]}}`)
	s.publish("orders.new", nil, `{"data":{"items":[{"id":7}]}}`)
	s.publish("orders.new", red, `{"data":{"items":[{"id":7}]}}`)
	s.idle()
	if calls := s.receiver.got(); len(calls) != 1 || !strings.Contains(calls[0].body, ":7") {
		t.Errorf("%d requests: %v", len(calls), calls)
	}
}

// TestMetrics: what happened is counted, also when another courier follows on the same gateway.
func TestMetrics(t *testing.T) {
	s := open(t)
	s.receiver.answers(func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			w.WriteHeader(500)
		}
	})
	s.put(s.spec())
	s.publish("orders.new", nil, "a")
	s.idle()
	s.stop()
	s.serve()
	s.publish("orders.new", nil, "b")
	s.idle()
	families, err := s.gateway.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				counted[f.GetName()+" "+l.GetValue()] = m.GetCounter().GetValue()
			}
			if m.GetHistogram() != nil {
				counted[f.GetName()] = float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	for name, want := range map[string]float64{"portico_webhook_attempts_total retry": 1, "portico_webhook_attempts_total succeeded": 2, "portico_webhook_attempt_seconds": 3} {
		if counted[name] != want {
			t.Errorf("%s is %v, want %v", name, counted[name], want)
		}
	}
}
