package amqp

import (
	"strings"

	"portico/adapters/amqp/wire"
	"portico/core"
	"portico/core/policy"
	"portico/core/queue"
)

// route is where messages with one exchange and routing key go.
type route struct {
	key      string // exchange and routing key, encoded
	subject  string // on the bus; "" for the default exchange
	queues   []*core.Queue
	delays   bool   // the exchange may hold messages for a while
	topology uint64 // generations under which it is right
	bus      uint64
	policy   *policy.Policy // under which it is allowed
}

// maxRoutes bounds the routes a connection remembers.
const maxRoutes = 1024

// routeCache remembers the routes of a connection, all of them only as long as nothing has changed.
type routeCache struct {
	last *route
	all  map[string]*route
}

func (rc *routeCache) forget() { *rc = routeCache{} }

func (rc *routeCache) find(key []byte, topology, bus uint64, rules *policy.Policy) *route {
	if r := rc.last; r != nil && r.key == string(key) && r.topology == topology && r.bus == bus && r.policy == rules {
		return r
	}
	r := rc.all[string(key)]
	if r == nil || r.topology != topology || r.bus != bus || r.policy != rules {
		return nil
	}
	rc.last = r
	return r
}

func (rc *routeCache) remember(r *route) {
	if rc.all == nil || len(rc.all) >= maxRoutes {
		rc.all = map[string]*route{}
	}
	rc.all[r.key] = r
	rc.last = r
}

// publish routes m and appends it to its queues. The confirm, if any, follows from the ledger.
func (ch *channel) publish(m message) error {
	r, err := ch.route(m)
	if err != nil {
		return err
	}
	if r.delays && ch.hold(r, m, func() (queue.Publisher, uint64) { return &ch.ledger, ch.ledger.open(1, len(m.record.Data)) }) {
		return nil
	}
	live := ch.live(r)
	if len(r.queues) > 0 {
		if err := ch.conn.bus.Admit(len(r.queues)); err != nil {
			return ch.refuse(m, err)
		}
		seq := ch.ledger.open(len(r.queues), len(m.record.Data))
		for _, q := range r.queues {
			q.Append(m.record, &ch.ledger, seq)
		}
		if live {
			ch.publishLive(r.subject, m.record.Data)
		}
		return nil
	}
	reached, err := ch.elsewhere(r, m, live)
	if err != nil {
		return err
	}
	if !reached && m.mandatory {
		ch.giveBack(m.record.Data)
	}
	ch.ledger.skip()
	return nil
}

// refuse tells that the tenant may not keep m: by a nack, or where nothing is confirmed by an exception, for then it would be lost without a word.
func (ch *channel) refuse(m message, why error) error {
	if !ch.ledger.inConfirmMode() {
		return wire.ChanErrorf(wire.PreconditionFailed, "message to vhost '%s' refused: %s", ch.vhost().name, core.AsError(why).Detail)
	}
	ch.ledger.Appended([]uint64{ch.ledger.open(1, len(m.record.Data))}, why)
	return nil
}

// live tells whether anybody on the bus listens to r.
func (ch *channel) live(r *route) bool {
	return r.subject != "" && ch.conn.bus.Interest(r.subject)
}

// elsewhere delivers a message that no queue takes: to listeners on the bus, or as an answer by direct reply-to.
func (ch *channel) elsewhere(r *route, m message, live bool) (reached bool, err error) {
	if live {
		return ch.publishLive(r.subject, m.record.Data), nil
	}
	if r.subject != "" {
		return false, nil
	}
	_, key, _, _ := splitRoute([]byte(r.key))
	token, ok := strings.CutPrefix(string(key), replyPrefix)
	if !ok {
		return false, nil
	}
	return ch.conn.vhost.replies.answer(token, m.record.Data)
}

// publishLive puts one copy on the bus.
func (ch *channel) publishLive(subject string, record []byte) bool {
	m, err := liveMessage(subject, record)
	if err == nil {
		err = ch.conn.vhost.bus.PublishLive(m)
	}
	if err != nil {
		ch.conn.log.Warn("publish to the bus", "subject", subject, "error", err)
		return false
	}
	return true
}

// giveBack returns an unroutable mandatory message [0-9-1 basic.return].
func (ch *channel) giveBack(record []byte) {
	e, err := core.OpenEnvelope(record)
	if err != nil {
		return
	}
	exchange, key, raw, _ := splitProps(e.Props)
	out := ch.conn.out
	b := out.begin()
	b = wire.AppendMethod(b, ch.id, &wire.BasicReturn{
		ReplyCode: wire.NoRoute, ReplyText: "NO_ROUTE", Exchange: string(exchange), RoutingKey: string(key),
	})
	b = wire.AppendHeader(b, ch.id, wire.ClassBasic, uint64(len(e.Data)), raw)
	out.end(wire.AppendBody(b, ch.id, e.Data, ch.conn.frameMax))
}

// route finds where m goes, from memory if nothing has changed. The error is a *wire.ChanError.
func (ch *channel) route(m message) (*route, error) {
	if len(m.extra) > 0 {
		return ch.routeCopies(m)
	}
	topology, bus := ch.conn.vhost.broker.Generation(), ch.conn.bus.Generation()
	rules := ch.conn.bus.Policy() // before it is asked
	if r := ch.conn.routes.find(m.route, topology, bus, rules); r != nil {
		return r, nil
	}
	r, byHeaders, err := ch.findRoute(string(m.route), m.record.Data)
	if err != nil {
		return nil, err
	}
	r.topology, r.bus, r.policy = topology, bus, rules
	if !byHeaders {
		ch.conn.routes.remember(r)
	}
	return r, nil
}

// findRoute asks the broker and the bus. byHeaders: the answer holds for this message alone.
func (ch *channel) findRoute(encoded string, record []byte) (r *route, byHeaders bool, err error) {
	c := ch.conn
	e, k, _, _ := splitRoute([]byte(encoded))
	exchange, key := string(e), string(k)
	r = &route{key: encoded, subject: exchangeSubject(exchange, key)}
	if err := c.mayPublish(exchange, key, r.subject); err != nil {
		return nil, false, err
	}
	properties := func() wire.Properties {
		byHeaders = true
		return recordProperties(record)
	}
	names, err := c.vhost.broker.Route(exchange, key, properties, nil)
	if err != nil {
		return nil, false, err
	}
	r.queues, r.delays = c.vhost.lookUp(names, nil), c.vhost.delays(exchange)
	if routed := len(r.queues); r.subject != "" {
		r.queues = c.bus.Bound(r.subject, r.queues)
		if routed > 0 && len(r.queues) > routed {
			r.queues = distinct(r.queues)
		}
	}
	return r, byHeaders, nil
}

// routeCopies finds the queues of all of m's routing keys, each once.
func (ch *channel) routeCopies(m message) (*route, error) {
	c := ch.conn
	e, k, _, _ := splitRoute(m.route)
	exchange, keys := string(e), append([]string{string(k)}, m.extra...)
	for _, key := range keys {
		if err := c.mayPublish(exchange, key, exchangeSubject(exchange, key)); err != nil {
			return nil, err
		}
	}
	names, err := c.vhost.broker.RouteKeys(exchange, keys, func() wire.Properties { return recordProperties(m.record.Data) }, nil)
	if err != nil {
		return nil, err
	}
	r := &route{key: string(m.route), subject: exchangeSubject(exchange, keys[0]), delays: c.vhost.delays(exchange), queues: c.vhost.lookUp(names, nil)}
	for i, key := range keys {
		subject := exchangeSubject(exchange, key)
		if subject == "" {
			break
		}
		r.queues = c.bus.Bound(subject, r.queues)
		if i > 0 && c.bus.Interest(subject) {
			ch.publishLive(subject, m.record.Data)
		}
	}
	r.queues = distinct(r.queues)
	return r, nil
}

// distinct drops repetitions in place.
func distinct(queues []*core.Queue) []*core.Queue {
	kept := queues[:0]
	seen := make(map[*core.Queue]struct{}, len(queues))
	for _, q := range queues {
		if _, twice := seen[q]; !twice {
			seen[q] = struct{}{}
			kept = append(kept, q)
		}
	}
	return kept
}

// serverNamed is how the names of queues begin that the server has named. Like inboxes, they are not to be guessed, and whoever was told one
// may answer there.
const serverNamed = "amq.gen-"

// recordProperties decodes the properties of a record made here.
func recordProperties(record []byte) wire.Properties {
	e, err := core.OpenEnvelope(record)
	if err != nil {
		return wire.Properties{}
	}
	_, _, raw, _ := splitProps(e.Props)
	p, err := wire.DecodeProperties(raw)
	if err != nil {
		return wire.Properties{}
	}
	return p
}
