package broker

import (
	"maps"
	"time"
)

// Applied is what policies say about one exchange or queue. User and Operator are nil
// where there is none; nobody may write them.
type Applied struct {
	User, Operator *Policy
}

// Definition is the settings of both policies as one, those that management calls the
// effective policy definition: of a limit the lower value, of everything else that both
// say the operator's. It is the caller's but for nested values, and nil if no policy
// applies.
func (a Applied) Definition() map[string]any {
	if a.User == nil && a.Operator == nil {
		return nil
	}
	all := map[string]any{}
	if a.User != nil {
		maps.Copy(all, a.User.Definition)
	}
	if a.Operator == nil {
		return all
	}
	for key, v := range a.Operator.Definition {
		all[key] = mergeOperator(key, all[key], v)
	}
	return all
}

// mergeOperator is what a key comes to that a user's policy sets to user, nil for not
// at all, and an operator's to operator.
func mergeOperator(key string, user, operator any) any {
	u, isNumber := user.(int64)
	o, _ := operator.(int64)
	if !isNumber {
		return operator
	}
	switch key {
	case "message-ttl", "expires", "max-length", "max-length-bytes", "max-in-memory-length", "max-in-memory-bytes", "delivery-limit":
		return min(u, o)
	case "target-group-size":
		return max(u, o)
	}
	return operator
}

// Alternate is the alternate exchange that policies name; empty for none. An argument
// of the exchange itself goes before it, see [VHost.Alternate].
func (a Applied) Alternate() string {
	if a.User == nil {
		return "" // operators cannot name one
	}
	name, _ := a.User.Definition[alternateArg].(string)
	return name
}

// Queue returns what a queue declared with these arguments has to do under its
// policies [RMQ]:
//
//   - of message-ttl, max-length, max-length-bytes, delivery-limit and consumer-timeout
//     the lower value counts, of expires too in a classic queue;
//   - dead-letter-exchange, dead-letter-routing-key and dead-letter-strategy are the
//     declaration's, also overflow in a classic queue;
//   - the policy's go before the declaration's in a quorum queue for expires and
//     overflow, and for everything in a stream.
//
// What the result points to belongs to declared or is shared with nobody.
func (a Applied) Queue(declared QueueArguments) QueueArguments {
	m := merge{definition: a.Definition(), out: declared}
	if m.definition == nil {
		return declared
	}
	m.limits()
	switch declared.Type {
	case Classic:
		lower(&m.out.Expires, m.duration("expires"))
		m.overflow(declared.Overflow != "")
	case Quorum:
		replace(&m.out.Expires, m.duration("expires"))
		m.overflow(false)
	case Stream:
		m.stream()
	}
	m.deadLetters()
	return m.out
}

// merge puts the policies' definition into a queue's arguments.
type merge struct {
	definition map[string]any
	out        QueueArguments
}

func (m *merge) limits() {
	lower(&m.out.MessageTTL, m.duration("message-ttl"))
	lower(&m.out.ConsumerTimeout, m.duration("consumer-timeout"))
	lower(&m.out.MaxLength, m.number("max-length"))
	lower(&m.out.MaxLengthBytes, m.number("max-length-bytes"))
	lower(&m.out.DeliveryLimit, m.number("delivery-limit"))
}

func (m *merge) overflow(declared bool) {
	if name, ok := m.definition["overflow"].(string); ok && !declared {
		m.out.Overflow = overflowFor(m.out.Type, Overflow(name))
	}
}

func (m *merge) stream() {
	replace(&m.out.MaxLengthBytes, m.number("max-length-bytes"))
	replace(&m.out.MaxSegmentBytes, m.number("stream-max-segment-size-bytes"))
	replace(&m.out.FilterBytes, m.number("stream-filter-size-bytes"))
	if s, ok := m.definition["max-age"].(string); ok {
		age, _ := parseMaxAge(s)
		m.out.MaxAge = &age
	}
}

func (m *merge) deadLetters() {
	inherit(&m.out.DeadLetterExchange, m.text("dead-letter-exchange"))
	inherit(&m.out.DeadLetterRoutingKey, m.text("dead-letter-routing-key"))
	if m.out.DeadLetterExchange == nil {
		m.out.DeadLetterRoutingKey = nil
	}
	if s := m.text("dead-letter-strategy"); s != nil && m.out.DeadLetterStrategy == "" {
		m.out.DeadLetterStrategy = *s
	}
}

func (m *merge) number(key string) *int64 {
	n, ok := m.definition[key].(int64)
	if !ok {
		return nil
	}
	return &n
}

func (m *merge) duration(key string) *time.Duration {
	n := m.number(key)
	if n == nil {
		return nil
	}
	return milliseconds(*n)
}

func (m *merge) text(key string) *string {
	s, ok := m.definition[key].(string)
	if !ok {
		return nil
	}
	return &s
}

// lower sets dst to v if that is said and below what dst says.
func lower[T int64 | time.Duration](dst **T, v *T) {
	if v != nil && (*dst == nil || *v < **dst) {
		*dst = v
	}
}

// replace sets dst to v if that is said.
func replace[T any](dst **T, v *T) {
	if v != nil {
		*dst = v
	}
}

// inherit sets dst to v if dst says nothing.
func inherit[T any](dst **T, v *T) {
	if *dst == nil {
		*dst = v
	}
}
