package websocket

import (
	"context"
	"time"

	"portico/core"
)

const (
	kvOps      = "kv_" // what the operations on key-value buckets begin with
	maxKeys    = 1000  // of an answer
	kvReadCost = 1 << 20
)

// keyValue is the part of the table of operations that is about key-value buckets. They are done one after the other.
func (c *conn) keyValue(f *frame) error {
	bus, r := c.bus, kvRequest{id: f.ID, bucket: f.Bucket, key: f.Key}
	work := func(do func(ctx context.Context) error) error { return c.inTurn(len(f.data)+kvReadCost, f.ID, do) }
	switch f.Op {
	case "kv_get":
		return work(func(ctx context.Context) error { return c.kvGet(ctx, bus, r, f.Revision) })
	case "kv_put", "kv_create", "kv_update":
		when, err := conditionOf(f)
		if err != nil {
			return err
		}
		return work(func(ctx context.Context) error {
			revision, err := bus.Put(ctx, r.bucket, r.key, f.data, when)
			if err == nil {
				a := ok(r.id)
				a.Revision = &revision
				c.done(a)
			}
			return err
		})
	case "kv_delete", "kv_purge":
		when, err := conditionOf(f)
		if err != nil {
			return err
		}
		return work(func(ctx context.Context) error {
			err := bus.DeleteKey(ctx, r.bucket, r.key, f.Op == "kv_purge", when)
			if err == nil {
				c.done(ok(r.id))
			}
			return err
		})
	case "kv_keys":
		return work(func(ctx context.Context) error { return c.kvKeys(ctx, bus, f) })
	case "kv_history":
		return work(func(ctx context.Context) error { return c.kvHistory(ctx, bus, r) })
	case "kv_watch":
		return c.kvWatch(f)
	}
	return core.Errorf(core.CodeInvalid, "unknown op %q", f.Op)
}

type kvRequest struct{ id, bucket, key string }

// conditionOf is what must be true for a change.
func conditionOf(f *frame) (core.PutCondition, error) {
	switch {
	case f.Op == "kv_create":
		return core.PutCondition{Absent: true}, nil
	case f.Revision != nil && *f.Revision > 0 && f.Op != "kv_put":
		return core.PutCondition{Revision: *f.Revision}, nil
	case f.Revision != nil || f.Op == "kv_update":
		return core.PutCondition{}, core.Errorf(core.CodeInvalid, "kv_update has a revision from 1, kv_delete and kv_purge may have one, others have none")
	}
	return core.PutCondition{}, nil
}

func (c *conn) kvGet(ctx context.Context, bus *core.Bus, r kvRequest, revision *uint64) error {
	if r.id == "" || revision != nil && *revision == 0 {
		return core.Errorf(core.CodeInvalid, "kv_get needs an id, and a revision is at least 1")
	}
	var at uint64
	if revision != nil {
		at = *revision
	}
	e, err := bus.Get(ctx, r.bucket, r.key, at)
	if err != nil {
		return err
	}
	a := ok(r.id)
	a.Key, a.Revision, a.Time, a.payload = e.Key, &e.Revision, stamp(e.Created), e.Value
	if err := c.awaitRoom(ctx); err != nil {
		return err
	}
	c.send(a)
	return nil
}

// stamp writes a time as frames have it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func (c *conn) kvKeys(ctx context.Context, bus *core.Bus, f *frame) error {
	pattern, limit := f.Pattern, f.Limit
	if pattern == "" {
		pattern = ">"
	}
	if limit == 0 {
		limit = maxKeys
	}
	if f.ID == "" || limit < 1 || limit > maxKeys || f.After.number != nil {
		return core.Errorf(core.CodeInvalid, "kv_keys needs an id, a limit is 1 to %d, after is a key", maxKeys)
	}
	keys, err := bus.Keys(ctx, f.Bucket, pattern, f.After.key, limit)
	if err != nil {
		return err
	}
	if keys == nil {
		keys = []string{}
	}
	a, more := ok(f.ID), len(keys) == limit
	a.Keys, a.More = &keys, &more
	if err := c.awaitRoom(ctx); err != nil {
		return err
	}
	c.send(a)
	return nil
}

// entry is the frame of a value or a deletion.
func entry(bucket string, e *core.KVEntry) answer {
	return answer{Op: "entry", Bucket: bucket, Key: e.Key, Revision: &e.Revision, Time: stamp(e.Created), Operation: e.Operation, payload: e.Value}
}

func (c *conn) kvHistory(ctx context.Context, bus *core.Bus, r kvRequest) error {
	if r.id == "" {
		return core.Errorf(core.CodeInvalid, "kv_history needs an id for its entries")
	}
	entries, err := bus.History(ctx, r.bucket, r.key)
	if err != nil {
		return err
	}
	for i := range entries {
		if err := c.awaitRoom(ctx); err != nil {
			return err
		}
		told := entry(r.bucket, &entries[i])
		told.ID = r.id
		c.send(told)
	}
	a, n := ok(r.id), len(entries)
	a.Count = &n
	c.send(a)
	return nil
}

// kvWatch follows a bucket: the present values, ready, and what changes.
func (c *conn) kvWatch(f *frame) error {
	pattern := f.Pattern
	if pattern == "" {
		pattern = ">"
	}
	if f.After.key != "" {
		return core.Errorf(core.CodeInvalid, "after is a revision")
	}
	var from uint64
	if f.After.number != nil {
		from = *f.After.number
	}
	bus, bucket, sid := c.bus, f.Bucket, f.SID
	return c.opening(f, func() (*task, error) {
		if err := bus.MayWatch(c.ctx, bucket, pattern); err != nil {
			return nil, err
		}
		return &task{answer: ok(f.ID), run: func(ctx context.Context) error {
			return bus.Watch(ctx, bucket, pattern, from, func(e *core.KVEntry) error {
				if err := c.awaitRoom(ctx); err != nil {
					return err
				}
				told := answer{Op: "ready"}
				if e != nil {
					told = entry(bucket, e)
				}
				told.SID = sid
				c.send(told)
				return nil
			})
		}}, nil
	})
}
