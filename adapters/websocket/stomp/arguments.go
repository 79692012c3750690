package stomp

import (
	"math"
	"strconv"
	"strings"
	"time"

	"portico/core"
	"portico/core/queue"
)

// describesQueue tells whether a header says how a queue is to be made.
func describesQueue(name string) bool {
	switch name {
	case "durable", "auto-delete", "exclusive",
		"x-queue-name", "x-queue-type", "x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes", "x-overflow", "x-max-priority", "x-max-age",
		"x-delivery-limit", "x-single-active-consumer", "x-dead-letter-exchange", "x-dead-letter-routing-key", "x-dead-letter-strategy",
		"x-queue-version", "x-queue-mode", "x-stream-max-segment-size-bytes", "x-initial-cluster-size", "x-queue-leader-locator":
		return true
	}
	return false
}

// described tells whether a frame says anything of the queue it names.
func described(f *Frame) bool {
	for _, x := range f.Fields {
		if describesQueue(x.Name) && x.Name != "x-queue-name" && x.Name != "exclusive" {
			return true
		}
	}
	return false
}

// describe reads the headers of f that describe the queue called name.
func describe(f *Frame, name string, durable bool) (cfg core.QueueConfig, err error) {
	cfg.Name = name
	if f.Command != "SEND" { // of a SEND it is the message that persists
		if durable, err = f.flag("persistent", durable); err != nil {
			return cfg, err
		}
	}
	if cfg.Durable, err = f.flag("durable", durable); err != nil {
		return cfg, err
	}
	if cfg.AutoDelete, err = f.flag("auto-delete", !cfg.Durable); err != nil {
		return cfg, err
	}
	if cfg.SingleActive, err = f.flag("x-single-active-consumer", false); err != nil {
		return cfg, err
	}
	switch t := f.Get("x-queue-type"); t {
	case "", "classic":
	default:
		cfg.Type = core.QueueType(t)
	}
	if err := f.numbers(&cfg); err != nil {
		return cfg, err
	}
	if to, set := f.Lookup("x-dead-letter-exchange"); set {
		cfg.DeadLetter.Exchange = core.Some(to)
	}
	if key, set := f.Lookup("x-dead-letter-routing-key"); set {
		cfg.DeadLetter.RoutingKey = core.Some(key)
	}
	if o, set := f.Lookup("x-overflow"); set {
		if err := cfg.Overflow.UnmarshalText([]byte(o)); err != nil {
			return cfg, core.Errorf(core.CodeInvalid, "header x-overflow is %.32q: want drop-head, reject-publish or reject-publish-dlx", o)
		}
	}
	return cfg, f.maxAge(&cfg)
}

func (f *Frame) numbers(cfg *core.QueueConfig) error {
	for name, bound := range map[string]*queue.Bound{
		"x-message-ttl": &cfg.TTL, "x-expires": &cfg.Expires, "x-max-length": &cfg.MaxLength, "x-max-length-bytes": &cfg.MaxBytes,
	} {
		n, set, err := f.number(name, 0, math.MaxInt64)
		if err != nil {
			return err
		}
		*bound = queue.Bound{Set: set, N: n}
	}
	n, _, err := f.number("x-max-priority", 0, 255)
	if err != nil {
		return err
	}
	cfg.MaxPriority = uint8(n)
	n, _, err = f.number("x-delivery-limit", 0, math.MaxUint32)
	cfg.MaxDeliveries = uint32(n)
	return err
}

// ageUnits are RabbitMQ's.
const ageUnits = "YMDhms"

// maxAge reads x-max-age: a number with a unit.
func (f *Frame) maxAge(cfg *core.QueueConfig) error {
	text, set := f.Lookup("x-max-age")
	if !set {
		return nil
	}
	bad := core.Errorf(core.CodeInvalid, "header x-max-age is %.32q: want a number and one of Y, M, D, h, m and s", text)
	if text == "" {
		return bad
	}
	n, err := strconv.ParseUint(text[:len(text)-1], 10, 31)
	unit := strings.IndexByte(ageUnits, text[len(text)-1])
	if err != nil || unit < 0 {
		return bad
	}
	const day = 24 * time.Hour
	each := [...]time.Duration{365 * day, 30 * day, day, time.Hour, time.Minute, time.Second}[unit]
	cfg.MaxAge = queue.AtMost(int64(n) * each.Milliseconds())
	return nil
}

// offset reads x-stream-offset: first, last, next, offset=N or timestamp=SECONDS; RabbitMQ's default is next.
func (f *Frame) offset() (queue.Offset, error) {
	text, set := f.Lookup("x-stream-offset")
	switch text {
	case "first":
		return queue.Offset{From: queue.FromFirst}, nil
	case "last":
		return queue.Offset{From: queue.FromLast}, nil
	case "next":
		return queue.Offset{From: queue.FromNext}, nil
	}
	kind, digits, _ := strings.Cut(text, "=")
	n, err := strconv.ParseUint(digits, 10, 62)
	switch {
	case !set:
		return queue.Offset{}, nil
	case err == nil && kind == "offset":
		return queue.Offset{From: queue.FromNumber, Number: n + 1}, nil
	case err == nil && kind == "timestamp":
		return queue.Offset{From: queue.FromTime, Time: time.Unix(int64(n), 0)}, nil
	}
	return queue.Offset{}, core.Errorf(core.CodeInvalid, "header x-stream-offset is %.64q: want first, last, next, offset=N or timestamp=SECONDS", text)
}
