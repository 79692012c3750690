package grpcapi_test

import (
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"portico/core"
	"portico/core/queue"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

func number(n uint64) *uint64 { return &n }

func millis(n int64) *durationpb.Duration {
	return durationpb.New(time.Duration(n) * time.Millisecond)
}

func toQueue(name string) *porticov1.DeadLetter {
	return &porticov1.DeadLetter{Target: &porticov1.DeadLetter_Queue{Queue: name}}
}

func toExchange(name string, key *string) *porticov1.DeadLetter {
	return &porticov1.DeadLetter{Target: &porticov1.DeadLetter_Exchange{Exchange: &porticov1.DeadLetterExchange{Name: name, RoutingKey: key}}}
}

// TestEveryFieldOfADescription: what was declared is described, can be declared again, and is not the same as the default.
func TestEveryFieldOfADescription(t *testing.T) {
	empty, key := "", "dead"
	for name, test := range map[string]struct {
		field string // as core names it when it differs
		set   func(*porticov1.Queue)
	}{
		"quorum":                {"type", func(q *porticov1.Queue) { q.Type = porticov1.QueueType_QUEUE_TYPE_QUORUM }},
		"stream":                {"type", func(q *porticov1.Queue) { q.Type = porticov1.QueueType_QUEUE_TYPE_STREAM }},
		"max priority":          {"max_priority", func(q *porticov1.Queue) { q.MaxPriority = 255 }},
		"single active":         {"single_active_consumer", func(q *porticov1.Queue) { q.SingleActiveConsumer = true }},
		"max deliveries":        {"max_deliveries", func(q *porticov1.Queue) { q.MaxDeliveries = math.MaxUint32 }},
		"dead letters to queue": {"dead_letter", func(q *porticov1.Queue) { q.DeadLetter = toQueue("dead") }},
		"dead letters to subject": {"dead_letter", func(q *porticov1.Queue) {
			q.DeadLetter = &porticov1.DeadLetter{Target: &porticov1.DeadLetter_Subject{Subject: "dead.q"}}
		}},
		"dead letters to exchange":         {"dead_letter", func(q *porticov1.Queue) { q.DeadLetter = toExchange("x", nil) }},
		"dead letters to default exchange": {"dead_letter", func(q *porticov1.Queue) { q.DeadLetter = toExchange("", &key) }},
		"dead letters with an empty key":   {"dead_letter", func(q *porticov1.Queue) { q.DeadLetter = toExchange("x", &empty) }},
		"message ttl":                      {"message_ttl", func(q *porticov1.Queue) { q.MessageTtl = millis(60_000) }},
		"no message ttl at all":            {"message_ttl", func(q *porticov1.Queue) { q.MessageTtl = millis(0) }},
		"expires":                          {"expires", func(q *porticov1.Queue) { q.Expires = millis(3_600_000) }},
		"max length":                       {"max_length", func(q *porticov1.Queue) { q.MaxLength = number(10) }},
		"no length":                        {"max_length", func(q *porticov1.Queue) { q.MaxLength = number(0) }},
		"max bytes":                        {"max_length_bytes", func(q *porticov1.Queue) { q.MaxLengthBytes = number(1 << 62) }},
		"reject publish":                   {"overflow", func(q *porticov1.Queue) { q.Overflow = porticov1.Overflow_OVERFLOW_REJECT_PUBLISH }},
		"reject publish dlx":               {"overflow", func(q *porticov1.Queue) { q.Overflow = porticov1.Overflow_OVERFLOW_REJECT_PUBLISH_DLX }},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t)
			plain := &porticov1.Queue{
				Name: "q", Durable: true, Type: porticov1.QueueType_QUEUE_TYPE_CLASSIC, Overflow: porticov1.Overflow_OVERFLOW_DROP_HEAD,
			}
			wanted := proto.CloneOf(plain)
			test.set(wanted)
			h.declare(wanted)
			info := h.info("q")
			if !proto.Equal(info.GetQueue(), wanted) || info.Effective != nil {
				t.Errorf("declared %v\n   shown %v, effective %v", wanted, info.GetQueue(), info.GetEffective())
			}
			h.declare(info.GetQueue())
			_, err := h.client.DeclareQueue(h.ctx(), &porticov1.DeclareQueueRequest{Queue: plain})
			want(t, err, codes.FailedPrecondition, "precondition-failed")
			if err == nil || !strings.Contains(err.Error(), "another "+test.field) {
				t.Errorf("what differs is not told: %v", err)
			}
		})
	}
}

func TestUnspecifiedIsTheDefault(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "q"})
	h.declare(&porticov1.Queue{
		Name: "q", Type: porticov1.QueueType_QUEUE_TYPE_CLASSIC, Overflow: porticov1.Overflow_OVERFLOW_DROP_HEAD, DeadLetter: &porticov1.DeadLetter{},
	})
}

func TestDescriptionsThatNoQueueCanHave(t *testing.T) {
	h := start(t)
	key := strings.Repeat("k", 256)
	for name, test := range map[string]struct {
		queue *porticov1.Queue
		says  string
	}{
		"unknown type":          {&porticov1.Queue{Type: 9}, "queue type 9"},
		"unknown overflow":      {&porticov1.Queue{Overflow: 9}, "overflow 9"},
		"priority too high":     {&porticov1.Queue{MaxPriority: 256}, "max_priority: 256"},
		"ttl below zero":        {&porticov1.Queue{MessageTtl: millis(-1)}, "message_ttl -1"},
		"ttl beyond ten years":  {&porticov1.Queue{MessageTtl: millis(315_360_000_001)}, "message_ttl 315360000001"},
		"ttl beyond all time":   {&porticov1.Queue{MessageTtl: &durationpb.Duration{Seconds: 315_576_000_000}}, "message_ttl"},
		"ttl no duration":       {&porticov1.Queue{MessageTtl: &durationpb.Duration{Seconds: 1, Nanos: -1}}, "message_ttl"},
		"ttl of microseconds":   {&porticov1.Queue{MessageTtl: durationpb.New(time.Microsecond)}, "message_ttl: want whole milliseconds"},
		"expires at once":       {&porticov1.Queue{Expires: millis(0)}, "expires 0"},
		"expires of nano":       {&porticov1.Queue{Expires: durationpb.New(time.Second + 1)}, "expires: want whole milliseconds"},
		"length beyond bounds":  {&porticov1.Queue{MaxLength: number(math.MaxUint64)}, "max_length 9223372036854775807"},
		"bytes beyond bounds":   {&porticov1.Queue{MaxLengthBytes: number(1<<62 + 1)}, "max_length_bytes 4611686018427387905"},
		"exchange too long":     {&porticov1.Queue{DeadLetter: toExchange(key, nil)}, "255 bytes"},
		"routing key too long":  {&porticov1.Queue{DeadLetter: toExchange("x", &key)}, "255 bytes"},
		"quorum in memory":      {&porticov1.Queue{Type: porticov1.QueueType_QUEUE_TYPE_QUORUM}, "quorum"},
		"quorum auto-delete":    {&porticov1.Queue{Type: porticov1.QueueType_QUEUE_TYPE_QUORUM, Durable: true, AutoDelete: true}, "quorum"},
		"quorum with priority":  {&porticov1.Queue{Type: porticov1.QueueType_QUEUE_TYPE_QUORUM, Durable: true, MaxPriority: 1}, "quorum"},
		"subject with blanks":   {&porticov1.Queue{DeadLetter: &porticov1.DeadLetter{Target: &porticov1.DeadLetter_Subject{Subject: "a b"}}}, "subject"},
		"subject with wildcard": {&porticov1.Queue{DeadLetter: &porticov1.DeadLetter{Target: &porticov1.DeadLetter_Subject{Subject: "a.*"}}}, "subject"},
	} {
		t.Run(name, func(t *testing.T) {
			test.queue.Name = "q"
			_, err := h.client.DeclareQueue(h.ctx(), &porticov1.DeclareQueueRequest{Queue: test.queue})
			want(t, err, codes.InvalidArgument, "invalid-argument")
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want it to say %q", err, test.says)
			}
		})
	}
}

// governor is a router with one policy.
type governor struct{ ttl queue.Bound }

func (g governor) Route(_ *core.Message, dst []*core.Queue) []*core.Queue { return dst }

func (g governor) Bury(_ *core.Queue, _ core.DeadLetter, _ queue.Dead, done func(error)) { done(nil) }

func (g governor) Rules(c *core.QueueConfig) core.QueueRules {
	r := c.QueueRules
	r.TTL = g.ttl
	return r
}

func TestRulesInForceAreTold(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "q", MaxLength: number(5)})
	h.bus.SetRouter(governor{queue.AtMost(60_000)})
	h.bus.Regovern()
	info := h.info("q")
	if info.GetQueue().GetMessageTtl() != nil || info.GetEffective().GetMessageTtl().AsDuration() != time.Minute ||
		info.GetEffective().GetMaxLength() != 5 || info.GetEffective().GetName() != "q" {
		t.Errorf("under a policy: %v", info)
	}
	h.bus.SetRouter(nil)
	h.bus.Regovern()
	if info := h.info("q"); info.Effective != nil {
		t.Errorf("without a policy: %v", info)
	}
}

func TestPublisherOfAFullQueueIsTold(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "q", MaxLength: number(1), Overflow: porticov1.Overflow_OVERFLOW_REJECT_PUBLISH})
	if _, err := h.client.Bind(h.ctx(), &porticov1.BindRequest{Queue: "q", Pattern: "orders.>"}); err != nil {
		t.Fatal(err)
	}
	h.append("q", "fits")
	_, err := h.client.Append(h.ctx(), &porticov1.AppendRequest{Queue: "q", Message: message("", "too much")})
	want(t, err, codes.ResourceExhausted, "resource-exhausted")
	_, err = h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: message("orders.new", "too much")})
	want(t, err, codes.ResourceExhausted, "resource-exhausted")
	stream, err := h.client.PublishStream(h.ctx())
	if err == nil {
		err = stream.Send(&porticov1.PublishStreamRequest{Id: 7, Message: message("orders.new", "too much")})
	}
	if err == nil {
		err = stream.CloseSend()
	}
	resp, recvErr := stream.Recv()
	if err = errors.Join(err, recvErr); err != nil {
		t.Fatal(err)
	}
	r := resp.GetResults()[0]
	if r.GetId() != 7 || r.GetFailure().GetReason() != "resource-exhausted" || codes.Code(r.GetFailure().GetCode()) != codes.ResourceExhausted {
		t.Errorf("in a stream: %v", resp)
	}
	if info := h.info("q"); info.GetReady() != 1 {
		t.Errorf("the queue has %v", info)
	}
}

// timed is a message with headers that count.
func timed(payload string, headers ...string) *porticov1.Message {
	m := &porticov1.Message{Data: []byte(payload), Headers: map[string]*porticov1.HeaderValues{}}
	for i := 0; i < len(headers); i += 2 {
		m.Headers[headers[i]] = &porticov1.HeaderValues{Values: []string{headers[i+1]}}
	}
	return m
}

func TestExpirationAndPriorityAreHeaders(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "dead"})
	h.declare(&porticov1.Queue{Name: "q", MaxPriority: 5, DeadLetter: toQueue("dead")})
	for _, m := range []*porticov1.Message{
		timed("plain"), timed("urgent", "Portico-Priority", "4"), timed("short-lived", "portico-expiration", "1", core.HeaderPriority, "5"),
	} {
		if _, err := h.client.Append(h.ctx(), &porticov1.AppendRequest{Queue: "q", Message: m}); err != nil {
			t.Fatal(err)
		}
	}
	dead := h.consume(&porticov1.ConsumeStart{Queue: "dead"}).next(1)[0].GetMessage()
	if string(dead.GetData()) != "short-lived" || dead.GetHeaders()[core.HeaderDeathReason].GetValues()[0] != "expired" {
		t.Errorf("dead: %v", dead)
	}
	if got := strings.Join(payloads(h.consume(&porticov1.ConsumeStart{Queue: "q"}).next(2)), " "); got != "urgent plain" {
		t.Errorf("in the order %s", got)
	}
	for name, m := range map[string]*porticov1.Message{
		"expiration": timed("x", core.HeaderExpiration, "soon"), "priority": timed("x", core.HeaderPriority, "256"),
	} {
		_, err := h.client.Append(h.ctx(), &porticov1.AppendRequest{Queue: "q", Message: m})
		want(t, err, codes.InvalidArgument, "invalid-argument")
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConsumersOfHigherPriorityComeFirst(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "q"})
	low := h.consume(&porticov1.ConsumeStart{Queue: "q", Credit: 9, Priority: -1})
	high := h.consume(&porticov1.ConsumeStart{Queue: "q", Credit: 2, Priority: 1})
	h.append("q", "1", "2", "3")
	if got := strings.Join(payloads(high.next(2)), ""); got != "12" {
		t.Errorf("the higher one got %s", got)
	}
	if got := payloads(low.next(1))[0]; got != "3" {
		t.Errorf("the lower one got %s", got)
	}
}

func TestAutoDeleteQueueIsGoneWhenItsConsumerIsTold(t *testing.T) {
	for name, end := range map[string]func(*consumer) error{
		"half-closed":    func(c *consumer) error { return c.CloseSend() },
		"protocol error": func(c *consumer) error { return c.Send(&porticov1.ConsumeRequest{}) },
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t)
			for range 20 { // it would go by itself, a moment later
				h.declare(&porticov1.Queue{Name: "q", AutoDelete: true})
				c := h.consume(&porticov1.ConsumeStart{Queue: "q"})
				if err := end(c); err != nil {
					t.Fatal(err)
				}
				if resp, err := c.Recv(); err == nil || resp != nil {
					t.Fatalf("got %v", resp)
				} else if name == "half-closed" && !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
				_, err := h.client.GetQueue(h.ctx(), &porticov1.GetQueueRequest{Queue: "q"})
				want(t, err, codes.NotFound, "not-found")
			}
		})
	}
}
