package stomp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"math"

	"portico/core"
	"portico/core/policy"
	"portico/core/queue"
)

// ackMode is how a subscription's messages are acknowledged.
type ackMode uint8

const (
	ackAuto       ackMode = iota // by being sent
	ackClient                    // each with all before it
	ackIndividual                // each by itself
)

// subscription is a consumer of a queue.
type subscription struct {
	// immutable
	session     *Session
	id          string // as the client named it; "" in 1.0 where it did not
	key         string // names it within the session
	destination destination
	mode        ackMode
	queue       *core.Queue
	exact       bool

	consumer *queue.Consumer // set by open

	// guarded by session.mu
	pending []uint64 // ackClient: tags that wait, in order
	ended   error    // the queue's end
}

// subscribe acts on SUBSCRIBE. The consumer gets its credit after the RECEIPT has been queued.
func (s *Session) subscribe(f *Frame) error {
	x, err := s.newSubscription(f)
	if err != nil {
		return err
	}
	cfg, credit, err := x.consumes(f)
	if err != nil {
		return err
	}
	if x.queue, err = s.source(f, x, cfg.Exclusive); err != nil {
		return err
	}
	own := x.destination.kind == kindSubjects && f.Get("x-queue-name") == ""
	cfg.Exclusive = cfg.Exclusive || own
	if err := x.open(cfg); err != nil {
		if own {
			s.discard(s.bus.System(), x.queue.Config())
		}
		return err
	}
	s.receipt(f)(nil)
	x.consumer.Grant(credit)
	return nil
}

// consumes reads what a SUBSCRIBE says of its consumer, and the credit that it gets when it is open.
func (x *subscription) consumes(f *Frame) (cfg queue.ConsumerConfig, credit int, err error) {
	cfg.Deliver, cfg.Room, cfg.Gone = x.deliver, x.session.room, x.gone
	cfg.AutoAck, cfg.Window = x.mode == ackAuto, x.mode != ackAuto
	if cfg.Exclusive, err = f.flag("exclusive", false); err != nil {
		return cfg, 0, err
	}
	if cfg.Offset, err = f.offset(); err != nil {
		return cfg, 0, err
	}
	priority, _, err := f.number("x-priority", math.MinInt32, math.MaxInt32)
	if err != nil {
		return cfg, 0, err
	}
	cfg.Priority = int(priority)
	prefetch, _, err := f.number("prefetch-count", 0, math.MaxUint16)
	if prefetch == 0 || cfg.AutoAck {
		prefetch = queue.Unlimited
	}
	return cfg, int(prefetch), err
}

// newSubscription reads what all kinds of subscriptions have.
func (s *Session) newSubscription(f *Frame) (*subscription, error) {
	d, err := parseDestination(f.Get("destination"))
	if err != nil {
		return nil, err
	}
	if _, there := f.Lookup("selector"); there {
		return nil, core.Errorf(core.CodeUnimplemented, "there are no selectors: subscribe to a destination with fewer messages")
	}
	if d.kind == kindTemp || d.kind == kindReply {
		return nil, core.Errorf(core.CodeInvalid, "%s: answers come by themselves to whoever names a temporary queue in reply-to", d.text)
	}
	x := &subscription{session: s, destination: d, exact: d.exact()}
	if x.id, x.key, err = s.subscriptionID(f); err != nil {
		return nil, err
	}
	switch mode := f.Get("ack"); mode {
	case "", "auto":
	case "client":
		x.mode = ackClient
	case "client-individual":
		x.mode = ackIndividual
	default:
		return nil, core.Errorf(core.CodeInvalid, "header ack is %.32q: want auto, client or client-individual", mode)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.subs[x.key] != nil:
		return nil, core.Errorf(core.CodePreconditionFailed, "subscription %.64q is open already", x.key)
	case len(s.subs) >= maxSubscriptions:
		return nil, core.Errorf(core.CodeResourceExhausted, "the session has %d subscriptions, the most it may have", maxSubscriptions)
	}
	return x, nil
}

// subscriptionID is what names a subscription: its id, or in 1.0 its destination.
func (s *Session) subscriptionID(f *Frame) (id, key string, err error) {
	id, there := f.Lookup("id")
	if there && id != "" {
		return id, "id " + id, nil
	}
	destination := f.Get("destination")
	if s.speaks() != V10 || destination == "" {
		return "", "", core.Errorf(core.CodeInvalid, "%s without id", f.Command)
	}
	return "", "to " + destination, nil
}

// source is the queue that a subscription consumes.
func (s *Session) source(f *Frame, x *subscription, exclusive bool) (*core.Queue, error) {
	d := &x.destination
	if d.kind == kindSubjects {
		return s.boundQueue(f, x)
	}
	if err := s.bus.May(policy.Consume, d.name); err != nil {
		return nil, err
	}
	if d.kind == kindQueue {
		if exclusive && s.bus.Lookup(d.name) == nil {
			return s.declare(s.bus, core.QueueConfig{Name: d.name, AutoDelete: true})
		}
		return s.queueFor(f, d.name)
	}
	return s.bus.Queue(d.name)
}

func (s *Session) declare(bus *core.Bus, cfg core.QueueConfig) (*core.Queue, error) {
	if _, _, err := bus.DeclareQueue(s.ctx, cfg); err != nil {
		return nil, err
	}
	return bus.Queue(cfg.Name)
}

// boundQueue makes the queue of a subscription to subjects. One that the client does not name is the session's own affair: it needs the permission to
// listen, and none for the queue.
func (s *Session) boundQueue(f *Frame, x *subscription) (*core.Queue, error) {
	patterns := x.destination.patterns()
	for _, p := range patterns {
		if err := s.bus.MayFeed(p); err != nil {
			return nil, err
		}
	}
	cfg, err := describe(f, s.queueName(f, &x.destination), false)
	if err != nil {
		return nil, err
	}
	bus := s.bus
	if own := !cfg.Durable && f.Get("x-queue-name") == ""; own {
		bus, cfg.Name, cfg.AutoDelete = s.bus.System(), "stomp.gen-"+rand.Text(), true
		bound(&cfg)
	}
	q, err := s.declare(bus, cfg)
	if err != nil {
		return nil, err
	}
	for _, p := range patterns {
		if err := bus.Bind(s.ctx, core.Binding{Pattern: p, Queue: cfg.Name}); err != nil {
			s.discard(bus, cfg)
			return nil, err
		}
	}
	return q, nil
}

// bound limits what waits for a subscriber that does not read, unless the client has said how much may.
func bound(cfg *core.QueueConfig) {
	if cfg.Type != core.ClassicQueue || cfg.MaxLength.Set || cfg.MaxBytes.Set {
		return
	}
	cfg.MaxLength, cfg.MaxBytes = queue.AtMost(temporaryLength), queue.AtMost(temporaryBytes)
}

// discard deletes a queue that could not be bound and that nobody else knows.
func (s *Session) discard(bus *core.Bus, cfg core.QueueConfig) {
	if cfg.Durable {
		return
	}
	if _, err := bus.DeleteQueueIf(context.WithoutCancel(s.ctx), cfg.Name, true, true); err != nil {
		s.log.Debug("queue not deleted", "queue", cfg.Name, "err", err)
	}
}

// queueName is what the queue of a subscription to subjects is called: a durable one must be found again.
func (s *Session) queueName(f *Frame, d *destination) string {
	if name := f.Get("x-queue-name"); name != "" {
		return name
	}
	sum := sha256.Sum256([]byte(d.text + "\x00" + f.Get("id")))
	return "stomp-subscription-" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// allowed asks what the subscription has asked.
func (x *subscription) allowed() error {
	bus, d := x.session.bus, &x.destination
	if d.kind != kindSubjects {
		return bus.May(policy.Consume, d.name)
	}
	for _, p := range d.patterns() {
		if err := bus.MayFeed(p); err != nil {
			return err
		}
	}
	return nil
}

// open registers the consumer, without credit. mu is not held while the queue is asked: its goroutine may be waiting for mu.
func (x *subscription) open(cfg queue.ConsumerConfig) error {
	s := x.session
	consumer, err := s.bus.Consume(x.queue, cfg, x.allowed)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.ended != nil {
		return x.ended
	}
	x.consumer = consumer
	s.subs[x.key] = x
	return nil
}

// unsubscribe acts on UNSUBSCRIBE: what is not acknowledged goes back. Of a durable subscription the queue goes, if the frame says durable, too.
func (s *Session) unsubscribe(f *Frame) error {
	_, key, err := s.subscriptionID(f)
	if err != nil {
		return err
	}
	s.mu.Lock()
	x := s.subs[key]
	delete(s.subs, key)
	s.mu.Unlock()
	if x == nil {
		return core.Errorf(core.CodeNotFound, "there is no subscription %.64q", key)
	}
	x.consumer.Close()
	s.mu.Lock()
	for tag, h := range s.held {
		if h.sub == x {
			delete(s.held, tag)
		}
	}
	s.mu.Unlock()
	if x.destination.kind == kindSubjects && x.queue.Config().Durable && f.Get("durable") == "true" {
		if _, err := s.bus.DeleteQueue(s.ctx, x.queue.Name()); err != nil {
			return err
		}
	}
	s.bus.System().DeleteIdle(x.queue) // before the client is told
	s.unstarve()
	s.receipt(f)(nil)
	return nil
}
