package websocket

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestIdle: what a connection with one subscription, on a subject of its own, keeps resident in the server. Asked of Portico: 20 KiB.
func TestIdle(t *testing.T) {
	const asked = 20 << 10
	_, quick := load(t)
	n := sized(t, "WSIDLE", 200, 10_000)
	servers(t, func(t *testing.T, s *server) {
		for range 20 { // what comes with the first connections is not theirs
			c, err := s.dial("", "warm")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		before := s.still(t)
		clients := make([]*client, n)
		var reading sync.WaitGroup
		defer reading.Wait()
		for i := range clients {
			c, err := s.dial(fmt.Sprintf("127.0.0.%d", 2+i%8), fmt.Sprintf("user.%d", i))
			if err != nil {
				t.Fatalf("connection %d: %v", i, err)
			}
			defer c.Close()
			clients[i] = c
			reading.Go(func() {
				for {
					if _, err := c.next(); err != nil { // pings are answered
						return
					}
				}
			})
		}
		soon := s.resident(t) - before
		grown := s.still(t) - before
		tell(t, s, fmt.Sprintf("resident by idle connection with a subscription, of %d", n), fmt.Sprintf("%.1f KiB (as soon as they are open: %.1f)", float64(grown)/float64(n)/1024, float64(soon)/float64(n)/1024))
		if !quick && s.name == "Portico" && grown > n*asked {
			t.Errorf("%d bytes by connection, want %d at most", grown/n, asked)
		}
	})
}

// still waits until the server's memory changes no more, for some time, and returns it: Go gives back what it does not need in its own time.
func (s *server) still(t *testing.T) int {
	t.Helper()
	rest := 15 * time.Second
	if _, quick := load(t); quick {
		rest = 100 * time.Millisecond
	}
	last, since := s.resident(t), time.Now()
	for began := time.Now(); time.Since(since) < rest && time.Since(began) < 10*rest; {
		time.Sleep(rest / 20)
		if now := s.resident(t); now < last-last/200 || now > last+last/200 {
			last, since = now, time.Now()
		}
	}
	return s.resident(t)
}
