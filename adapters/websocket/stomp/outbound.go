package stomp

import (
	"context"
	"sync"
	"sync/atomic"

	"portico/core"
)

const (
	maxItems  = 8192    // frames that may wait for a client …
	maxBytes  = 8 << 20 // … and their bytes; above, answers to its temporary queues are too much for it
	roomItems = maxItems / 4
	roomBytes = maxBytes / 4 // above these, queues pause, and no further frame of the client is looked at
	itemCost  = 128          // bytes a waiting frame is counted at, beside its payload
)

// item is a frame that waits to be written: a frame as it is, a delivery, or an answer to a temporary queue. What comes from the bus is encoded at the last moment.
type item struct {
	frame *Frame

	sub         *subscription // of record
	record      []byte
	tag         uint64
	redelivered bool

	temp    *temp // of message
	message *core.Message
}

func (i *item) size() int {
	n := itemCost + len(i.record)
	if i.message != nil {
		n += len(i.message.Data)
	}
	if i.frame != nil {
		n += len(i.frame.Body)
	}
	return n
}

// outbound is the session's one bounded queue. Nothing in it blocks but room.
type outbound struct {
	// immutable
	wake    chan struct{} // capacity 1: there is something to write
	drained chan struct{} // capacity 1: there may be room again

	away atomic.Bool // the session ends because the gateway stops

	mu      sync.Mutex // guards the rest
	items   []item
	bytes   int
	closing bool
	last    *Frame // the ERROR that ends the session, nil for none
}

func newOutbound() *outbound {
	return &outbound{wake: make(chan struct{}, 1), drained: make(chan struct{}, 1)}
}

// push queues frames that the client asked for; they are bounded by what it may ask for at once.
func (o *outbound) push(items ...item) {
	o.mu.Lock()
	if !o.closing {
		for i := range items {
			o.bytes += items[i].size()
		}
		o.items = append(o.items, items...)
	}
	o.mu.Unlock()
	signal(o.wake)
}

// live queues what no queue keeps; false: the client reads too slowly.
func (o *outbound) live(i item) bool {
	o.mu.Lock()
	full := !o.closing && (len(o.items) >= maxItems || len(o.items) > 0 && o.bytes+i.size() > maxBytes)
	o.mu.Unlock()
	if !full {
		o.push(i)
	}
	return !full
}

// finish ends the session when what is queued has been written, with an ERROR if there is one. The first call counts.
func (o *outbound) finish(last *Frame) {
	o.mu.Lock()
	if !o.closing {
		o.closing, o.last = true, last
	}
	o.mu.Unlock()
	signal(o.wake)
}

func (o *outbound) isClosing() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closing
}

func (o *outbound) hasRoom() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closing || len(o.items) < roomItems && o.bytes < roomBytes
}

// room waits until little enough is queued. For the reader alone.
func (o *outbound) room(ctx context.Context) error {
	for !o.hasRoom() {
		select {
		case <-o.drained:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// take empties the queue.
func (o *outbound) take() (items []item, closing bool, last *Frame) {
	o.mu.Lock()
	items, o.items, o.bytes = o.items, nil, 0
	closing, last = o.closing, o.last
	o.mu.Unlock()
	signal(o.drained)
	return items, closing, last
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
