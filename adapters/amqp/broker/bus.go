package broker

import (
	"cmp"
	"slices"
	"strings"
)

// everyKey is the topic pattern that every key matches.
const everyKey = "#"

// BusPattern is what the bus has to be asked for so that messages published there
// reach the bindings of Exchange: an AMQP topic pattern of keys, "#" for every key.
type BusPattern struct {
	Exchange, Key string
}

// BusPatterns returns the patterns of all exchanges that have bindings or an
// alternate exchange, each once, sorted by exchange and key; the slice is the
// caller's. They cover what [VHost.RouteFrom] needs and may overlap or go beyond
// it, as when the key of a direct exchange contains a "*". Every key is needed by
// exchanges that match by more than the key, and by those that send on to an
// alternate exchange what they do not match. The default exchange is not on the
// bus; internal exchanges are.
func (v *VHost) BusPatterns() []BusPattern {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []BusPattern
	v.snap.Load().exchanges.each(func(name string, x *exchange) {
		if name == "" {
			return
		}
		for key := range v.busKeys(x) {
			all = append(all, BusPattern{Exchange: name, Key: key})
		}
	})
	slices.SortFunc(all, func(a, b BusPattern) int {
		return cmp.Or(strings.Compare(a.Exchange, b.Exchange), strings.Compare(a.Key, b.Key))
	})
	return all
}

// busKeys is the set of patterns for x. Called under mu.
func (v *VHost) busKeys(x *exchange) map[string]struct{} {
	bindings := v.bindings[x.Name]
	kind := x.RoutesAs()
	byKey := kind == Direct || kind == Topic
	if x.alternate != "" || !byKey && len(bindings) > 0 {
		return map[string]struct{}{everyKey: {}}
	}
	keys := make(map[string]struct{}, len(bindings))
	for k := range bindings {
		if k.key == everyKey {
			return map[string]struct{}{everyKey: {}}
		}
		keys[k.key] = struct{}{}
	}
	return keys
}
