package queue

import (
	"slices"
	"sync"
)

// Limit is a window of deliveries that consumers of several queues share: AMQP's channel-wide prefetch.
type Limit struct {
	// guarded by mu
	mu      sync.Mutex
	max     int // 0: unlimited
	held    int
	waiting []*Consumer // each once, while it is there
}

// NewLimit returns a window of n deliveries; 0 is unlimited.
func NewLimit(n int) *Limit { return &Limit{max: n} }

// Resize changes the window; what is held counts on.
func (l *Limit) Resize(n int) {
	l.mu.Lock()
	l.max = n
	wake := l.takeWaiting()
	l.mu.Unlock()
	wakeAll(wake)
}

// take takes one delivery from the window, or remembers c, to be woken when there is room.
func (l *Limit) take(c *Consumer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.max > 0 && l.held >= l.max {
		if !c.waits {
			c.waits = true
			l.waiting = append(l.waiting, c)
		}
		return false
	}
	l.held++
	return true
}

// forget lets go of a consumer that has gone.
func (l *Limit) forget(c *Consumer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.waits {
		c.waits = false
		l.waiting = slices.DeleteFunc(l.waiting, func(w *Consumer) bool { return w == c })
	}
}

// give returns n deliveries to the window.
func (l *Limit) give(n int) {
	l.mu.Lock()
	l.held -= n
	wake := l.takeWaiting()
	l.mu.Unlock()
	wakeAll(wake)
}

// takeWaiting returns those that wait, if there is room for any. The caller holds mu.
func (l *Limit) takeWaiting() []*Consumer {
	if l.max > 0 && l.held >= l.max {
		return nil
	}
	for _, c := range l.waiting {
		c.waits = false
	}
	w := l.waiting
	l.waiting = nil
	return w
}

func wakeAll(consumers []*Consumer) {
	for _, c := range consumers {
		c.Wake()
	}
}
