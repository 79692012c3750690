package httpapi

import "portico/core"

// classic is how the default type is called by those who name it.
const classic = "classic"

// declaration is the body of PUT /v1/queues/{q}; what is left out has the default.
type declaration struct {
	Durable      *bool          `json:"durable" doc:"On disk, and outlives the gateway; true by default"`
	AutoDelete   bool           `json:"auto_delete" doc:"Deleted when its last consumer goes"`
	Type         core.QueueType `json:"type"`
	MaxPriority  uint8          `json:"max_priority" doc:"Messages of a higher priority come first, up to this one" maximum:"255"`
	SingleActive bool           `json:"single_active_consumer" doc:"Only the consumer that came first gets messages"`
	core.QueueRules
}

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
	Exclusive bool             `json:"exclusive" doc:"Belongs to one AMQP connection alone"`
	Ready     int              `json:"ready" doc:"Messages that wait"`
	Unacked   int              `json:"unacked" doc:"Messages that are held by somebody"`
	Consumers int              `json:"consumers"`
	Bytes     int64            `json:"bytes" doc:"Of the payloads of messages that wait"`
	Bindings  []string         `json:"bindings" doc:"Subject patterns"`
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

func exampleDeclaration() any {
	return map[string]any{"max_deliveries": 5, "dead_letter": map[string]any{"queue": "jobs.dead"}}
}

func exampleQueue() any {
	return description{
		Name: "jobs", Type: classic, Durable: true, QueueRules: core.QueueRules{MaxDeliveries: 5, DeadLetter: core.DeadLetter{Queue: "jobs.dead"}}, Bindings: []string{"orders.*"},
	}
}
