package amqp

import (
	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
	"portico/core"
)

// exchangeDeclare creates an exchange, or finds an equivalent one.
func (ch *channel) exchangeDeclare(m *wire.ExchangeDeclare) error {
	v, name := ch.vhost(), broker.CleanName(m.Exchange)
	if m.Passive {
		if err := v.broker.CheckExchange(name); err != nil {
			return err
		}
		ch.answer(m.NoWait, &wire.ExchangeDeclareOk{})
		return nil
	}
	x := broker.Exchange{
		Name: name, Type: m.Type, Durable: m.Durable, AutoDelete: m.AutoDelete, Internal: m.Internal, Arguments: m.Arguments,
	}
	if _, exists := v.broker.Exchange(name); !exists {
		if err := ch.mayConfigure(name, x.Alternate()); err != nil {
			return err
		}
	}
	if err := v.declareExchange(x); err != nil {
		return err
	}
	ch.answer(m.NoWait, &wire.ExchangeDeclareOk{})
	return nil
}

// mayConfigure checks the permission to create, delete or feed the named exchanges: that of publishing or subscribing to their subjects.
// Empty names are passed over.
func (ch *channel) mayConfigure(exchanges ...string) error {
	for _, name := range exchanges {
		if name == "" {
			continue
		}
		if ch.conn.bus.Allow("publish", exchangeSubject(name, "")) == nil {
			continue
		}
		if err := ch.conn.allow("subscribe", everyKeyOf(name), "configure access to exchange '%s' in vhost '%s'", name); err != nil {
			return err
		}
	}
	return nil
}

func everyKeyOf(exchange string) string {
	if exchange == amqTopic {
		return everything
	}
	return core.EncodeToken(exchange) + "." + everything
}

// mayBindFrom checks the permission to hear what source routes by key.
func (ch *channel) mayBindFrom(source, key string) error {
	x, ok := ch.vhost().broker.Exchange(source)
	if !ok || source == "" {
		return nil // the broker has a better answer
	}
	for _, subject := range boundSubjects(x, key) {
		if err := ch.conn.allow("subscribe", subject, "read access to exchange '%s' in vhost '%s'", source); err != nil {
			return err
		}
	}
	return nil
}

// boundSubjects are the subjects whose messages a binding from x by key lets through.
func boundSubjects(x broker.Exchange, key string) []string {
	switch {
	case x.Name == amqTopic:
		return core.EncodePattern(key)
	case x.RoutesAs() == broker.Direct:
		return []string{exchangeSubject(x.Name, key)}
	}
	return []string{everyKeyOf(x.Name)}
}

// exchangeDelete deletes an exchange; that it is not there is no error [RMQ].
func (ch *channel) exchangeDelete(m *wire.ExchangeDelete) error {
	name := broker.CleanName(m.Exchange)
	if _, exists := ch.vhost().broker.Exchange(name); exists {
		if err := ch.mayConfigure(name); err != nil {
			return err
		}
	}
	if err := ch.vhost().deleteExchange(name, m.IfUnused); err != nil {
		return err
	}
	ch.answer(m.NoWait, &wire.ExchangeDeleteOk{})
	return nil
}

// exchangeBind binds an exchange to another [RMQ: exchange to exchange bindings].
func (ch *channel) exchangeBind(m *wire.ExchangeBind) error {
	b := exchangeBinding(m.Source, m.Destination, m.RoutingKey, m.Arguments)
	if err := ch.mayConfigure(b.Destination); err != nil {
		return err
	}
	if err := ch.mayBindFrom(b.Source, b.Key); err != nil {
		return err
	}
	if err := ch.vhost().bind(b); err != nil {
		return err
	}
	ch.answer(m.NoWait, &wire.ExchangeBindOk{})
	return nil
}

// exchangeUnbind takes such a binding away; that it is not there is no error.
func (ch *channel) exchangeUnbind(m *wire.ExchangeUnbind) error {
	b := exchangeBinding(m.Source, m.Destination, m.RoutingKey, m.Arguments)
	if err := ch.mayConfigure(b.Destination); err != nil {
		return err
	}
	if err := ch.vhost().unbind(b); err != nil {
		return err
	}
	ch.answer(m.NoWait, &wire.ExchangeUnbindOk{})
	return nil
}

func exchangeBinding(source, destination, key string, arguments wire.Table) broker.Binding {
	return broker.Binding{
		Source: broker.CleanName(source), Destination: broker.CleanName(destination), ToExchange: true,
		Key: key, Arguments: arguments,
	}
}
