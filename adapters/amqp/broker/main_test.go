package broker_test

import (
	"errors"
	"slices"
	"testing"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
)

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func declare(t fataler, v *broker.VHost, name, kind string, with ...func(*broker.Exchange)) {
	t.Helper()
	x := broker.Exchange{Name: name, Type: kind}
	for _, f := range with {
		f(&x)
	}
	if _, err := v.DeclareExchange(x); err != nil {
		t.Fatalf("declare %s: %v", name, err)
	}
}

func autoDelete(x *broker.Exchange) { x.AutoDelete = true }
func internal(x *broker.Exchange)   { x.Internal = true }
func alternate(name string) func(*broker.Exchange) {
	return func(x *broker.Exchange) { x.Arguments = wire.Table{"alternate-exchange": name} }
}

func bind(t fataler, v *broker.VHost, source, queue, key string) {
	t.Helper()
	mustBind(t, v, broker.Binding{Source: source, Destination: queue, Key: key})
}

func link(t fataler, v *broker.VHost, source, exchange, key string) {
	t.Helper()
	mustBind(t, v, broker.Binding{Source: source, Destination: exchange, ToExchange: true, Key: key})
}

func mustBind(t fataler, v *broker.VHost, b broker.Binding) {
	t.Helper()
	if _, err := v.Bind(b); err != nil {
		t.Fatalf("bind %+v: %v", b, err)
	}
}

// withHeaders are the properties of a message that has headers only.
func withHeaders(headers wire.Table) func() wire.Properties {
	return func() wire.Properties { return wire.Properties{Headers: headers} }
}

// routed is the sorted result of Route.
func routed(t fataler, v *broker.VHost, exchange, key string, headers wire.Table) []string {
	t.Helper()
	queues, err := v.Route(exchange, key, withHeaders(headers), nil)
	if err != nil {
		t.Fatalf("route %s %q: %v", exchange, key, err)
	}
	slices.Sort(queues)
	return queues
}

func expectRoute(t fataler, v *broker.VHost, exchange, key string, want ...string) {
	t.Helper()
	if got := routed(t, v, exchange, key, nil); !slices.Equal(got, want) {
		t.Fatalf("%s %q reaches %v, want %v", exchange, key, got, want)
	}
}

func expectError(t *testing.T, err error, code uint16, text string) {
	t.Helper()
	ce, ok := errors.AsType[*wire.ChanError](err)
	if !ok {
		t.Fatalf("error %v, want a channel error %d", err, code)
	}
	if ce.Code != code || ce.Text != text {
		t.Fatalf("error %d %q, want %d %q", ce.Code, ce.Text, code, text)
	}
}

func names(r broker.Removed) []string {
	var all []string
	for _, x := range r.Exchanges {
		all = append(all, x.Name)
	}
	for _, b := range r.Bindings {
		all = append(all, b.Source+">"+b.Destination)
	}
	return all
}
