package core

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"
)

// followAgain is the wait before a table is followed again that could not be.
const followAgain = time.Second

// kept is one of the two tables with what its entries are to the directory.
type kept struct {
	people *people
	name   string
	table  *Table
	seen   *atomic.Uint64 // the newest revision that was applied; nil: nobody asks
	put    func(value []byte) error
	forget func(key string)
	keys   func() []string // of what the directory has of it
}

func (p *people) kept() []*kept {
	users := p.gateway.users
	return []*kept{
		{people: p, name: "users", table: p.users, seen: &p.usersSeen, forget: users.Forget, keys: users.ManagedNames, put: func(value []byte) error {
			var u User
			if err := json.Unmarshal(value, &u); err != nil {
				return fmt.Errorf("read: %w", err)
			}
			return users.Put(u)
		}},
		{people: p, name: "tokens", table: p.tokens, forget: users.ForgetToken, keys: users.TokenIDs, put: func(value []byte) error {
			var t Token
			if err := json.Unmarshal(value, &t); err != nil {
				return fmt.Errorf("read: %w", err)
			}
			return users.PutToken(t)
		}},
	}
}

// load makes the directory what the table is.
func (k *kept) load(ctx context.Context) error {
	all, err := k.table.List(ctx)
	if err != nil {
		return fmt.Errorf("read the table of %s: %w", k.name, err)
	}
	there := make(map[string]bool, len(all))
	for _, e := range all {
		there[e.Key] = true
		k.apply(e)
	}
	for _, key := range k.keys() {
		if !there[key] {
			k.forget(key)
		}
	}
	return nil
}

// apply takes over one entry. One that cannot be read lets nobody in; it is no reason to keep the others out.
func (k *kept) apply(e TableEntry) {
	if e.Value == nil {
		k.forget(e.Key)
	} else if err := k.put(e.Value); err != nil {
		k.forget(e.Key)
		k.people.gateway.log.Error("an entry cannot be used", "table", k.name, "key", e.Key, "error", err)
	}
	if k.seen != nil {
		k.seen.Store(max(k.seen.Load(), e.Revision)) // one goroutine applies
	}
}

// follow applies changes until ctx ends.
func (k *kept) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := k.table.Watch(ctx, func(e TableEntry) {
			k.apply(e)
			k.people.tell()
		})
		if ctx.Err() != nil {
			return
		}
		k.people.gateway.log.Warn("a table is no longer followed; it is tried again", "table", k.name, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(followAgain):
		}
		if err := k.load(ctx); err == nil { // what was deleted meanwhile nobody tells later
			k.people.tell()
		}
	}
}
