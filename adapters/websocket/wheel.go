package websocket

import (
	"sync"
	"time"

	"portico/core"
)

// spokes is how many parts a turn of the wheel has: connections have their turns spread over the ping interval.
const spokes = 32

// wheel gives every connection its turn once in a ping interval. One timer does for all of them, and none is there while there are no connections.
type wheel struct {
	// immutable
	every time.Duration // a turn

	mu     sync.Mutex // guards the rest
	spokes [spokes]map[*conn]struct{}
	at     int
	n      int
	timer  *time.Timer
}

// add gives c its first turn after an interval.
func (w *wheel) add(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.spokes[w.at] == nil {
		w.spokes[w.at] = make(map[*conn]struct{})
	}
	c.spoke = w.at
	w.spokes[w.at][c] = struct{}{}
	if w.n++; w.n > 1 {
		return
	}
	if w.timer == nil {
		w.timer = time.AfterFunc(w.every/spokes, w.turn)
		return
	}
	w.timer.Reset(w.every / spokes)
}

func (w *wheel) remove(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.spokes[c.spoke], c)
	if len(w.spokes[c.spoke]) == 0 {
		w.spokes[c.spoke] = nil // a map does not give back what a burst of connections made it take
	}
	if w.n--; w.n == 0 {
		w.timer.Stop()
	}
}

// turn goes on by one spoke, and looks at every connection for one thing that does not wait for its turn. Nothing that it calls blocks.
func (w *wheel) turn() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n == 0 {
		return
	}
	for i := range w.spokes {
		for c := range w.spokes[i] {
			if c.revoked() {
				c.finish(closeUnauthenticated, core.CodeUnauthenticated.String())
			}
		}
	}
	w.at = (w.at + 1) % spokes
	now := time.Now()
	for c := range w.spokes[w.at] {
		c.turn(now)
	}
	w.timer.Reset(w.every / spokes)
}
