package amqp

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
	"portico/core"
)

// bindingInfo is a binding as it is told.
type bindingInfo struct {
	Source          string         `json:"source"`
	Vhost           string         `json:"vhost"`
	Destination     string         `json:"destination"`
	DestinationType string         `json:"destination_type"` // queue or exchange
	RoutingKey      string         `json:"routing_key"`
	Arguments       map[string]any `json:"arguments"`
	PropertiesKey   string         `json:"properties_key"`
}

// The values of bindingInfo.DestinationType.
const (
	toQueue    = "queue"
	toExchange = "exchange"
)

func (v *vhost) bindingInfo(b broker.Binding) bindingInfo {
	kind := toQueue
	if b.ToExchange {
		kind = toExchange
	}
	return bindingInfo{
		Source: b.Source, Vhost: v.name, Destination: b.Destination, DestinationType: kind, RoutingKey: b.Key,
		Arguments: shownTable(b.Arguments), PropertiesKey: propertiesKey(b),
	}
}

// propertiesKey tells the bindings between one source and one destination apart: the routing key, escaped, and with arguments a hash of them; "~" for neither.
func propertiesKey(b broker.Binding) string {
	key := strings.ReplaceAll(url.QueryEscape(b.Key), "~", "%7E")
	if len(b.Arguments) == 0 {
		return cmp.Or(key, "~")
	}
	table, err := wire.AppendTable(nil, b.Arguments)
	if err != nil {
		return key // cannot be: the broker refuses such arguments
	}
	sum := sha256.Sum256(table)
	return key + "~" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// allBindings are all bindings, those of the default exchange to every queue too.
func (v *vhost) allBindings() []broker.Binding {
	var all []broker.Binding
	for _, q := range v.bus.Queues() {
		all = append(all, broker.Binding{Destination: q.Name(), Key: q.Name()})
	}
	return append(all, v.broker.Bindings()...)
}

// bindingList answers with the bindings that keep wants.
func (c *call) bindingList(keep func(broker.Binding) bool) (int, any, error) {
	all := []bindingInfo{}
	for _, b := range c.vhost.allBindings() {
		if keep(b) {
			all = append(all, c.vhost.bindingInfo(b))
		}
	}
	return http.StatusOK, all, nil
}

// bindings: GET bindings.
func (c *call) bindings() (int, any, error) {
	return c.bindingList(func(broker.Binding) bool { return true })
}

// queueBindings: GET queues/{name}/bindings.
func (c *call) queueBindings() (int, any, error) {
	q, err := c.queueNamed(0)
	if err != nil {
		return 0, nil, err
	}
	return c.bindingList(func(b broker.Binding) bool { return !b.ToExchange && b.Destination == q.Name() })
}

// bindingsFrom: GET exchanges/{name}/bindings/source.
func (c *call) bindingsFrom() (int, any, error) {
	x, err := c.exchangeNamed(0)
	if err != nil {
		return 0, nil, err
	}
	return c.bindingList(func(b broker.Binding) bool { return b.Source == x.Name })
}

// bindingsTo: GET exchanges/{name}/bindings/destination.
func (c *call) bindingsTo() (int, any, error) {
	x, err := c.exchangeNamed(0)
	if err != nil {
		return 0, nil, err
	}
	return c.bindingList(func(b broker.Binding) bool { return b.ToExchange && b.Destination == x.Name })
}

// ends are the two sides of a binding that the path names.
func (c *call) ends(toExchange bool) (b broker.Binding, err error) {
	source, err := c.exchangeNamed(0)
	if err != nil {
		return b, err
	}
	b = broker.Binding{Source: source.Name, ToExchange: toExchange}
	if toExchange {
		x, err := c.exchangeNamed(1)
		b.Destination = x.Name
		return b, err
	}
	q, err := c.queueNamed(1)
	if err == nil {
		b.Destination = q.Name()
	}
	return b, err
}

// between lists the bindings between two ends.
func (c *call) between(toExchange bool) (int, any, error) {
	ends, err := c.ends(toExchange)
	if err != nil {
		return 0, nil, err
	}
	return c.bindingList(func(b broker.Binding) bool { return joins(ends, b) })
}

func joins(ends, b broker.Binding) bool {
	return b.Source == ends.Source && b.Destination == ends.Destination && b.ToExchange == ends.ToExchange
}

// found is the binding that the path names with its properties key.
func (c *call) found(toExchange bool) (broker.Binding, error) {
	ends, err := c.ends(toExchange)
	if err != nil {
		return ends, err
	}
	all := slices.DeleteFunc(c.vhost.allBindings(), func(b broker.Binding) bool { return !joins(ends, b) })
	for _, matches := range []func(broker.Binding) bool{
		func(b broker.Binding) bool { return propertiesKey(b) == c.names[2] },
		func(b broker.Binding) bool { return len(b.Arguments) == 0 && b.Key == c.names[2] }, // of a client that has not escaped it again
	} {
		if i := slices.IndexFunc(all, matches); i >= 0 {
			return all[i], nil
		}
	}
	return ends, core.Errorf(core.CodeNotFound, "no binding with the properties key %q", c.names[2])
}

// one answers with the binding that the path names.
func (c *call) one(toExchange bool) (int, any, error) {
	b, err := c.found(toExchange)
	return http.StatusOK, c.vhost.bindingInfo(b), err
}

// bindingRequest is the body of a new binding.
type bindingRequest struct {
	RoutingKey string    `json:"routing_key"`
	Arguments  jsonTable `json:"arguments"`
}

// readBinding reads the body of a new binding.
func (c *call) readBinding(toExchange bool) (broker.Binding, error) {
	b, err := c.ends(toExchange)
	if err != nil {
		return b, err
	}
	var d bindingRequest
	if err := c.read(&d); err != nil {
		return b, err
	}
	if len(d.RoutingKey) > maxName {
		return b, core.Errorf(core.CodeInvalid, "a routing key has at most %d bytes", maxName)
	}
	b.Key, b.Arguments = d.RoutingKey, wire.Table(d.Arguments)
	return b, nil
}

// bindingsToQueue: GET bindings/e/{source}/q/{queue}.
func (c *call) bindingsToQueue() (int, any, error) { return c.between(false) }

// bindingsToExchange: GET bindings/e/{source}/e/{destination}.
func (c *call) bindingsToExchange() (int, any, error) { return c.between(true) }

// bindingToQueue: GET bindings/e/{source}/q/{queue}/{properties_key}.
func (c *call) bindingToQueue() (int, any, error) { return c.one(false) }

// bindingToExchange: GET bindings/e/{source}/e/{destination}/{properties_key}.
func (c *call) bindingToExchange() (int, any, error) { return c.one(true) }

// bindQueue: POST bindings/e/{source}/q/{queue}: 201, also when it was there.
func (c *call) bindQueue() (int, any, error) {
	b, err := c.readBinding(false)
	if err != nil {
		return 0, nil, err
	}
	err = c.do(&wire.QueueBind{Queue: b.Destination, Exchange: b.Source, RoutingKey: b.Key, NoWait: true, Arguments: b.Arguments})
	return http.StatusCreated, c.vhost.bindingInfo(b), invalid(err)
}

// bindExchange: POST bindings/e/{source}/e/{destination}.
func (c *call) bindExchange() (int, any, error) {
	b, err := c.readBinding(true)
	if err != nil {
		return 0, nil, err
	}
	err = c.do(&wire.ExchangeBind{Destination: b.Destination, Source: b.Source, RoutingKey: b.Key, NoWait: true, Arguments: b.Arguments})
	return http.StatusCreated, c.vhost.bindingInfo(b), invalid(err)
}

// unbindQueue: DELETE bindings/e/{source}/q/{queue}/{properties_key}.
func (c *call) unbindQueue() (int, any, error) {
	b, err := c.found(false)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, c.do(&wire.QueueUnbind{Queue: b.Destination, Exchange: b.Source, RoutingKey: b.Key, Arguments: b.Arguments})
}

// unbindExchange: DELETE bindings/e/{source}/e/{destination}/{properties_key}.
func (c *call) unbindExchange() (int, any, error) {
	b, err := c.found(true)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, c.do(&wire.ExchangeUnbind{Destination: b.Destination, Source: b.Source, RoutingKey: b.Key, NoWait: true, Arguments: b.Arguments})
}
