package broker

import (
	"slices"

	"portico/adapters/amqp/wire"
)

// Route appends to dst the names of the queues that a message published to
// exchange with key reaches, each once and none that dst already holds, in no
// particular order, and returns dst, which stays the caller's.
//
// properties is called at most once, and only when the answer is for this one
// message: an exchange is met that has bindings to tell apart by headers or other
// properties (headers, x-consistent-hash on a header or property), or by chance
// (x-random). A result without that call depends on exchange and key alone and is
// good as long as [VHost.Generation], read before Route, stays the same. properties
// may be nil for a message without.
//
// The default exchange leads to exactly the queue named key (dst then holds key
// itself); whether there is one the caller knows. Exchange-to-exchange bindings and alternate exchanges are
// followed, each exchange once. Delays are the caller's, see [Exchange.Delay]; an
// exchange of type x-delayed-message that another leads to does not delay.
//
// The error is a *wire.ChanError: 404 if there is no such exchange, 403 if it is
// internal; dst comes back as it was. Route takes no lock.
func (v *VHost) Route(exchange, key string, properties func() wire.Properties, dst []string) ([]string, error) {
	r := v.borrow()
	defer v.giveBack(r)
	r.one[0] = key
	return v.routeKeys(r, exchange, r.one[:], properties, dst)
}

// RouteKeys is [VHost.Route] for a message with several keys: the one it was
// published with, then CC and BCC. That is more than a Route for each: an alternate
// exchange is for messages of which no key matches, and an exchange that picks one
// destination picks one, by the first key. keys is not kept; without any the message
// reaches nothing.
func (v *VHost) RouteKeys(exchange string, keys []string, properties func() wire.Properties, dst []string) ([]string, error) {
	r := v.borrow()
	defer v.giveBack(r)
	return v.routeKeys(r, exchange, keys, properties, dst)
}

func (v *VHost) routeKeys(r *route, exchange string, keys []string, properties func() wire.Properties, dst []string) ([]string, error) {
	snap := v.snap.Load()
	x, ok := snap.exchanges.get(exchange)
	if !ok {
		return dst, v.noExchange(exchange)
	}
	if x.Internal {
		return dst, wire.ChanErrorf(wire.AccessRefused,
			"cannot publish to internal exchange '%s' in vhost '%s'", exchange, v.name)
	}
	return r.run(snap, x, keys, properties, dst), nil
}

// RouteFrom is [VHost.Route] for messages that no AMQP publisher sent, such as
// those from the bus: an exchange that does not exist leads nowhere, an internal
// one is like any other.
func (v *VHost) RouteFrom(exchange, key string, properties func() wire.Properties, dst []string) []string {
	snap := v.snap.Load()
	x, ok := snap.exchanges.get(exchange)
	if !ok {
		return dst
	}
	r := v.borrow()
	defer v.giveBack(r)
	r.one[0] = key
	return r.run(snap, x, r.one[:], properties, dst)
}

func (v *VHost) borrow() *route {
	if r, ok := v.routes.Get().(*route); ok {
		return r
	}
	return &route{}
}

func (v *VHost) giveBack(r *route) {
	r.reset()
	v.routes.Put(r)
}

// route is the work of one Route call, reused through VHost.routes.
type route struct {
	snap   *snapshot
	queues bag[string]    // over the caller's dst
	seen   bag[*exchange] // in the order of visits, also those still to come
	found  bool           // the exchange being visited has a match

	load   func() wire.Properties // nil when called
	loaded wire.Properties

	one [1]string // the keys of a message with one

	topic        topicWalk
	token, value []byte // scratch of headers
}

func (r *route) run(snap *snapshot, x *exchange, keys []string, properties func() wire.Properties, dst []string) []string {
	r.snap, r.load = snap, properties
	r.queues.list = dst
	if x.Name == "" {
		for _, key := range keys {
			r.queues.add(key)
		}
	} else if len(keys) > 0 {
		r.visit(x, keys)
	}
	dst = r.queues.list
	r.queues.list = nil // the caller's
	return dst
}

// visit walks the exchanges that a message to x passes, breadth first.
func (r *route) visit(x *exchange, keys []string) {
	r.seen.add(x)
	for i := 0; i < len(r.seen.list); i++ {
		x = r.seen.list[i]
		r.found = false
		x.matcher.match(r, keys)
		if !r.found && x.alternate != "" {
			r.pass(x.alternate)
		}
	}
}

// pass has the exchange of that name visited, if there is one.
func (r *route) pass(name string) {
	if x, ok := r.snap.exchanges.get(name); ok {
		r.seen.add(x)
	}
}

// reach takes all of d. Names within d differ, so the first need no comparison.
func (r *route) reach(d destinations) {
	if d.queues.len() > 0 {
		r.found = true
		if len(r.queues.list) == 0 {
			r.queues.list = appendKeys(r.queues.list, d.queues.root)
		} else {
			d.queues.each(func(name string, _ int) { r.queues.add(name) })
		}
	}
	if d.exchanges.len() > 0 {
		r.found = true
		d.exchanges.each(func(name string, _ int) { r.pass(name) })
	}
}

func appendKeys(dst []string, n *pnode[int]) []string {
	for i := range n.slots {
		if s := &n.slots[i]; s.sub != nil {
			dst = appendKeys(dst, s.sub)
		} else {
			dst = append(dst, s.key)
		}
	}
	return dst
}

func (r *route) reachOne(to destination) {
	r.found = true
	if to.toExchange {
		r.pass(to.name)
	} else {
		r.queues.add(to.name)
	}
}

// properties are the message's, asked for once.
func (r *route) properties() *wire.Properties {
	if r.load != nil {
		r.loaded, r.load = r.load(), nil
	}
	return &r.loaded
}

// reset lets go of all that belongs to a message or a snapshot.
func (r *route) reset() {
	r.snap, r.load, r.loaded = nil, nil, wire.Properties{}
	r.one[0] = ""
	r.queues.reset()
	r.seen.reset()
	if cap(r.token)+cap(r.value) > keepBytes {
		r.token, r.value = nil, nil
	}
}

const (
	scanLimit = 24 // up to here looking through a list beats hashing

	// Scratch above this is left to the collector.
	keepItems = 1 << 9
	keepIndex = 1 << 14
	keepBytes = 1 << 16
)

// bag is a list without doubles, of values in the order in which they came. The
// list may be replaced or appended to directly as long as index is empty.
type bag[K comparable] struct {
	list  []K
	index map[K]struct{} // of list, once that is longer than scanLimit
}

// add appends k unless it is there and says whether it did.
func (b *bag[K]) add(k K) bool {
	if len(b.list) <= scanLimit {
		if slices.Contains(b.list, k) {
			return false
		}
		b.list = append(b.list, k)
		return true
	}
	if len(b.index) == 0 {
		b.fill()
	}
	before := len(b.index)
	b.index[k] = struct{}{}
	if len(b.index) == before {
		return false
	}
	b.list = append(b.list, k)
	return true
}

func (b *bag[K]) fill() {
	if b.index == nil {
		b.index = make(map[K]struct{}, 2*len(b.list))
	}
	for _, k := range b.list {
		b.index[k] = struct{}{}
	}
}

func (b *bag[K]) reset() {
	b.list = trimmed(b.list)
	if len(b.index) > keepIndex {
		b.index = nil
	}
	clear(b.index)
}

// trimmed empties a scratch list and lets go of what it held.
func trimmed[T any](list []T) []T {
	if cap(list) > keepItems {
		return nil
	}
	clear(list[:cap(list)])
	return list[:0]
}
