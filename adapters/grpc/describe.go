package grpcapi

import (
	"math"
	"time"

	"portico/core"
	"portico/core/queue"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/protobuf/types/known/durationpb"
)

// queueConfig is what q describes. CodeInvalid for what it can say and no queue can be; everything else is core's to check.
func queueConfig(q *porticov1.Queue) (core.QueueConfig, error) {
	cfg := core.QueueConfig{
		Name: q.GetName(), Durable: q.GetDurable(), AutoDelete: q.GetAutoDelete(), SingleActive: q.GetSingleActiveConsumer(),
		QueueRules: core.QueueRules{
			MaxDeliveries: q.GetMaxDeliveries(), DeadLetter: fromDeadLetter(q.GetDeadLetter()),
			MaxLength: fromCount(q.MaxLength), MaxBytes: fromCount(q.MaxLengthBytes),
		},
	}
	if q.GetMaxPriority() > math.MaxUint8 {
		return cfg, badField("queue.max_priority", "%d: want 0 to %d", q.GetMaxPriority(), math.MaxUint8)
	}
	cfg.MaxPriority = uint8(q.GetMaxPriority())
	var err error
	if cfg.Type, err = fromType(q.GetType()); err != nil {
		return cfg, err
	}
	if cfg.Overflow, err = fromOverflow(q.GetOverflow()); err != nil {
		return cfg, err
	}
	if cfg.TTL, err = fromMillis("message_ttl", q.GetMessageTtl()); err != nil {
		return cfg, err
	}
	if cfg.MaxAge, err = fromMillis("max_age", q.GetMaxAge()); err != nil {
		return cfg, err
	}
	cfg.Expires, err = fromMillis("expires", q.GetExpires())
	return cfg, err
}

// toQueue is a queue's description with the rules r.
func toQueue(cfg *core.QueueConfig, r *core.QueueRules) *porticov1.Queue {
	return &porticov1.Queue{
		Name: text(cfg.Name), Type: toType(cfg.Type), Durable: cfg.Durable, AutoDelete: cfg.AutoDelete,
		MaxPriority: uint32(cfg.MaxPriority), SingleActiveConsumer: cfg.SingleActive,
		MaxDeliveries: r.MaxDeliveries, DeadLetter: toDeadLetter(r.DeadLetter), MessageTtl: toMillis(r.TTL), Expires: toMillis(r.Expires), MaxAge: toMillis(r.MaxAge),
		MaxLength: toCount(r.MaxLength), MaxLengthBytes: toCount(r.MaxBytes), Overflow: toOverflow(r.Overflow),
	}
}

func fromType(t porticov1.QueueType) (core.QueueType, error) {
	switch t {
	case porticov1.QueueType_QUEUE_TYPE_UNSPECIFIED, porticov1.QueueType_QUEUE_TYPE_CLASSIC:
		return core.ClassicQueue, nil
	case porticov1.QueueType_QUEUE_TYPE_QUORUM:
		return core.QuorumQueue, nil
	case porticov1.QueueType_QUEUE_TYPE_STREAM:
		return core.StreamQueue, nil
	}
	return "", badField("queue.type", "there is no queue type %d", t)
}

func toType(t core.QueueType) porticov1.QueueType {
	switch t {
	case core.QuorumQueue:
		return porticov1.QueueType_QUEUE_TYPE_QUORUM
	case core.StreamQueue:
		return porticov1.QueueType_QUEUE_TYPE_STREAM
	}
	return porticov1.QueueType_QUEUE_TYPE_CLASSIC
}

func fromOverflow(o porticov1.Overflow) (queue.Overflow, error) {
	switch o {
	case porticov1.Overflow_OVERFLOW_UNSPECIFIED, porticov1.Overflow_OVERFLOW_DROP_HEAD:
		return queue.DropHead, nil
	case porticov1.Overflow_OVERFLOW_REJECT_PUBLISH:
		return queue.RejectPublish, nil
	case porticov1.Overflow_OVERFLOW_REJECT_PUBLISH_DLX:
		return queue.RejectPublishDLX, nil
	}
	return 0, badField("queue.overflow", "there is no overflow %d", o)
}

func toOverflow(o queue.Overflow) porticov1.Overflow {
	switch o {
	case queue.RejectPublish:
		return porticov1.Overflow_OVERFLOW_REJECT_PUBLISH
	case queue.RejectPublishDLX:
		return porticov1.Overflow_OVERFLOW_REJECT_PUBLISH_DLX
	}
	return porticov1.Overflow_OVERFLOW_DROP_HEAD
}

// fromMillis takes a time that counts whole milliseconds.
func fromMillis(name string, d *durationpb.Duration) (queue.Bound, error) {
	if d == nil {
		return queue.Bound{}, nil
	}
	t := d.AsDuration()
	if d.CheckValid() != nil || t%time.Millisecond != 0 && t != math.MaxInt64 && t != math.MinInt64 { // those stand for what is beyond them
		return queue.Bound{}, badField("queue."+name, "want whole milliseconds")
	}
	return queue.AtMost(t.Milliseconds()), nil
}

func toMillis(b queue.Bound) *durationpb.Duration {
	if !b.Set {
		return nil
	}
	return durationpb.New(time.Duration(b.N) * time.Millisecond) // ten years at most
}

func fromCount(n *uint64) queue.Bound {
	if n == nil {
		return queue.Bound{}
	}
	return queue.AtMost(int64(min(*n, math.MaxInt64)))
}

func toCount(b queue.Bound) *uint64 {
	if !b.Set {
		return nil
	}
	n := uint64(b.N)
	return &n
}

func fromDeadLetter(d *porticov1.DeadLetter) core.DeadLetter {
	to := core.DeadLetter{Queue: d.GetQueue(), Subject: d.GetSubject()}
	if x := d.GetExchange(); x != nil {
		to.Exchange = core.Some(x.GetName())
		if x.RoutingKey != nil {
			to.RoutingKey = core.Some(x.GetRoutingKey())
		}
	}
	return to
}

func toDeadLetter(d core.DeadLetter) *porticov1.DeadLetter {
	switch {
	case d.Queue != "":
		return &porticov1.DeadLetter{Target: &porticov1.DeadLetter_Queue{Queue: text(d.Queue)}}
	case d.Subject != "":
		return &porticov1.DeadLetter{Target: &porticov1.DeadLetter_Subject{Subject: text(d.Subject)}}
	case d.Exchange.Set:
		x := &porticov1.DeadLetterExchange{Name: text(d.Exchange.V)}
		if d.RoutingKey.Set {
			key := text(d.RoutingKey.V)
			x.RoutingKey = &key
		}
		return &porticov1.DeadLetter{Target: &porticov1.DeadLetter_Exchange{Exchange: x}}
	}
	return nil
}
