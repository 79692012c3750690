package websocket

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	payload  = 128 // bytes of a message
	inFlight = 16  // messages that may be on their way at once when it is measured how many there can be
)

// audience are subscribers of one channel.
type audience struct {
	clients   []*client
	reading   sync.WaitGroup
	delivered atomic.Int64
	arrived   chan struct{} // capacity 1: delivered has grown
	failed    atomic.Pointer[error]
	closing   atomic.Bool
	late      [1 << 16]atomic.Int64 // deliveries by how long they took, in steps of lateStep
}

const lateStep = 50 * time.Microsecond

func gather(t *testing.T, s *server, n int) *audience {
	t.Helper()
	a := &audience{clients: make([]*client, n), arrived: make(chan struct{}, 1)}
	t.Cleanup(a.leave)
	for i := range a.clients {
		c, err := s.dial("", "news")
		if err != nil {
			t.Fatalf("subscriber %d: %v", i, err)
		}
		a.clients[i] = c
		a.reading.Go(func() { a.read(c) })
	}
	return a
}

func (a *audience) leave() {
	a.closing.Store(true)
	for _, c := range a.clients {
		if c != nil {
			c.Close()
		}
	}
	a.reading.Wait()
}

func (a *audience) read(c *client) {
	for {
		text, err := c.next()
		if err != nil {
			if !a.closing.Load() {
				a.failed.CompareAndSwap(nil, &err)
			}
			return
		}
		now, n := time.Now().UnixNano(), int64(0)
		stamps(text, func(at int64) {
			n++
			step := min(max((now-at)/int64(lateStep), 0), int64(len(a.late)-1))
			a.late[step].Add(1)
		})
		if n > 0 {
			a.delivered.Add(n)
			select {
			case a.arrived <- struct{}{}:
			default:
			}
		}
	}
}

// percentile is how long that share of deliveries took at most.
func (a *audience) percentile(share float64) time.Duration {
	var all int64
	for i := range a.late {
		all += a.late[i].Load()
	}
	left := int64(math.Ceil(float64(all) * share))
	for i := range a.late {
		if left -= a.late[i].Load(); left <= 0 {
			return time.Duration(i+1) * lateStep
		}
	}
	return math.MaxInt64
}

func (a *audience) forget() {
	for i := range a.late {
		a.late[i].Store(0)
	}
}

func (a *audience) err() error {
	if e := a.failed.Load(); e != nil {
		return *e
	}
	return nil
}

// publisher publishes on the channel, and passes over the answers.
type publisher struct {
	*client
	channel string
	n       int
	done    sync.WaitGroup
}

func publish(t *testing.T, s *server) *publisher {
	t.Helper()
	c, err := s.dial("", "")
	if err != nil {
		t.Fatal(err)
	}
	p := &publisher{client: c, channel: "news", n: 10}
	p.done.Go(func() {
		for {
			if _, err := c.next(); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { c.Close(); p.done.Wait() })
	return p
}

func (p *publisher) send() error {
	p.n++
	data := stamp()
	return p.say(p.speaks.pub(p.n, p.channel, data+strings.Repeat("x", payload-len(data))))
}

// most publishes as fast as is delivered, for so long, and returns the deliveries a second.
func (a *audience) most(p *publisher, d time.Duration) (float64, error) {
	began, first := time.Now(), a.delivered.Load()
	for sent := int64(0); time.Since(began) < d; sent++ {
		if err := a.wait(first + (sent-inFlight+1)*int64(len(a.clients))); err != nil {
			return 0, err
		}
		if err := p.send(); err != nil {
			return 0, err
		}
	}
	return float64(a.delivered.Load()-first) / time.Since(began).Seconds(), nil
}

// wait waits for so many deliveries.
func (a *audience) wait(n int64) error {
	slow := time.NewTimer(patience)
	defer slow.Stop()
	for a.delivered.Load() < n {
		if err := a.err(); err != nil {
			return err
		}
		select {
		case <-a.arrived:
		case <-slow.C:
			return fmt.Errorf("%d of %d deliveries after %v", a.delivered.Load(), n, patience)
		}
	}
	return nil
}

// steady publishes at a rate, for so long.
func (a *audience) steady(p *publisher, rate float64, d time.Duration) error {
	first, began, sent := a.delivered.Load(), time.Now(), 0
	for ; ; sent++ {
		due := began.Add(time.Duration(float64(sent) / rate * float64(time.Second)))
		if due.Sub(began) >= d {
			break
		}
		time.Sleep(time.Until(due))
		if err := p.send(); err != nil {
			return err
		}
	}
	return a.wait(first + int64(sent*len(a.clients)))
}

// TestFanOut: deliveries a second from one publisher to many, and how long a delivery takes at half the rate of the slowest server, in three rounds.
func TestFanOut(t *testing.T) {
	d, quick := load(t)
	n := sized(t, "WSSUBSCRIBERS", 50, 1000)
	slowest := math.Inf(1)
	servers(t, func(t *testing.T, s *server) {
		a, p := gather(t, s, n), publish(t, s)
		if _, err := a.most(p, d/4); err != nil { // warm
			t.Fatal(err)
		}
		best := 0.0
		for range sized(t, "WSROUNDS", 1, 3) {
			busy, before := s.busy(t), a.delivered.Load()
			rate, err := a.most(p, d)
			if err != nil {
				t.Fatal(err)
			}
			cost := float64(s.busy(t)-busy) / float64(a.delivered.Load()-before) / 1e3
			tell(t, s, fmt.Sprintf("deliveries a second to %d subscribers", n), fmt.Sprintf("%.0f (%.2f µs of processor each)", rate, cost))
			best = max(best, rate)
		}
		slowest = min(slowest, best)
	})
	servers(t, func(t *testing.T, s *server) {
		a, p := gather(t, s, n), publish(t, s)
		rate := slowest / 2 / float64(n)
		if quick {
			rate = 20
		}
		if err := a.steady(p, rate, d/4); err != nil { // warm
			t.Fatal(err)
		}
		for range sized(t, "WSROUNDS", 1, 3) {
			a.forget()
			if err := a.steady(p, rate, d); err != nil {
				t.Fatal(err)
			}
			tell(t, s, fmt.Sprintf("delay at %.0f deliveries a second", rate*float64(n)), fmt.Sprintf("p50 %v, p99 %v", a.percentile(.5), a.percentile(.99)))
		}
	})
}
