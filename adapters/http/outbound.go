package httpapi

import "sync"

// slowPolicy says what happens when a subscriber does not keep up.
type slowPolicy string

const (
	slowClose      slowPolicy = "close"       // it is told, and its stream ends
	slowDropOldest slowPolicy = "drop-oldest" // what has waited longest is dropped …
	slowDropNewest slowPolicy = "drop-newest" // … or what comes; either way it is told how many messages are missing
)

const (
	queueFrames = 8192    // messages waiting for one client …
	queueBytes  = 8 << 20 // … and their bytes
)

// outbound is the one bounded queue between the bus and a client. Messages are shared with other clients, not copied.
type outbound struct {
	// immutable
	wake chan struct{} // capacity 1
	slow slowPolicy

	mu      sync.Mutex // guards the rest
	queue   []*frame
	bytes   int
	full    bool  // it was full, and its policy is to close: what follows is lost
	dropped int   // since the last take
	refused error // why nothing more comes; nil: it does
}

func newOutbound(slow slowPolicy) *outbound {
	return &outbound{wake: make(chan struct{}, 1), slow: slow}
}

// push never blocks.
func (o *outbound) push(x *frame) {
	o.mu.Lock()
	if !o.full && o.makeRoom(len(x.message.Data)) {
		o.queue = append(o.queue, x)
		o.bytes += len(x.message.Data)
	}
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// refuse ends the stream behind what waits: the subscriber may not have more.
func (o *outbound) refuse(reason error) {
	o.mu.Lock()
	o.refused = reason
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// makeRoom tells whether n bytes more may wait, after what the policy says has been done; o.mu is held.
func (o *outbound) makeRoom(n int) bool {
	for len(o.queue) >= queueFrames || len(o.queue) > 0 && o.bytes+n > queueBytes {
		switch o.slow {
		case slowDropNewest:
			o.dropped++
			return false
		case slowDropOldest:
			o.bytes -= len(o.queue[0].message.Data)
			o.queue[0] = nil
			o.queue = o.queue[1:]
			o.dropped++
		default:
			o.full, o.queue = true, nil
			return false
		}
	}
	return true
}

// taken is what was waiting.
type taken struct {
	frames  []*frame
	dropped int // messages that are missing: before frames with drop-oldest, behind them with drop-newest
	full    bool
	refused error
}

func (o *outbound) take() taken {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := taken{o.queue, o.dropped, o.full, o.refused}
	o.queue, o.bytes, o.dropped = nil, 0, 0
	return t
}
