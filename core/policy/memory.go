package policy

import (
	"hash/maphash"
	"sync/atomic"
)

// slots is how many decisions a policy remembers; the newest of those that share a slot stays.
const slots = 512

// longest is the longest name that is remembered, in bytes: with slots it bounds the memory of a policy to some 200 KiB.
const longest = 256

// memory remembers decisions. The zero value is ready.
type memory struct {
	table atomic.Pointer[[slots]atomic.Pointer[remembered]]
}

type remembered struct {
	action Action
	name   string
	d      Decision
}

var seed = maphash.MakeSeed() //nolint:gochecknoglobals // is never changed

func slotOf(a Action, name string) uint64 {
	return (maphash.String(seed, name) + uint64(a)*0x9e3779b9) % slots
}

func (m *memory) find(a Action, name string) (Decision, bool) {
	t := m.table.Load()
	if t == nil {
		return Decision{}, false
	}
	r := t[slotOf(a, name)].Load()
	if r == nil || r.action != a || r.name != name {
		return Decision{}, false
	}
	return r.d, true
}

func (m *memory) put(a Action, name string, d Decision) {
	if len(name) > longest {
		return
	}
	t := m.table.Load()
	if t == nil {
		m.table.CompareAndSwap(nil, new([slots]atomic.Pointer[remembered]))
		t = m.table.Load()
	}
	t[slotOf(a, name)].Store(&remembered{a, name, d})
}
