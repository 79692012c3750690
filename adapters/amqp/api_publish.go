package amqp

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"portico/adapters/amqp/wire"
	"portico/core"
)

// publishPatience is how long queues may take to keep a message that was published here.
const publishPatience = 30 * time.Second

// send publishes as a client would in confirm mode, mandatory, and waits for the confirm.
func (c *call) send(exchange, key string, properties, payload []byte) (routed bool, err error) {
	ctx, cancel := context.WithTimeout(c.http.Context(), publishPatience)
	defer cancel()
	l := c.openLocal(ctx)
	defer l.close()
	l.ledger.startConfirming()
	frames := wire.AppendMethod(nil, l.id, &wire.BasicPublish{Exchange: exchange, RoutingKey: key, Mandatory: true})
	frames = wire.AppendHeader(frames, l.id, wire.ClassBasic, uint64(len(payload)), properties)
	if err := l.feed(wire.AppendBody(frames, l.id, payload, localFrame)); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return false, invalid(err)
	}
	routed, kept := true, true
	err = l.listen(ctx, func(id wire.MethodID) (enough bool) {
		routed = routed && id != wire.IDBasicReturn
		kept = kept && id != wire.IDBasicNack
		return id == wire.IDBasicAck || id == wire.IDBasicNack
	})
	if err == nil && !kept {
		err = core.Errorf(core.CodeResourceExhausted, "a queue did not keep the message")
	}
	return routed, err
}

// jsonProperties are the basic properties by the names of the specification.
type jsonProperties struct {
	ContentType     string    `json:"content_type"`
	ContentEncoding string    `json:"content_encoding"`
	Headers         jsonTable `json:"headers"`
	DeliveryMode    uint8     `json:"delivery_mode"`
	Priority        uint8     `json:"priority"`
	CorrelationID   string    `json:"correlation_id"`
	ReplyTo         string    `json:"reply_to"`
	Expiration      string    `json:"expiration"`
	MessageID       string    `json:"message_id"`
	Timestamp       int64     `json:"timestamp"`
	Type            string    `json:"type"`
	UserID          string    `json:"user_id"`
	AppID           string    `json:"app_id"`
	ClusterID       string    `json:"cluster_id"`
}

// UnmarshalJSON implements json.Unmarshaler. A property that nobody knows is an error: it would be lost.
func (p *jsonProperties) UnmarshalJSON(b []byte) error {
	if string(bytes.TrimSpace(b)) == "[]" { // RabbitMQ's words for none, at times
		return nil
	}
	type plain jsonProperties
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode((*plain)(p))
}

// encode returns the property list.
func (p *jsonProperties) encode() ([]byte, error) {
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.String && f.Len() > maxName {
			return nil, core.Errorf(core.CodeInvalid, "%s has at most %d bytes", v.Type().Field(i).Tag.Get("json"), maxName)
		}
	}
	if _, err := wire.AppendTable(nil, wire.Table(p.Headers)); err != nil {
		return nil, core.Errorf(core.CodeInvalid, "headers: %s", strings.TrimSpace(err.Error()))
	}
	out := wire.Properties{
		ContentType: p.ContentType, ContentEncoding: p.ContentEncoding, Headers: wire.Table(p.Headers), DeliveryMode: p.DeliveryMode, Priority: p.Priority,
		CorrelationID: p.CorrelationID, ReplyTo: p.ReplyTo, Expiration: p.Expiration, MessageID: p.MessageID, Type: p.Type, UserID: p.UserID, AppID: p.AppID,
		ClusterID: p.ClusterID,
	}
	if p.Timestamp != 0 {
		out.Timestamp = time.Unix(p.Timestamp, 0)
	}
	return out.Append(nil), nil
}
