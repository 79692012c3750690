package soak

import (
	"fmt"
	"sync"
)

// ledger knows of every message what was promised and what has become of it.
type ledger struct {
	fault func(format string, args ...any) // tells that the gateway did what it must not

	// guarded by mu
	mu        sync.Mutex
	life      int
	all       []message         // by id
	held      map[place]*holder // who has a message that is not settled
	open      int               // confirmed, and not acknowledged wherever it was published to
	confirmed int
	came      map[string]int // counts of deliveries, by what was special
}

// message is what is known of one.
type message struct {
	want, got bits // where it was published to, where it was acknowledged
	seen      bits // queues it was delivered from in its life
	settled   bits // queues in which an acknowledgement was surely read in its life
	life      uint8
	born      uint8
	confirmed bool
}

// bits are queues, or destinations, as a set.
type bits uint8

// place is a message in a queue.
type place struct {
	queue *queue
	id    uint32
}

// holder is a channel with a consumer. Its fields belong to the ledger.
type holder struct {
	name  string
	life  int
	over  bool // what it held may be with others from now on
	has   map[uint32]bool
	acked []uint32
	queue *queue
}

func newLedger(fault func(string, ...any)) *ledger {
	return &ledger{fault: fault, held: map[place]*holder{}, came: map[string]int{}}
}

// send gives a message for these destinations its number.
func (l *ledger) send(want bits) uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, message{want: want, born: uint8(l.life)})
	return uint32(len(l.all) - 1)
}

func (l *ledger) confirm(id uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := &l.all[id]
	m.confirmed = true
	l.confirmed++
	if m.got != m.want {
		l.open++
	}
}

// backlog is how many confirmed messages somebody still has to acknowledge.
func (l *ledger) backlog() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// holder returns a new one for a channel of this life.
func (l *ledger) holder(name string, q *queue, life int) *holder {
	return &holder{name: name, queue: q, life: life, has: map[uint32]bool{}}
}

// take registers a delivery. It returns false when the message does not belong to h any more, because h or the gateway's life is over.
func (l *ledger) take(h *holder, id uint32, redelivered bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.over || h.life != l.life {
		return false
	}
	if int(id) >= len(l.all) {
		l.fault("%s: message %d was never sent", h.queue.name, id)
		return false
	}
	m := &l.all[id]
	if m.want&h.queue.serves == 0 {
		l.fault("%s: message %d was not meant for it", h.queue.name, id)
	}
	l.examine(h, id, m, redelivered)
	if redelivered {
		l.came["deliveries that came again"]++
	}
	if h.queue.letters {
		l.came["deliveries of dead letters"]++
	}
	m.seen |= h.queue.bit
	h.has[id] = true
	if at := (place{h.queue, id}); l.held[at] == nil {
		l.held[at] = h
	}
	return true
}

// examine tells what is wrong with a delivery to h. The dead letters that were under way when the gateway was killed may be there twice: written there, and not
// yet struck out where they came from. So copies of older messages are only counted.
func (l *ledger) examine(h *holder, id uint32, m *message, redelivered bool) {
	if int(m.life) != l.life {
		m.life, m.seen, m.settled = uint8(l.life), 0, 0
	}
	other := l.held[place{h.queue, id}]
	again, done := m.seen&h.queue.bit != 0 && !redelivered, m.settled&h.queue.bit != 0
	if h.queue.letters && int(m.born) != l.life {
		if other != nil || again || done {
			l.came["dead letters there twice after a kill"]++
		}
		return
	}
	switch {
	case other == h:
		l.fault("%s: message %d came to %s while it had it", h.queue.name, id, h.name)
	case other != nil:
		l.fault("%s: message %d came to %s while %s had it", h.queue.name, id, h.name, other.name)
	case done:
		l.fault("%s: message %d came to %s after its acknowledgement was read", h.queue.name, id, h.name)
	case again:
		l.fault("%s: message %d came to %s not for the first time, without the redelivered mark", h.queue.name, id, h.name)
	}
}

// release forgets that h has the messages. It is called before the gateway can know that h gives them back.
func (l *ledger) release(h *holder, ids ...uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(h, ids)
}

func (l *ledger) drop(h *holder, ids []uint32) {
	for _, id := range ids {
		delete(h.has, id)
		if at := (place{h.queue, id}); l.held[at] == h {
			delete(l.held, at)
		}
	}
}

// ack is release for messages that are done with: h is about to acknowledge them.
func (l *ledger) ack(h *holder, ids ...uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(h, ids)
	h.acked = append(h.acked, ids...)
	for _, id := range ids {
		m := &l.all[id]
		missing := m.got != m.want
		m.got |= m.want & h.queue.serves
		if missing && m.confirmed && m.got == m.want {
			l.open--
		}
	}
}

// read notes that the gateway has read everything that h sent.
func (l *ledger) read(h *holder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.life != l.life {
		return
	}
	for _, id := range h.acked {
		l.all[id].settled |= h.queue.bit
	}
}

// end is release for all that h has, and will have. It is called before the gateway can know that h is over.
func (l *ledger) end(h *holder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.over = true
	for id := range h.has {
		if at := (place{h.queue, id}); l.held[at] == h {
			delete(l.held, at)
		}
	}
	clear(h.has)
}

// begin begins another life of the gateway: nobody has anything.
func (l *ledger) begin(life int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.life = life
	clear(l.held)
}

// lost tells of every message that was confirmed and has not been acknowledged wherever it was published to.
func (l *ledger) lost() (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, m := range l.all {
		if m.confirmed && m.got != m.want {
			all = append(all, fmt.Sprintf("message %d was confirmed in life %d for %03b and is lost: acknowledged in %03b, last seen in life %d in %06b",
				id, m.born, m.want, m.got, m.life, m.seen))
		}
	}
	return all
}

func (l *ledger) counts() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := map[string]int{"messages sent": len(l.all), "messages confirmed": l.confirmed}
	for what, c := range l.came {
		n[what] = c
	}
	return n
}
