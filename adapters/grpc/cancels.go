package grpcapi

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"portico/core"

	"google.golang.org/protobuf/types/known/durationpb"
)

// cancels tells responders of requesters that have gone: one subscription for all Serve streams of a tenant, as long as there are any.
type cancels struct {
	gateway *core.Gateway // immutable

	mu    sync.Mutex // guards the rest
	rooms map[string]*cancelRoom
}

// cancelRoom is a tenant's part.
type cancelRoom struct {
	subscription *core.Subscription // immutable
	streams      int                // guarded by cancels.mu: Serve streams that are here

	mu    sync.Mutex                     // guards calls
	calls map[string]map[*serving]func() // by the subject: each stream that got the request
}

func newCancels(g *core.Gateway) *cancels {
	return &cancels{gateway: g, rooms: map[string]*cancelRoom{}}
}

// join is called by each Serve stream, and leave when it ends.
func (c *cancels) join(tenant string) (*cancelRoom, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	room := c.rooms[tenant]
	if room == nil {
		system, err := c.gateway.SystemOf(tenant)
		if err != nil {
			return nil, err
		}
		room = &cancelRoom{calls: map[string]map[*serving]func(){}}
		if room.subscription, err = system.Subscribe(cancelPrefix+"*", "", room.cancelled); err != nil {
			return nil, err
		}
		c.rooms[tenant] = room
	}
	room.streams++
	return room, nil
}

func (c *cancels) leave(tenant string, room *cancelRoom) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if room.streams--; room.streams == 0 {
		room.subscription.Unsubscribe()
		delete(c.rooms, tenant)
	}
}

// await calls gone, which must not block, when the requester says so. Who awaits must forget: a Serve stream does so when the call is answered, too old to be, or over.
func (r *cancelRoom) await(subject string, who *serving, gone func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls[subject] == nil {
		r.calls[subject] = map[*serving]func(){}
	}
	r.calls[subject][who] = gone
}

func (r *cancelRoom) forget(subject string, who *serving) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if delete(r.calls[subject], who); len(r.calls[subject]) == 0 {
		delete(r.calls, subject)
	}
}

func (r *cancelRoom) cancelled(m *core.Message) {
	r.mu.Lock()
	told := r.calls[m.Subject]
	delete(r.calls, m.Subject)
	r.mu.Unlock()
	for _, gone := range told {
		gone()
	}
}

// cancelSubject is where the requester of m would say that it has gone, "" if it has named no such place.
func cancelSubject(m *core.Message) string {
	if subject := m.Header.Get(core.HeaderCancel); strings.HasPrefix(subject, cancelPrefix) {
		return subject
	}
	return ""
}

// timeoutOf is how long the requester of m still waits, nil if it does not say. Whoever is late has no time left, not less.
func timeoutOf(m *core.Message) *durationpb.Duration {
	ms, err := strconv.ParseInt(m.Header.Get(core.HeaderDeadline), 10, 64)
	if err != nil || ms < 0 {
		return nil
	}
	return durationpb.New(max(0, time.Until(time.UnixMilli(ms))))
}
