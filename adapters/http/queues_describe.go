package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"portico/core"
)

// classic is how the default type is called by those who name it.
const classic = "classic"

// declaration is the body of PUT /v1/queues/{q}; what is left out has the default.
type declaration struct {
	Durable      *bool          `json:"durable"` // default true
	AutoDelete   bool           `json:"auto_delete"`
	Type         core.QueueType `json:"type"`
	MaxPriority  uint8          `json:"max_priority"`
	SingleActive bool           `json:"single_active_consumer"`
	core.QueueRules
}

// UnmarshalJSON implements json.Unmarshaler: an unknown field is an error, and a wrong value one that says where.
func (d *declaration) UnmarshalJSON(b []byte) error {
	type plain declaration
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	err := dec.Decode((*plain)(d))
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
		return fmt.Errorf("field %q cannot be a %s", strings.TrimPrefix(e.Field, rulesPrefix), e.Value)
	}
	if e, ok := errors.AsType[*strconv.NumError](err); ok {
		return fmt.Errorf("%s is not a whole number", e.Num)
	}
	return err
}

// rulesPrefix is what the path of an embedded field begins with.
const rulesPrefix = "QueueRules."

// config is what d describes.
func (d *declaration) config(name string) core.QueueConfig {
	cfg := core.QueueConfig{
		Name: name, Type: d.Type, Durable: d.Durable == nil || *d.Durable, AutoDelete: d.AutoDelete,
		MaxPriority: d.MaxPriority, SingleActive: d.SingleActive, QueueRules: d.QueueRules,
	}
	if d.Type == classic {
		cfg.Type = core.ClassicQueue
	}
	return cfg
}

// description is a queue as it is told to clients.
type description struct {
	Name         string         `json:"name"`
	Type         core.QueueType `json:"type"`
	Durable      bool           `json:"durable"`
	AutoDelete   bool           `json:"auto_delete"`
	MaxPriority  uint8          `json:"max_priority,omitempty"`
	SingleActive bool           `json:"single_active_consumer,omitempty"`
	core.QueueRules
	Effective *core.QueueRules `json:"effective,omitempty"` // the rules in force, if a policy has changed any
	Exclusive bool             `json:"exclusive"`           // belongs to one AMQP connection alone
	Ready     int              `json:"ready"`
	Unacked   int              `json:"unacked"`
	Consumers int              `json:"consumers"`
	Bytes     int64            `json:"bytes"`
	Bindings  []string         `json:"bindings"` // subject patterns
}

func describe(bus *core.Bus, q *core.Queue) (description, error) {
	stats, err := q.Stats()
	if err != nil {
		return description{}, err
	}
	cfg, rules := q.Config(), q.Rules()
	d := description{
		Name: cfg.Name, Durable: cfg.Durable, AutoDelete: cfg.AutoDelete, Type: cfg.Type,
		MaxPriority: cfg.MaxPriority, SingleActive: cfg.SingleActive, QueueRules: cfg.QueueRules, Exclusive: cfg.Owner != "",
		Ready: stats.Ready, Unacked: stats.Unacked, Consumers: stats.Consumers, Bytes: stats.Bytes,
		Bindings: patterns(bus, cfg.Name),
	}
	if d.Type == core.ClassicQueue {
		d.Type = classic
	}
	if rules != cfg.QueueRules {
		d.Effective = &rules
	}
	return d, nil
}
