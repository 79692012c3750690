package websocket

import (
	"sync"
	"sync/atomic"

	"portico/core"
)

// largeShare is the weight from which a message is forgotten as soon as one client has it: below that the door keeps the last one.
const largeShare = 64 << 10

// shared is a message on its way to subscriptions. What is the same for all of them is encoded once, by the first that writes it.
type shared struct {
	message *core.Message
	weight  int // of message
	json    encoding
}

// encoding is one form of what follows the subscription's name in a frame.
type encoding struct {
	once sync.Once
	tail []byte
}

// tail is the end of the message's JSON frame, behind the sid. The bytes are shared: they must not be changed.
func (x *shared) tail() []byte {
	x.json.once.Do(func() {
		x.json.tail = appendMessage(make([]byte, 0, len(x.message.Data)+len(x.message.Subject)+64), x.message)
	})
	return x.json.tail
}

// shares finds what is shared of a message. Core gives one message to all its subscriptions one after the other, so that remembering the last one is enough.
type shares struct{ last atomic.Pointer[shared] }

func (s *shares) of(m *core.Message) *shared {
	if x := s.last.Load(); x != nil && x.message == m {
		return x
	}
	x := &shared{message: m, weight: weight(m)}
	s.last.Store(x)
	return x
}

// forget lets go of a large message: an idle door does not keep one of 128 MiB.
func (s *shares) forget(x *shared) {
	if x.weight >= largeShare {
		s.last.CompareAndSwap(x, nil)
	}
}
