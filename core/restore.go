package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"portico/core/queue"
)

const (
	queuesTable = "queues" // key: name; value: definition

	restoreTimeout = 5 * time.Minute
	restoreWidth   = 8 // logs that are read back at once
)

// definition is how a durable queue's description is kept. What may be any bytes is a []byte, which JSON keeps exactly.
type definition struct {
	Type          QueueType         `json:"type,omitempty"`
	AutoDelete    bool              `json:"auto_delete,omitempty"`
	MaxPriority   uint8             `json:"max_priority,omitempty"`
	SingleActive  bool              `json:"single_active,omitempty"`
	MaxDeliveries uint32            `json:"max_deliveries,omitempty"`
	DeadQueue     []byte            `json:"dead_queue,omitempty"`
	DeadSubject   string            `json:"dead_subject,omitempty"`
	DeadExchange  []byte            `json:"dead_exchange"` // null: none, as with the key
	DeadKey       []byte            `json:"dead_key"`
	TTL           queue.Bound       `json:"ttl,omitzero"`
	Expires       queue.Bound       `json:"expires,omitzero"`
	MaxLength     queue.Bound       `json:"max_length,omitzero"`
	MaxBytes      queue.Bound       `json:"max_bytes,omitzero"`
	MaxAge        queue.Bound       `json:"max_age,omitzero"`
	Overflow      queue.Overflow    `json:"overflow,omitzero"`
	Attributes    map[string][]byte `json:"attributes,omitempty"`
}

func (t Text) octets() []byte {
	if !t.Set {
		return nil
	}
	return append([]byte{}, t.V...)
}

func textOf(octets []byte) Text { return Text{Set: octets != nil, V: string(octets)} }

// define writes a durable queue's definition.
func (t *tenant) define(ctx context.Context, cfg *QueueConfig) error {
	d := definition{
		Type: cfg.Type, AutoDelete: cfg.AutoDelete, MaxPriority: cfg.MaxPriority, SingleActive: cfg.SingleActive, MaxDeliveries: cfg.MaxDeliveries,
		DeadQueue: []byte(cfg.DeadLetter.Queue), DeadSubject: cfg.DeadLetter.Subject,
		DeadExchange: cfg.DeadLetter.Exchange.octets(), DeadKey: cfg.DeadLetter.RoutingKey.octets(),
		TTL: cfg.TTL, Expires: cfg.Expires, MaxLength: cfg.MaxLength, MaxBytes: cfg.MaxBytes, MaxAge: cfg.MaxAge, Overflow: cfg.Overflow, Attributes: map[string][]byte{},
	}
	for k, v := range cfg.Attributes {
		d.Attributes[k] = []byte(v)
	}
	value, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode queue definition: %w", err)
	}
	_, err = t.definitions.Put(ctx, cfg.Name, value)
	return err
}

func (t *tenant) undefine(ctx context.Context, name string) error {
	return t.definitions.Delete(ctx, name)
}

func configOf(e TableEntry) (QueueConfig, error) {
	var d definition
	if err := json.Unmarshal(e.Value, &d); err != nil {
		return QueueConfig{}, fmt.Errorf("decode definition of queue %q: %w", e.Key, err)
	}
	cfg := QueueConfig{
		Name: e.Key, Type: d.Type, Durable: true, AutoDelete: d.AutoDelete, MaxPriority: d.MaxPriority, SingleActive: d.SingleActive,
		QueueRules: QueueRules{
			MaxDeliveries: d.MaxDeliveries, TTL: d.TTL, Expires: d.Expires, MaxLength: d.MaxLength, MaxBytes: d.MaxBytes, MaxAge: d.MaxAge, Overflow: d.Overflow,
			DeadLetter: DeadLetter{Queue: string(d.DeadQueue), Subject: d.DeadSubject, Exchange: textOf(d.DeadExchange), RoutingKey: textOf(d.DeadKey)},
		},
	}
	for k, v := range d.Attributes {
		if cfg.Attributes == nil {
			cfg.Attributes = map[string]string{}
		}
		cfg.Attributes[k] = string(v)
	}
	return cfg, nil
}

// restore brings durable queues and their bindings back, and removes logs that belong to none.
func (t *tenant) restore(ctx context.Context) (err error) {
	b := &Bus{tenant: t, system: true}
	if t.definitions, err = b.Table(ctx, queuesTable); err != nil {
		return err
	}
	if t.bindings, err = b.Table(ctx, bindingsTable); err != nil {
		return err
	}
	if err := t.restoreQueues(ctx); err != nil {
		return err
	}
	if err := t.restoreBindings(ctx); err != nil {
		return err
	}
	return t.dropOrphans(ctx)
}

func (t *tenant) restoreQueues(ctx context.Context) error {
	entries, err := t.definitions.List(ctx)
	if err != nil {
		return err
	}
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(restoreWidth)
	for _, e := range entries {
		all.Go(func() error {
			cfg, err := configOf(e)
			if err != nil {
				return err
			}
			q, err := t.open(ctx, cfg)
			if err != nil {
				return fmt.Errorf("restore queue %q: %w", cfg.Name, err)
			}
			t.queues.put(q)
			return nil
		})
	}
	return all.Wait()
}

func (t *tenant) restoreBindings(ctx context.Context) error {
	entries, err := t.bindings.List(ctx)
	if err != nil {
		return err
	}
	var patterns []string
	for _, e := range entries {
		x, ok := bindingOf(e.Key)
		q := t.queues.lookup(x.Queue)
		if !ok || q == nil { // the queue was being deleted when the gateway stopped
			if err := t.bindings.Delete(ctx, e.Key); err != nil {
				return err
			}
			continue
		}
		t.routes.add(q, x.Pattern)
		patterns = append(patterns, x.Pattern)
	}
	return t.ingress.change(ctx, patterns, nil)
}

// dropOrphans removes logs of queues that were being declared or deleted when the gateway stopped: nobody was told that they exist.
func (t *tenant) dropOrphans(ctx context.Context) error {
	names, err := t.gateway.store.Names(ctx)
	if err != nil {
		return err
	}
	var failed error
	for _, log := range names {
		name, ours := strings.CutPrefix(log, t.name+"\x00")
		if ours && !strings.Contains(name, "\x00") && t.queues.lookup(name) == nil { // with NUL: a delay's
			failed = errors.Join(failed, t.gateway.store.Drop(ctx, log))
		}
	}
	return failed
}

// closeQueues closes all queues and lets nobody declare any more.
func (t *tenant) closeQueues() {
	t.queues.mu.Lock()
	t.queues.over = true
	t.queues.mu.Unlock()
	var all errgroup.Group
	all.SetLimit(64)
	for _, q := range t.queues.all() {
		all.Go(q.Close)
	}
	if err := all.Wait(); err != nil {
		t.gateway.log.Debug("queues closed with an error", "err", err)
	}
}
