package broker

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"portico/adapters/amqp/wire"
)

// picker is the matcher of the exchange types that hand a message to one of their
// bindings.
//
// Its list is in the order of the bindings themselves, not of when they were made,
// so that every node and every restart picks alike. A binding copies the list: such
// exchanges have a few destinations, and RabbitMQ is linear here too.
type picker struct {
	choose chooser
	list   []*share // by destination, key and arguments
}

// share is a binding of a picker, immutable.
type share struct {
	bindingKey
	seed   uint64  // of the destination
	weight float64 // x-consistent-hash: the key as a number
}

// chooser picks one of list, at least two, for a message. It asks r for properties if
// its answer depends on more than key.
type chooser interface {
	choose(list []*share, r *route, key string) *share
}

func newShare(k bindingKey) *share {
	s := &share{bindingKey: k, seed: stableHash(k.name)}
	if k.toExchange {
		s.seed = mixed(s.seed)
	}
	s.weight, _ = strconv.ParseFloat(k.key, 64) // at most 255 digits
	return s
}

func compareShares(a, b *share) int {
	return cmp.Or(
		strings.Compare(a.name, b.name),
		int(boolByte(a.toExchange))-int(boolByte(b.toExchange)),
		strings.Compare(a.key, b.key),
		strings.Compare(a.args, b.args),
	)
}

func (m picker) add(k bindingKey, _ wire.Table) matcher {
	s := newShare(k)
	i, _ := slices.BinarySearchFunc(m.list, s, compareShares)
	return picker{choose: m.choose, list: slices.Insert(slices.Clone(m.list), i, s)}
}

func (m picker) remove(k bindingKey) matcher {
	i, found := slices.BinarySearchFunc(m.list, &share{bindingKey: k}, compareShares)
	if !found {
		return m
	}
	return picker{choose: m.choose, list: slices.Delete(slices.Clone(m.list), i, i+1)}
}

func (m picker) match(r *route, keys []string) {
	switch len(m.list) {
	case 0:
	case 1:
		r.reachOne(m.list[0].destination)
	default:
		r.reachOne(m.choose.choose(m.list, r, keys[0]).destination)
	}
}

// byChance is x-random: every binding is as likely as any other [RMQ], so a queue
// bound twice gets twice the share.
type byChance struct{}

func (byChance) choose(list []*share, r *route, _ string) *share {
	r.properties() // the next message of this key may go elsewhere
	return list[rand.IntN(len(list))]
}

// byModulus is x-modulus-hash. As in RabbitMQ, nearly every key moves when a binding
// comes or goes.
type byModulus struct{}

func (byModulus) choose(list []*share, _ *route, key string) *share {
	return list[stableHash(key)%uint64(len(list))]
}

// byWeight is x-consistent-hash. Every destination draws a lot for the message, made
// of the hashes of both, and the highest wins (rendezvous hashing). A binding that
// comes takes keys from the others in proportion to its weight and one that goes
// leaves them its own; no other key moves, whatever was bound in which order, and
// weights may be of any size. RabbitMQ's ring of buckets moves keys also between
// others when a binding from its middle goes.
//
// Of several bindings to one destination the one whose key is first in the order of
// octets counts, as after a restart of RabbitMQ.
type byWeight struct {
	header string
	value  func(*wire.Properties) string // of the property; nil without one
	keyed  bool                          // by routing key
}

// hashOn reads the arguments of an x-consistent-hash exchange.
func hashOn(arguments wire.Table) byWeight {
	if header, ok := arguments[hashHeaderArg].(string); ok {
		return byWeight{header: header}
	}
	property, _ := arguments[hashPropertyArg].(string)
	value := propertyHash(property)
	return byWeight{value: value, keyed: value == nil}
}

// propertyHash returns how the property of that name is read, nil if it cannot be
// hashed on. Absent is the empty string.
func propertyHash(property string) func(*wire.Properties) string {
	switch property {
	case "correlation_id":
		return func(p *wire.Properties) string { return p.CorrelationID }
	case "message_id":
		return func(p *wire.Properties) string { return p.MessageID }
	case "timestamp":
		return func(p *wire.Properties) string {
			if p.Timestamp.IsZero() {
				return ""
			}
			return strconv.FormatInt(p.Timestamp.Unix(), 10)
		}
	}
	return nil
}

// hash is that of what decides about the message. All messages without it are alike.
func (w byWeight) hash(r *route, key string) uint64 {
	switch {
	case w.keyed:
		return stableHash(key)
	case w.value != nil:
		return stableHash(w.value(r.properties()))
	}
	r.value = appendValue(r.value[:0], r.properties().Headers[w.header])
	return stableHash(r.value)
}

func (w byWeight) choose(list []*share, r *route, key string) *share {
	hash := w.hash(r, key)
	best := list[0]
	lot := mixed(hash ^ best.seed)
	for i, s := range list[1:] {
		if s.destination == list[i].destination {
			continue
		}
		if other := mixed(hash ^ s.seed); beats(other, s.weight, lot, best.weight) {
			best, lot = s, other
		}
	}
	return best
}

// beats says whether lot a of weight v is above lot b of weight w. That the chance is
// in proportion to weight needs logarithms, but for equal weights their order is that
// of the lots.
func beats(a uint64, v float64, b uint64, w float64) bool {
	if v == w {
		return a > b
	}
	return v/-logOf(a) > w/-logOf(b)
}

// logOf is the logarithm of lot as a fraction, always below zero.
func logOf(lot uint64) float64 {
	return math.Log((float64(lot>>12) + 0.5) / (1 << 52))
}

// stableHash is the same in every process, unlike hashOf (FNV-1a, mixed).
func stableHash[T string | []byte](p T) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(p) {
		h = (h ^ uint64(p[i])) * 1099511628211
	}
	return mixed(h)
}

// mixed spreads every bit of x over all others (the finaliser of SplitMix64).
func mixed(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
