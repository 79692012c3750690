package broker

import (
	"cmp"
	"slices"
	"strings"

	"portico/adapters/amqp/wire"
)

// The exchange types [0-9-1 3.1.3], and those that RabbitMQ has as plugins.
const (
	Direct  = "direct"
	Fanout  = "fanout"
	Topic   = "topic"
	Headers = "headers"

	// ConsistentHash sends a message to one destination, chosen by a hash of its key,
	// a header or a property; a binding's key is its weight.
	ConsistentHash = "x-consistent-hash"
	// ModulusHash sends a message to one destination, chosen by a hash of its key.
	ModulusHash = "x-modulus-hash"
	// Random sends a message to one destination, any.
	Random = "x-random"
	// DelayedMessage holds messages back (see [Exchange.Delay]) and routes as the type
	// in its argument x-delayed-type.
	DelayedMessage = "x-delayed-message"
)

const (
	reservedPrefix = "amq."
	alternateArg   = "alternate-exchange"
	delayedTypeArg = "x-delayed-type"
)

// Exchange is what a client declared. Arguments are the declarer's own table; from
// the call that hands it over it is shared and nobody may write it.
type Exchange struct {
	Name, Type string
	// Durable exchanges are for the caller to keep over a restart.
	Durable bool
	// AutoDelete exchanges go with the last binding that has them as source, never
	// before they had one.
	AutoDelete bool
	// Internal exchanges take messages from other exchanges only.
	Internal  bool
	Arguments wire.Table
}

// RoutesAs is the type by whose rules x matches bindings: its own, or for
// [DelayedMessage] the one in x-delayed-type.
func (x Exchange) RoutesAs() string {
	if x.Type != DelayedMessage {
		return x.Type
	}
	return bytesOrString(x.Arguments[delayedTypeArg])
}

// Alternate is the name in the argument alternate-exchange, where messages go that
// match no binding of x; empty when there is none. A policy may name another, see
// [VHost.Alternate].
func (x Exchange) Alternate() string {
	name, _ := x.Arguments[alternateArg].(string)
	return name
}

// Binding leads from the exchange Source to a queue, or to an exchange if
// ToExchange is set. All fields together are its identity, arguments by value and
// type; no and empty arguments are the same. Arguments are shared as those of
// [Exchange] are.
type Binding struct {
	Source, Destination string
	ToExchange          bool
	Key                 string
	Arguments           wire.Table
}

// Removed lists all that a call took away, the thing asked for and what went with
// it, so that the caller can take it out of its store too. Each once, sorted by name.
type Removed struct {
	Exchanges []Exchange
	Bindings  []Binding
}

func (r *Removed) sort() {
	slices.SortFunc(r.Exchanges, compareExchanges)
	slices.SortFunc(r.Bindings, compareBindings)
}

func compareExchanges(a, b Exchange) int { return strings.Compare(a.Name, b.Name) }

func compareBindings(a, b Binding) int {
	order := cmp.Or(
		strings.Compare(a.Source, b.Source),
		strings.Compare(a.Destination, b.Destination),
		strings.Compare(a.Key, b.Key),
	)
	if order == 0 {
		order = strings.Compare(a.encoded(), b.encoded())
	}
	return order
}

// predeclared are the exchanges of every virtual host [0-9-1 3.1.3.1-4, RMQ].
func predeclared() []Exchange {
	return []Exchange{
		{Name: "", Type: Direct, Durable: true},
		{Name: "amq.direct", Type: Direct, Durable: true},
		{Name: "amq.fanout", Type: Fanout, Durable: true},
		{Name: "amq.topic", Type: Topic, Durable: true},
		{Name: "amq.match", Type: Headers, Durable: true},
		{Name: "amq.headers", Type: Headers, Durable: true},
		{Name: "amq.rabbitmq.trace", Type: Topic, Durable: true, Internal: true},
	}
}

// CleanName is name without carriage returns and line feeds, which RabbitMQ takes
// out of the names of exchanges and queues rather than refuse them.
func CleanName(name string) string {
	if !strings.ContainsAny(name, "\r\n") {
		return name
	}
	return strings.NewReplacer("\r", "", "\n", "").Replace(name)
}
