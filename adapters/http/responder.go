package httpapi

import (
	"crypto/rand"
	"sync"
	"time"

	"portico/core"
)

const (
	maxResponders = 1024             // sessions at once; above, 507
	serveRequests = 64               // requests that wait in one session …
	serveBytes    = 4 << 20          // … and their bytes
	serveIdle     = 30 * time.Second // a session ends so long behind its last poll
)

// serving are the sessions of responders. Between two polls of a responder its subscription stays: requests that come meanwhile wait in its session.
type serving struct {
	// immutable
	key  []byte // seals tokens of requests: those of an earlier process are worth nothing, because their askers have gone
	idle time.Duration

	mu   sync.Mutex // guards open
	open map[string]*responder
}

func newServing() *serving {
	s := &serving{key: make([]byte, keySize), idle: serveIdle, open: map[string]*responder{}}
	rand.Read(s.key) // never fails
	return s
}

// token seals reply subjects for one user.
func (s *serving) token(b *core.Bus) lease {
	return lease{key: s.key, tenant: b.Tenant(), user: b.User(), consumer: "serve"}
}

// responder is one session. When as much waits as may, it unsubscribes until there is room: requests go to another of its group then, or are told at once that nobody takes them.
type responder struct {
	// immutable
	all            *serving
	id             string
	bus            *core.Bus
	subject, group string
	wake           chan struct{} // capacity 1: something waits

	mu         sync.Mutex // guards the rest
	queue      []*core.Message
	bytes      int
	sub        *core.Subscription // nil while it is full
	subscribes bool               // somebody is about to subscribe again
	polls      int
	idle       *time.Timer
	over       bool
}

// enter returns the session of that id, if it is there and of the same subject, group and user; else a new one. The caller must call leave.
func (s *serving) enter(b *core.Bus, subject, group, id string) (*responder, error) {
	if r := s.find(b, id); r != nil && r.subject == subject && r.group == group && r.arrive() {
		return r, nil
	}
	r := &responder{all: s, id: rand.Text(), bus: b, subject: subject, group: group, wake: make(chan struct{}, 1), polls: 1}
	r.idle = time.AfterFunc(s.idle, r.expire)
	if err := s.add(r); err != nil {
		return nil, err
	}
	if err := r.subscribe(); err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

func (s *serving) add(r *responder) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) >= maxResponders {
		r.idle.Stop()
		return core.Errorf(core.CodeResourceExhausted, "%d sessions of responders are open: no more", maxResponders)
	}
	s.open[r.id] = r
	return nil
}

// find returns a session of the same user in the same tenant.
func (s *serving) find(b *core.Bus, id string) *responder {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.open[id]; r != nil && r.bus.User() == b.User() && r.bus.Tenant() == b.Tenant() {
		return r
	}
	return nil
}

// end ends a user's session; false: there is none.
func (s *serving) end(b *core.Bus, id string) bool {
	r := s.find(b, id)
	return r != nil && r.stop()
}

// arrive notes a poll; false: the session has just ended.
func (r *responder) arrive() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return false
	}
	r.polls++
	return true
}

// leave notes that a poll has ended.
func (r *responder) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.polls--; r.polls == 0 && !r.over {
		r.idle.Reset(r.all.idle)
	}
}

// expire ends a session that nobody polls.
func (r *responder) expire() { r.end(true) }

// stop ends the session; false: it had ended.
func (r *responder) stop() bool { return r.end(false) }

// end ends the session, with idle only if nobody polls it.
func (r *responder) end(idle bool) bool {
	r.mu.Lock()
	if r.over || idle && r.polls > 0 {
		r.mu.Unlock()
		return false
	}
	r.over, r.queue = true, nil
	r.idle.Stop()
	if r.sub != nil {
		r.sub.Unsubscribe()
	}
	r.mu.Unlock()
	r.signal()
	r.all.mu.Lock()
	defer r.all.mu.Unlock()
	delete(r.all.open, r.id)
	return true
}

// subscribe is called without r.mu: it waits for the goroutine that delivers.
func (r *responder) subscribe() error {
	sub, err := r.bus.Serve(r.subject, r.group, r.deliver)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subscribes = false
	switch {
	case err != nil:
		return err
	case r.over || r.crowded(): // as much has come already
		sub.Unsubscribe()
	default:
		r.sub = sub
		sub.OnRefused(func(error) { r.stop() })
	}
	return nil
}

func (r *responder) crowded() bool { return len(r.queue) >= serveRequests || r.bytes >= serveBytes }

func (r *responder) deliver(m *core.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	r.queue = append(r.queue, m)
	r.bytes += len(m.Data)
	if r.crowded() && r.sub != nil {
		r.sub.Unsubscribe()
		r.sub = nil
	}
	r.signal()
}

func (r *responder) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// take returns what has waited longest, nil if nothing does. CodeNotFound: the session has ended.
func (r *responder) take() (*core.Message, error) {
	m, room, err := r.pop()
	if room {
		err = r.subscribe()
	}
	if m != nil {
		return m, nil // what is wrong with the subscription the next poll will find out
	}
	return nil, err
}

// pop takes the first; room: there is room again, and the caller has to subscribe.
func (r *responder) pop() (m *core.Message, room bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return nil, false, core.Errorf(core.CodeNotFound, "the session has ended")
	}
	if len(r.queue) > 0 {
		m = r.queue[0]
		r.queue[0] = nil
		r.queue = r.queue[1:]
		r.bytes -= len(m.Data)
		if len(r.queue) > 0 {
			r.signal()
		}
	}
	room = r.sub == nil && !r.subscribes && len(r.queue) <= serveRequests/2 && r.bytes <= serveBytes/2
	r.subscribes = r.subscribes || room
	return m, room, nil
}
