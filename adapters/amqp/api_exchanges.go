package amqp

import (
	"cmp"
	"encoding/base64"
	"net/http"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
	"portico/core"
)

// exchangeInfo is an exchange as it is told.
type exchangeInfo struct {
	Name       string         `json:"name"`
	Vhost      string         `json:"vhost"`
	Type       string         `json:"type"`
	Durable    bool           `json:"durable"`
	AutoDelete bool           `json:"auto_delete"`
	Internal   bool           `json:"internal"`
	Arguments  map[string]any `json:"arguments"`
	Policy     *string        `json:"policy"`
}

func (v *vhost) exchangeInfo(x broker.Exchange) exchangeInfo {
	return exchangeInfo{
		Name: x.Name, Vhost: v.name, Type: x.Type, Durable: x.Durable, AutoDelete: x.AutoDelete, Internal: x.Internal,
		Arguments: shownTable(x.Arguments), Policy: policyName(v.policies.ForExchange(x.Name).User),
	}
}

// policyName is null without a policy.
func policyName(p *broker.Policy) *string {
	if p == nil {
		return nil
	}
	return &p.Name
}

// exchanges: GET exchanges.
func (c *call) exchanges() (int, any, error) {
	all := []exchangeInfo{}
	for _, x := range c.vhost.broker.Exchanges() {
		all = append(all, c.vhost.exchangeInfo(x))
	}
	return listed(c, all, func(x exchangeInfo) string { return x.Name })
}

// exchangeNamed is the exchange that the path's name i names.
func (c *call) exchangeNamed(i int) (broker.Exchange, error) {
	name := exchangeIn(c.names[i])
	x, ok := c.vhost.broker.Exchange(name)
	if !ok {
		return x, core.Errorf(core.CodeNotFound, "no exchange '%s' in vhost '%s'", name, c.vhost.name)
	}
	return x, nil
}

// exchange: GET exchanges/{name}.
func (c *call) exchange() (int, any, error) {
	x, err := c.exchangeNamed(0)
	return http.StatusOK, c.vhost.exchangeInfo(x), err
}

// exchangeRequest is the body of a new exchange.
type exchangeRequest struct {
	Type       string    `json:"type"`
	Durable    jsonBool  `json:"durable"`
	AutoDelete jsonBool  `json:"auto_delete"`
	Internal   jsonBool  `json:"internal"`
	Arguments  jsonTable `json:"arguments"`
}

// putExchange: PUT exchanges/{name}: 201, or 204 when there is an equivalent one.
func (c *call) putExchange() (int, any, error) {
	var d exchangeRequest
	if err := c.read(&d); err != nil {
		return 0, nil, err
	}
	_, missing := c.exchangeNamed(0)
	err := c.do(&wire.ExchangeDeclare{
		Exchange: exchangeIn(c.names[0]), Type: cmp.Or(d.Type, broker.Direct), Durable: bool(d.Durable), AutoDelete: bool(d.AutoDelete), Internal: bool(d.Internal),
		NoWait: true, Arguments: wire.Table(d.Arguments),
	})
	if missing != nil {
		err = invalid(err)
	}
	return createdOr(missing == nil), nil, err
}

// deleteExchange: DELETE exchanges/{name}?if-unused=true.
func (c *call) deleteExchange() (int, any, error) {
	x, err := c.exchangeNamed(0)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, c.do(&wire.ExchangeDelete{Exchange: x.Name, IfUnused: c.flag("if-unused"), NoWait: true})
}

// publication is the body of publish.
type publication struct {
	RoutingKey string         `json:"routing_key"`
	Properties jsonProperties `json:"properties"`
	Payload    string         `json:"payload"`
	Encoding   string         `json:"payload_encoding"` // string (default) or base64
}

// read returns the payload and the property list.
func (p *publication) read() (payload, properties []byte, err error) {
	switch p.Encoding {
	case "", "string":
		payload = []byte(p.Payload)
	case "base64":
		if payload, err = base64.StdEncoding.DecodeString(p.Payload); err != nil {
			return nil, nil, core.Errorf(core.CodeInvalid, "payload is not base64")
		}
	default:
		return nil, nil, core.Errorf(core.CodeInvalid, "payload_encoding %q: string or base64 is expected", p.Encoding)
	}
	if len(p.RoutingKey) > maxName {
		return nil, nil, core.Errorf(core.CodeInvalid, "a routing key has at most %d bytes", maxName)
	}
	properties, err = p.Properties.encode()
	return payload, properties, err
}

// routing is the answer to a publication.
type routing struct {
	Routed bool `json:"routed"`
}

// publish: POST exchanges/{name}/publish: {"routed": …} when the queues that the message goes to keep it.
func (c *call) publish() (int, any, error) {
	var p publication
	if err := c.read(&p); err != nil {
		return 0, nil, err
	}
	payload, properties, err := p.read()
	if err != nil {
		return 0, nil, err
	}
	if limit := c.door.gateway.MaxMessage(); len(payload) > limit {
		return 0, nil, core.Errorf(core.CodeTooLarge, "message of %d bytes: at most %d", len(payload), limit)
	}
	routed, err := c.send(exchangeIn(c.names[0]), p.RoutingKey, properties, payload)
	return http.StatusOK, routing{routed}, err
}
