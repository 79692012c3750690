package core

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"sync"

	"portico/core/queue"
)

// headerMsgID names a message: of those with one name that come within its window a stream keeps the first, and so does a queue (docs/adr/0002-native-publishes.md).
const headerMsgID = "Nats-Msg-Id"

// Who a message's name belongs to. Native clients share their names, for the server does not tell who publishes.
const (
	ofDoors   = 'd'
	ofNatives = 'n'
)

// messageID is what a queue knows a message with this header by, the zero ID if it has no name. Names of different users are different ones.
func messageID(scope byte, user string, h Header) (id queue.ID) {
	for name, values := range h {
		if len(name) == len(headerMsgID) && len(values) > 0 && values[0] != "" && strings.EqualFold(name, headerMsgID) {
			var room [128]byte
			b := binary.AppendUvarint(append(room[:0], scope), uint64(len(user)))
			sum := sha256.Sum256(append(append(b, user...), values[0]...))
			copy(id[:], sum[:])
			return id
		}
	}
	return id
}

// idOf is messageID for what this identity publishes.
func (b *Bus) idOf(m *Message) queue.ID { return messageID(ofDoors, b.User(), m.Header) }

// publishing knows the names of the messages that are being published, so that of two at once only one makes a live copy. The zero value is ready.
type publishing struct {
	// guarded by mu
	mu  sync.Mutex
	ids map[queue.ID]int // how many: bounded by what publishers may have unanswered
}

// begin notes a publish, to be ended by end, and tells whether it is the only one with its name.
func (p *publishing) begin(id queue.ID) (alone bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ids == nil {
		p.ids = map[queue.ID]int{}
	}
	p.ids[id]++
	return p.ids[id] == 1
}

func (p *publishing) end(id queue.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ids[id]--; p.ids[id] == 0 {
		delete(p.ids, id)
	}
}

// repeats tells whether a message has been published before, as far as the queues that it is for know.
func repeats(id queue.ID, queues []*Queue) bool {
	for _, q := range queues {
		if q.Remembers(id) {
			return true
		}
	}
	return false
}
