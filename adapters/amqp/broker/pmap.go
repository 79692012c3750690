package broker

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

const (
	hashBits  = 64
	levelBits = 5
	levelMask = 1<<levelBits - 1
)

// hashSeed is drawn once per process, so that nobody outside can choose keys
// that collide.
var hashSeed = maphash.MakeSeed()

// pmap is a persistent map from string to V: set and without return a new map
// and leave the old one as it was, sharing all but one path of nodes with it. The
// zero value is empty. Safe for any number of readers; a V must not be written
// once it is in.
type pmap[V any] struct {
	root *pnode[V]
	size int
}

// pnode is immutable once published. Above the last level, bit i of bitmap says
// whether the five hash bits of this level with value i have a slot, and slots
// are packed in bit order. On the last level, where no hash bits are left, bitmap
// is unused and slots is a list of keys of equal hash.
type pnode[V any] struct {
	bitmap uint32
	slots  []pslot[V]
}

// pslot is a subtree (sub set) or one entry.
type pslot[V any] struct {
	hash uint64
	key  string
	val  V
	sub  *pnode[V]
}

func hashOf(key string) uint64 { return maphash.String(hashSeed, key) }

func (m pmap[V]) len() int { return m.size }

func (m pmap[V]) get(key string) (V, bool) { return m.lookup(hashOf(key), key) }

// set returns m with val under key.
func (m pmap[V]) set(key string, val V) pmap[V] {
	return m.insert(pslot[V]{hash: hashOf(key), key: key, val: val})
}

// without returns m with nothing under key.
func (m pmap[V]) without(key string) pmap[V] { return m.remove(hashOf(key), key) }

// each calls visit for every entry, in no particular order.
func (m pmap[V]) each(visit func(key string, val V)) {
	if m.root != nil {
		m.root.each(visit)
	}
}

func (n *pnode[V]) each(visit func(key string, val V)) {
	for i := range n.slots {
		if s := &n.slots[i]; s.sub != nil {
			s.sub.each(visit)
		} else {
			visit(s.key, s.val)
		}
	}
}

func (m pmap[V]) lookup(hash uint64, key string) (V, bool) {
	var none V
	n := m.root
	if n == nil {
		return none, false
	}
	for shift := 0; ; shift += levelBits {
		i, found := n.find(hash, key, shift)
		if !found {
			return none, false
		}
		s := &n.slots[i]
		if s.sub == nil {
			if s.key != key {
				return none, false
			}
			return s.val, true
		}
		n = s.sub
	}
}

// find returns where key's slot is, or would be, on the level of shift. On a
// bitmap level the slot found may hold another key.
func (n *pnode[V]) find(hash uint64, key string, shift int) (int, bool) {
	if shift >= hashBits {
		i := slices.IndexFunc(n.slots, func(s pslot[V]) bool { return s.key == key })
		return max(i, 0), i >= 0
	}
	bit := uint32(1) << (hash >> shift & levelMask)
	return bits.OnesCount32(n.bitmap & (bit - 1)), n.bitmap&bit != 0
}

func (m pmap[V]) insert(s pslot[V]) pmap[V] {
	if m.root == nil {
		m.root = &pnode[V]{}
	}
	root, added := m.root.insert(s, 0)
	if added {
		m.size++
	}
	return pmap[V]{root: root, size: m.size}
}

// insert returns n with s in it and whether its key is new.
func (n *pnode[V]) insert(s pslot[V], shift int) (*pnode[V], bool) {
	i, found := n.find(s.hash, s.key, shift)
	if !found {
		c := &pnode[V]{bitmap: n.bitmap, slots: inserted(n.slots, i, s)}
		if shift < hashBits {
			c.bitmap |= 1 << (s.hash >> shift & levelMask)
		}
		return c, true
	}
	old := n.slots[i]
	switch {
	case old.sub != nil:
		sub, added := old.sub.insert(s, shift+levelBits)
		return n.replaced(i, pslot[V]{sub: sub}), added
	case old.key == s.key:
		return n.replaced(i, s), false
	}
	sub, _ := new(pnode[V]).insert(old, shift+levelBits)
	sub, _ = sub.insert(s, shift+levelBits)
	return n.replaced(i, pslot[V]{sub: sub}), true
}

func (m pmap[V]) remove(hash uint64, key string) pmap[V] {
	if m.root == nil {
		return m
	}
	root, removed := m.root.remove(hash, key, 0)
	if !removed {
		return m
	}
	if len(root.slots) == 0 {
		root = nil
	}
	return pmap[V]{root: root, size: m.size - 1}
}

// remove returns n without key and whether it was there.
func (n *pnode[V]) remove(hash uint64, key string, shift int) (*pnode[V], bool) {
	i, found := n.find(hash, key, shift)
	if !found {
		return n, false
	}
	old := n.slots[i]
	if old.sub == nil {
		if old.key != key {
			return n, false
		}
		return n.dropped(i, hash, shift), true
	}
	sub, removed := old.sub.remove(hash, key, shift+levelBits)
	if !removed {
		return n, false
	}
	if len(sub.slots) == 1 && sub.slots[0].sub == nil { // one entry needs no node of its own
		return n.replaced(i, sub.slots[0]), true
	}
	return n.replaced(i, pslot[V]{sub: sub}), true
}

func (n *pnode[V]) replaced(i int, s pslot[V]) *pnode[V] {
	slots := slices.Clone(n.slots)
	slots[i] = s
	return &pnode[V]{bitmap: n.bitmap, slots: slots}
}

func (n *pnode[V]) dropped(i int, hash uint64, shift int) *pnode[V] {
	c := &pnode[V]{bitmap: n.bitmap, slots: make([]pslot[V], 0, len(n.slots)-1)}
	c.slots = append(append(c.slots, n.slots[:i]...), n.slots[i+1:]...)
	if shift < hashBits {
		c.bitmap &^= 1 << (hash >> shift & levelMask)
	}
	return c
}

func inserted[T any](list []T, i int, v T) []T {
	c := make([]T, 0, len(list)+1)
	return append(append(append(c, list[:i]...), v), list[i:]...)
}
