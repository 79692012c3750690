package amqp

import (
	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
	"portico/core"
	"portico/core/policy"
)

// exchangeDeclare creates an exchange, or finds an equivalent one.
func (ch *channel) exchangeDeclare(m *wire.ExchangeDeclare) error {
	v, name := ch.vhost(), broker.CleanName(m.Exchange)
	if m.Passive {
		if err := v.broker.CheckExchange(name); err != nil {
			return err
		}
		if err := ch.conn.mayDeclareAgain(true, name, policy.ConfigureExchange, policy.WriteExchange, policy.ReadExchange); err != nil {
			return err
		}
		ch.answer(m.NoWait, &wire.ExchangeDeclareOk{})
		return nil
	}
	x := broker.Exchange{
		Name: name, Type: m.Type, Durable: m.Durable, AutoDelete: m.AutoDelete, Internal: m.Internal, Arguments: m.Arguments,
	}
	if err := ch.mayDeclareExchange(name, x.Alternate()); err != nil {
		return err
	}
	if err := v.declareExchange(x); err != nil {
		return err
	}
	ch.answer(m.NoWait, &wire.ExchangeDeclareOk{})
	return nil
}

func everyKeyOf(exchange string) string {
	if exchange == amqTopic {
		return everything
	}
	return core.EncodeToken(exchange) + "." + everything
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
		if err := ch.mayConfigure(policy.ConfigureExchange, name); err != nil {
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
	if err := ch.mayConfigure(policy.BindExchange, b.Destination); err != nil {
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
	if err := ch.mayConfigure(policy.BindExchange, b.Destination); err != nil {
		return err
	}
	if err := ch.mayBindFromByRegex(b.Source, b.Key); err != nil {
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
