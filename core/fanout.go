package core

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"portico/core/policy"
)

// fanout gives what is published to the doors' subscribers. Ungrouped subscriptions of one pattern share one subscription of the server, and a message
// is opened once for all of them. A grouped subscription has one of its own: then the server picks a member among all doors, nodes and native
// clients, each with the same chance, which a round-robin behind one shared subscription would not give.
type fanout struct {
	link *link

	// guarded by mu
	mu     sync.Mutex
	topics map[string]*topic
}

// topic is a pattern with the server's subscription and those who share it.
type topic struct {
	// immutable
	pattern string
	sub     *linkSub
	ready   chan struct{} // closed when the subscription is in force, or has failed with err

	err     error
	members atomic.Pointer[[]*Subscription] // immutable slice; replaced under fanout.mu
}

// Subscription is somebody's interest in a pattern.
type Subscription struct {
	// immutable
	fan     *fanout
	topic   *topic   // what it shares; nil with a group
	own     *linkSub // its own with a group
	pattern string
	all     bool // sees reserved subjects through wildcards, too
	deliver func(*Message)
	bus     *Bus          // whose it is
	action  policy.Action // Subscribe or Serve

	gone atomic.Bool
	view atomic.Pointer[outlook]

	unguard atomic.Pointer[func()] // ends OnRefused
}

// subscribeTimeout bounds the wait for the server to confirm a subscription.
const subscribeTimeout = 5 * time.Second

// Subscribe hands every message published on pattern (wildcards * and >) to deliver, in order, which must not block and must not change the
// message. With a group, one member of the group among all nodes gets each message. It is in force when Subscribe returns. Wildcards in the first token do not match
// subjects of the bus itself ($…) and inboxes. Errors: CodeInvalid, CodePermissionDenied, CodeUnavailable.
func (b *Bus) Subscribe(pattern, group string, deliver func(*Message)) (*Subscription, error) {
	return b.listen(policy.Subscribe, pattern, group, deliver)
}

// Serve is Subscribe for who answers requests: it needs the right to serve.
func (b *Bus) Serve(pattern, group string, deliver func(*Message)) (*Subscription, error) {
	return b.listen(policy.Serve, pattern, group, deliver)
}

func (b *Bus) listen(a policy.Action, pattern, group string, deliver func(*Message)) (*Subscription, error) {
	if err := b.maySubject(a, pattern); err != nil {
		return nil, err
	}
	s := &Subscription{fan: b.tenant.fans, pattern: pattern, all: b.system, deliver: deliver, bus: b, action: a}
	if group == "" {
		return s, s.share()
	}
	if err := checkSubject(group); err != nil {
		return nil, Errorf(CodeInvalid, "group %q: want a name without blanks, wildcards and empty tokens", group)
	}
	return s, s.join(group)
}

// Unsubscribe ends the subscription. It may be called twice, and from deliver. No delivery is started afterwards; one that another
// goroutine has just begun may still be under way.
func (s *Subscription) Unsubscribe() {
	if s.gone.Swap(true) {
		return
	}
	if stop := s.unguard.Load(); stop != nil {
		(*stop)()
	}
	if s.own != nil {
		s.fan.link.unsubscribe(s.own)
		return
	}
	s.fan.leave(s)
}

// Flush returns when the subscribers of this node have been handed everything that was published before through its doors. It must not be called from a deliver function. CodeUnavailable when
// the bus does not answer before ctx ends.
func (b *Bus) Flush(ctx context.Context) error { return b.tenant.flush(ctx) }

// share makes s a member of its pattern's topic.
func (s *Subscription) share() error {
	t, first, err := s.fan.enter(s)
	if err != nil {
		return unavailable(err)
	}
	s.topic = t
	if first {
		ctx, cancel := context.WithTimeout(context.Background(), subscribeTimeout)
		t.err = s.fan.link.flush(ctx)
		cancel()
		close(t.ready)
	}
	<-t.ready
	if t.err != nil {
		s.Unsubscribe()
		return unavailable(t.err)
	}
	return nil
}

// enter adds s to the topic of its pattern; first: it was the one to make it and has to see that it is confirmed.
func (f *fanout) enter(s *Subscription) (t *topic, first bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t = f.topics[s.pattern]
	if t == nil {
		t, first = &topic{pattern: s.pattern, ready: make(chan struct{})}, true
		t.members.Store(&[]*Subscription{})
		if t.sub, err = f.link.subscribe(s.pattern, "", t.deliver); err != nil {
			return nil, false, err
		}
		f.topics[s.pattern] = t
	}
	members := append(slices.Clip(*t.members.Load()), s)
	t.members.Store(&members)
	return t, first, nil
}

// leave takes s out of its topic, and the topic out of the server with its last member.
func (f *fanout) leave(s *Subscription) {
	f.mu.Lock()
	defer f.mu.Unlock()
	members := *s.topic.members.Load()
	i := slices.Index(members, s)
	if i < 0 {
		return
	}
	members = slices.Concat(members[:i], members[i+1:])
	s.topic.members.Store(&members)
	if len(members) == 0 {
		f.link.unsubscribe(s.topic.sub)
		delete(f.topics, s.pattern)
	}
}

// deliver runs on the link's reading goroutine.
func (t *topic) deliver(lm linkMessage) {
	m := lm.open()
	for _, s := range *t.members.Load() {
		s.offer(m)
	}
}

// join subscribes with a group.
func (s *Subscription) join(group string) error {
	own, err := s.fan.link.subscribe(s.pattern, group, func(lm linkMessage) { s.offer(lm.open()) })
	if err != nil {
		return unavailable(err)
	}
	s.own = own
	ctx, cancel := context.WithTimeout(context.Background(), subscribeTimeout)
	defer cancel()
	if err := s.fan.link.flush(ctx); err != nil {
		s.Unsubscribe()
		return unavailable(err)
	}
	return nil
}

func (s *Subscription) offer(m *Message) {
	if !s.gone.Load() && (s.all || deliverable(s.pattern, m.Subject) && s.sees(m.Subject)) {
		s.deliver(m)
	}
}

func unavailable(err error) error {
	return &Error{Code: CodeUnavailable, Detail: "the bus does not answer", Err: err}
}

// open makes a Message of what came from the server. A status is readable as a header, as client libraries show it; what only the
// server and the gateway tell each other is taken off.
func (lm *linkMessage) open() *Message {
	m := &Message{Subject: lm.subject, Reply: shownReply(lm.reply), Data: lm.data}
	if len(lm.header) == 0 {
		return m
	}
	h, status := parseBusHeader(lm.header)
	h = withoutInternal(h)
	if status != "" {
		if h == nil {
			h = Header{}
		}
		h.Set("Status", status)
	}
	m.Header = h
	return m
}
