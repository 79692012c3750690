package amqp

import (
	"strings"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
	"portico/core"
	"portico/core/policy"
)

// may checks a right on an exchange or queue by all rules of the client's policy.
func (c *conn) may(a policy.Action, r policy.Resource) error {
	return c.verdict(a, r, c.bus.Decide(a, r))
}

// mayByRegex is may without the lists, for what is free to everybody by them: RabbitMQ knows no such freedom.
func (c *conn) mayByRegex(a policy.Action, r policy.Resource) error {
	return c.verdict(a, r, c.bus.Policy().ByRegex(a, r))
}

// verdict words a refusal as RabbitMQ does.
func (c *conn) verdict(a policy.Action, r policy.Resource, d policy.Decision) error {
	if d.Allowed {
		return nil
	}
	topical, byRegex := strings.HasPrefix(d.Rule, "topics"), strings.HasPrefix(d.Rule, "amqp")
	what := "exchange '" + r.Name + "'"
	switch {
	case topical:
		what = "topic '" + r.Key + "' in " + what
	case a == policy.Append && byRegex, a.Kind() == policy.Exchange && r.Name == "":
		what = "exchange '" + policy.DefaultExchange + "'"
	case a.Kind() == policy.Queue:
		what = "queue '" + r.Name + "'"
	}
	return wire.ChanErrorf(wire.AccessRefused, "%s access to %s in vhost '%s' refused for user '%s'", rightWord(a, byRegex), what, c.vhost.name, c.user)
}

// rightWord is the right that an action needs. By lists to bind a queue or an exchange is to configure it; by regular expressions it is to write to it.
func rightWord(a policy.Action, byRegex bool) string {
	switch a {
	case policy.Append, policy.WriteExchange:
		return "write"
	case policy.Consume, policy.Purge, policy.ReadExchange:
		return "read"
	case policy.Bind, policy.BindExchange:
		if byRegex {
			return "write"
		}
	}
	return "configure"
}

// mayRead checks the permission to take from q. A connection's own queue is its own, as far as lists go.
func (c *conn) mayRead(q *core.Queue, a policy.Action) error {
	cfg := q.Config()
	if cfg.Owner == c.id {
		return c.mayByRegex(a, policy.Resource{Name: cfg.Name})
	}
	return c.may(a, policy.Resource{Name: cfg.Name})
}

// mayPublish checks the permission to publish to exchange with key.
func (c *conn) mayPublish(exchange, key, subject string) error {
	if c.bus.Policy().Open() {
		return nil
	}
	if exchange != "" {
		return c.may(policy.WriteExchange, c.adapterExchange(exchange, key, subject))
	}
	r := policy.Resource{Name: key}
	if strings.HasPrefix(key, serverNamed) || strings.HasPrefix(key, replyPrefix) {
		return c.mayByRegex(policy.Append, r)
	}
	return c.may(policy.Append, r)
}

// mayAsk is what a message with reply_to needs beside the right to publish it: by lists the right to request, if there are lists of that.
func (ch *channel) mayAsk() error {
	p := ch.conn.bus.Policy()
	if !p.Asks() {
		return nil
	}
	e, k, _, _ := splitRoute(ch.in.route)
	exchange, key := string(e), string(k)
	if exchange == "" {
		return nil
	}
	if d := p.ByLists(policy.Request, policy.Resource{Name: exchangeSubject(exchange, key)}); !d.Allowed {
		return ch.conn.verdict(policy.WriteExchange, policy.Resource{Name: exchange, Key: key}, d)
	}
	return nil
}

// adapterExchange describes an exchange to a policy.
func (c *conn) adapterExchange(name, key, subject string) policy.Resource {
	x, _ := c.vhost.broker.Exchange(name)
	return policy.Resource{Name: name, Key: key, Subject: subject, ByTopic: x.RoutesAs() == broker.Topic}
}

// mayManage checks the permission to declare, bind or delete a queue. Server-named and own queues are free to everybody, as far as lists go.
func (ch *channel) mayManage(a policy.Action, name string, q *core.Queue) error {
	r := policy.Resource{Name: name}
	if strings.HasPrefix(name, serverNamed) || q != nil && q.Config().Owner == ch.conn.id {
		return ch.conn.mayByRegex(a, r)
	}
	return ch.conn.may(a, r)
}

// mayDeclareAgain is what regular expressions ask of whoever declares what is there already: to configure it, or for a passive declaration any right on it [RMQ].
func (c *conn) mayDeclareAgain(passive bool, name string, configure, write, read policy.Action) error {
	p, r := c.bus.Policy(), policy.Resource{Name: name}
	if !p.ByExchange() {
		return nil
	}
	if passive && (p.ByRegex(write, r).Allowed || p.ByRegex(read, r).Allowed) {
		return nil
	}
	return c.mayByRegex(configure, r)
}

// mayConfigure checks the permission to create, delete or feed the named exchanges: by lists that of publishing or subscribing to their subjects. Empty names are passed over.
func (ch *channel) mayConfigure(a policy.Action, exchanges ...string) error {
	for _, name := range exchanges {
		if name == "" {
			continue
		}
		if err := ch.conn.may(a, policy.Resource{Name: name, Subject: everyKeyOf(name)}); err != nil {
			return err
		}
	}
	return nil
}

// mayDeclareExchange checks what the declaration of an exchange needs. By lists whoever knows that it is there may declare it again.
func (ch *channel) mayDeclareExchange(name, alternate string) error {
	if _, exists := ch.vhost().broker.Exchange(name); exists {
		return ch.conn.mayDeclareAgain(false, name, policy.ConfigureExchange, policy.WriteExchange, policy.ReadExchange)
	}
	if err := ch.mayConfigure(policy.ConfigureExchange, name); err != nil {
		return err
	}
	return ch.mayHaveAlternate(name, alternate)
}

// mayHaveAlternate checks the permissions for an alternate exchange [RMQ: read on the exchange, write on the alternate].
func (ch *channel) mayHaveAlternate(name, alternate string) error {
	if alternate == "" {
		return nil
	}
	if err := ch.conn.mayByRegex(policy.ReadExchange, policy.Resource{Name: name}); err != nil {
		return err
	}
	r := policy.Resource{Name: alternate, Subject: everyKeyOf(alternate)}
	if err := ch.conn.verdict(policy.ConfigureExchange, r, ch.conn.bus.Policy().ByLists(policy.ConfigureExchange, r)); err != nil {
		return err
	}
	return ch.conn.mayByRegex(policy.WriteExchange, r)
}

// mayBindFrom checks the permission to hear what source routes by key.
func (ch *channel) mayBindFrom(source, key string) error {
	x, ok := ch.vhost().broker.Exchange(source)
	if !ok || source == "" {
		return nil // the broker has a better answer
	}
	p := ch.conn.bus.Policy()
	for _, subject := range boundSubjects(x, key) {
		r := policy.Resource{Name: source, Key: key, ByTopic: x.RoutesAs() == broker.Topic, Subject: subject}
		if err := ch.conn.may(policy.ReadExchange, r); err != nil {
			return err
		}
		if p.SeesPart(subject) {
			return wire.ChanErrorf(wire.AccessRefused, "read access to exchange '%s' in vhost '%s' refused for user '%s': a part of what the binding lets through is denied", source, ch.vhost().name, ch.conn.user)
		}
	}
	return nil
}

// mayBindFromByRegex is what unbinding needs of the source beside: nothing by lists, the same as binding by regular expressions [RMQ].
func (ch *channel) mayBindFromByRegex(source, key string) error {
	x, ok := ch.vhost().broker.Exchange(source)
	if !ok || source == "" {
		return nil
	}
	return ch.conn.mayByRegex(policy.ReadExchange, policy.Resource{Name: source, Key: key, ByTopic: x.RoutesAs() == broker.Topic})
}

// mayDeadLetter checks the permissions for a dead letter exchange: to take from the queue and to publish there [RMQ].
func (ch *channel) mayDeadLetter(name string, a broker.QueueArguments) error {
	if a.DeadLetterExchange == nil {
		return nil
	}
	if err := ch.mayManage(policy.Consume, name, nil); err != nil {
		return err
	}
	exchange, key := *a.DeadLetterExchange, name
	if a.DeadLetterRoutingKey != nil {
		key = *a.DeadLetterRoutingKey
	}
	if err := ch.conn.mayByRegex(policy.WriteExchange, policy.Resource{Name: exchange}); err != nil || exchange != "" && ch.conn.bus.Policy().Open() {
		return err
	}
	r, action := policy.Resource{Name: exchange, Subject: exchangeSubject(exchange, key)}, policy.WriteExchange
	if exchange == "" {
		if strings.HasPrefix(key, serverNamed) || strings.HasPrefix(key, replyPrefix) {
			return nil
		}
		r, action = policy.Resource{Name: key, Subject: core.QueueSubject(key)}, policy.Append
	}
	return ch.conn.verdict(action, r, ch.conn.bus.Policy().ByLists(action, r))
}
