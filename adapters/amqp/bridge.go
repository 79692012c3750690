package amqp

import (
	"strings"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
	"portico/core"
)

// amqTopic is the exchange whose routing keys are the bus's subjects, both ways. Any other exchange has the subjects
// below its own name.
const amqTopic = "amq.topic"

// exchangeSubject is where a message published to exchange with key is heard on the bus: "" for the default exchange, which is not on it.
func exchangeSubject(exchange, key string) string {
	switch exchange {
	case "":
		return ""
	case amqTopic:
		return core.EncodeKey(key)
	}
	return core.EncodeToken(exchange) + "." + bareSubject(key)
}

// everything is the pattern of all subjects.
const everything = ">"

// bareSubject is the subject of a key that stands behind an exchange's name, where no first word is reserved.
func bareSubject(key string) string {
	if strings.HasPrefix(key, "$") || strings.HasPrefix(key, "_INBOX") {
		return strings.TrimPrefix(core.EncodeKey("x."+key), "x.")
	}
	return core.EncodeKey(key)
}

// bareKey undoes bareSubject.
func bareKey(subject string) string {
	key, _ := core.DecodeKey("x." + subject)
	return strings.TrimPrefix(key, "x.")
}

// subjectExchange is the exchange, other than amq.topic, that subject belongs to, with the key there.
func (v *vhost) subjectExchange(subject string) (exchange, key string, ok bool) {
	token, rest, found := strings.Cut(subject, ".")
	if !found {
		return "", "", false
	}
	name, ok := core.DecodeToken(token)
	if !ok || name == "" || name == amqTopic {
		return "", "", false
	}
	if _, ok := v.broker.Exchange(name); !ok {
		return "", "", false
	}
	return name, bareKey(rest), true
}

// Owner implements core.Owner. Of a pattern the key is one of bindings.
func (v *vhost) Owner(subject string) (exchange, key string, byTopic, ok bool) {
	head, rest := strings.CutSuffix(subject, ">")
	if exchange, key, ok = v.subjectExchange(head); !ok {
		return "", "", false, false
	}
	if rest {
		key += "#"
	}
	x, _ := v.broker.Exchange(exchange)
	return exchange, key, x.RoutesAs() == broker.Topic, true
}

// Route implements core.Router: the queues that exchanges lead m to. m came in by another door, or from a NATS or MQTT client.
func (v *vhost) Route(m *core.Message, dst []*core.Queue) []*core.Queue {
	properties := func() wire.Properties { return headerProperties(m.Header) }
	var names []string
	if exchange, key, ok := v.subjectExchange(m.Subject); ok {
		names = v.broker.RouteFrom(exchange, key, properties, names)
	}
	key, _ := core.DecodeKey(m.Subject)
	names = v.broker.RouteFrom(amqTopic, key, properties, names)
	return v.lookUp(names, dst)
}

// lookUp appends the queues of those names that exist.
func (v *vhost) lookUp(names []string, dst []*core.Queue) []*core.Queue {
	for _, name := range names {
		if q := v.bus.Lookup(name); q != nil {
			dst = append(dst, q)
		}
	}
	return dst
}

// bindingPatterns are the subjects on which native clients' publishes may concern b. They may be wider than the binding: the broker looks again.
func bindingPatterns(b broker.Binding) []string { return busPatterns(b.Source, b.Key) }

// exchangePatterns are those that x needs by itself: with an alternate exchange it passes on what nothing is bound for.
func (v *vhost) exchangePatterns(x broker.Exchange) []string {
	if x.Alternate() == "" && v.policies.ForExchange(x.Name).Alternate() == "" {
		return nil
	}
	return busPatterns(x.Name, "#")
}

// busPatterns is one pattern for all of an exchange's keys, since no other subjects lie below its name; amq.topic has the whole bus below it.
func busPatterns(exchange, key string) []string {
	switch exchange {
	case "":
		return nil
	case amqTopic:
		return core.EncodePattern(key)
	}
	return []string{everyKeyOf(exchange)}
}

// alternatePatterns are those of all exchanges with an alternate exchange.
func (v *vhost) alternatePatterns() (all []string) {
	for _, x := range v.broker.Exchanges() {
		all = append(all, v.exchangePatterns(x)...)
	}
	return all
}

// allPatterns are the patterns of the whole topology, each as often as something needs it.
func (v *vhost) allPatterns() []string {
	all := v.alternatePatterns()
	for _, b := range v.broker.Bindings() {
		all = append(all, bindingPatterns(b)...)
	}
	return all
}
