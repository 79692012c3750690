package broker

import "portico/adapters/amqp/wire"

// destination is where a binding leads.
type destination struct {
	name       string
	toExchange bool
}

// bindingKey is a binding's identity within its source; args is the encoded table.
type bindingKey struct {
	destination
	key, args string
}

// matcher holds the bindings of one exchange. It is persistent: add and remove
// return another matcher and leave this one to its readers. remove is called only
// with what was added, add only with what is not in yet.
type matcher interface {
	add(k bindingKey, arguments wire.Table) matcher
	remove(k bindingKey) matcher
	// match tells r every destination that a message with these keys, at least one,
	// reaches; one may be told more than once.
	match(r *route, keys []string)
}

// newMatcher returns the empty matcher of x, nil if its type is unknown.
func newMatcher(x Exchange) matcher {
	switch x.RoutesAs() {
	case Direct:
		return direct{}
	case Fanout:
		return fanout{}
	case Topic:
		return topic{root: &topicNode{}}
	case Headers:
		return headers{}
	case ConsistentHash:
		return picker{choose: hashOn(x.Arguments)}
	case ModulusHash:
		return picker{choose: byModulus{}}
	case Random:
		return picker{choose: byChance{}}
	}
	return nil
}

// destinations counts, for each destination, the bindings that lead there from one
// point, so that it stays until the last is gone. Persistent.
type destinations struct {
	queues, exchanges pmap[int]
}

func (d destinations) empty() bool { return d.queues.len()+d.exchanges.len() == 0 }

func (d destinations) with(to destination) destinations {
	if to.toExchange {
		d.exchanges = counted(d.exchanges, to.name, +1)
	} else {
		d.queues = counted(d.queues, to.name, +1)
	}
	return d
}

func (d destinations) without(to destination) destinations {
	if to.toExchange {
		d.exchanges = counted(d.exchanges, to.name, -1)
	} else {
		d.queues = counted(d.queues, to.name, -1)
	}
	return d
}

func counted(m pmap[int], name string, by int) pmap[int] {
	n, _ := m.get(name)
	if n += by; n <= 0 {
		return m.without(name)
	}
	return m.set(name, n)
}

// direct matches keys octet for octet.
type direct struct {
	keys pmap[destinations]
}

func (m direct) add(k bindingKey, _ wire.Table) matcher {
	at, _ := m.keys.get(k.key)
	return direct{m.keys.set(k.key, at.with(k.destination))}
}

func (m direct) remove(k bindingKey) matcher {
	at, _ := m.keys.get(k.key)
	if at = at.without(k.destination); at.empty() {
		return direct{m.keys.without(k.key)}
	}
	return direct{m.keys.set(k.key, at)}
}

func (m direct) match(r *route, keys []string) {
	for _, key := range keys {
		if at, ok := m.keys.get(key); ok {
			r.reach(at)
		}
	}
}

// fanout ignores keys.
type fanout struct {
	all destinations
}

func (m fanout) add(k bindingKey, _ wire.Table) matcher { return fanout{m.all.with(k.destination)} }
func (m fanout) remove(k bindingKey) matcher            { return fanout{m.all.without(k.destination)} }
func (m fanout) match(r *route, _ []string)             { r.reach(m.all) }
