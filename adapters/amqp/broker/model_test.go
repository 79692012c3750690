package broker_test

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
)

// model is a virtual host with lists instead of indexes.
type model struct {
	exchanges map[string]broker.Exchange
	bindings  []broker.Binding
}

func (m *model) drop(keep func(broker.Binding) bool, gone *broker.Removed) {
	var kept []broker.Binding
	var lost []string
	for _, b := range m.bindings {
		if keep(b) {
			kept = append(kept, b)
		} else {
			gone.Bindings = append(gone.Bindings, b)
			lost = append(lost, b.Source)
		}
	}
	m.bindings = kept
	for _, name := range lost {
		isSource := func(b broker.Binding) bool { return b.Source == name }
		if m.exchanges[name].AutoDelete && !slices.ContainsFunc(m.bindings, isSource) {
			m.deleteExchange(name, gone)
		}
	}
}

func (m *model) deleteExchange(name string, gone *broker.Removed) {
	x, ok := m.exchanges[name]
	if !ok {
		return
	}
	delete(m.exchanges, name)
	gone.Exchanges = append(gone.Exchanges, x)
	m.drop(func(b broker.Binding) bool {
		return b.Source != name && !(b.ToExchange && b.Destination == name)
	}, gone)
}

func (m *model) matches(b broker.Binding, key string, headers wire.Table) bool {
	switch m.exchanges[b.Source].Type {
	case broker.Direct:
		return b.Key == key
	case broker.Topic:
		return topicMatches(words(b.Key), words(key))
	case broker.Headers:
		return headersMatch(b.Arguments, headers)
	}
	return true
}

func (m *model) route(start, key string, headers wire.Table) []string {
	queues, visited, work := map[string]bool{}, map[string]bool{}, []string{start}
	for len(work) > 0 {
		name := work[0]
		work = work[1:]
		x, ok := m.exchanges[name]
		if !ok || visited[name] {
			continue
		}
		visited[name] = true
		found := false
		for _, b := range m.bindings {
			if b.Source != name || !m.matches(b, key, headers) {
				continue
			}
			found = true
			if b.ToExchange {
				work = append(work, b.Destination)
			} else {
				queues[b.Destination] = true
			}
		}
		if !found && x.Alternate() != "" {
			work = append(work, x.Alternate())
		}
	}
	return slices.Sorted(maps.Keys(queues))
}

// sameRemoved compares without regard to order; IDs include the arguments.
func sameRemoved(a, b broker.Removed) bool {
	set := func(r broker.Removed) map[string]int {
		all := map[string]int{}
		for _, x := range r.Exchanges {
			all[x.Name]++
		}
		for _, b := range r.Bindings {
			all[b.ID()]++
		}
		return all
	}
	return maps.Equal(set(a), set(b))
}

func TestVHostAgreesWithModel(t *testing.T) {
	exchangeNames := rapid.SampledFrom([]string{"x0", "x1", "x2", "x3", "x4"})
	queueNames := rapid.SampledFrom([]string{"q0", "q1", "q2", "x0"})
	keys := rapid.SampledFrom([]string{"", "a", "a.b", "b", "a.b.a"})
	patterns := rapid.SampledFrom([]string{"", "a", "a.b", "#", "*", "a.#", "#.b.*", "*.b"})
	tables := rapid.SampledFrom([]wire.Table{nil, {}, {"h": int64(1)}, {"h": int64(1), "i": nil, "x-match": "any"}, {"x-match": "all-with-x", "x-h": int64(2)}})
	messages := rapid.SampledFrom([]wire.Table{nil, {"h": int64(1)}, {"i": int64(5), "x-h": int64(2)}, {"h": int64(3)}})

	rapid.Check(t, func(t *rapid.T) {
		v := broker.New("/")
		m := &model{exchanges: map[string]broker.Exchange{}}
		drawBinding := func(t *rapid.T) broker.Binding {
			b := broker.Binding{Source: exchangeNames.Draw(t, "source"), Key: patterns.Draw(t, "pattern"), Arguments: tables.Draw(t, "arguments")}
			if b.ToExchange = rapid.Bool().Draw(t, "toExchange"); b.ToExchange {
				b.Destination = exchangeNames.Draw(t, "to")
			} else {
				b.Destination = queueNames.Draw(t, "to")
			}
			return b
		}
		t.Repeat(map[string]func(*rapid.T){
			"declare": func(t *rapid.T) {
				x := broker.Exchange{Name: exchangeNames.Draw(t, "name"), AutoDelete: rapid.Bool().Draw(t, "auto-delete"),
					Type: rapid.SampledFrom([]string{broker.Direct, broker.Fanout, broker.Topic, broker.Headers}).Draw(t, "type")}
				if rapid.Bool().Draw(t, "alternate") {
					x.Arguments = wire.Table{"alternate-exchange": exchangeNames.Draw(t, "alternate name")}
				}
				_, exists := m.exchanges[x.Name]
				if created, err := v.DeclareExchange(x); created == exists || err != nil && !exists {
					t.Fatalf("declare %+v: %v, %v; existed: %v", x, created, err, exists)
				}
				if !exists {
					m.exchanges[x.Name] = x
				}
			},
			"bind": func(t *rapid.T) {
				b := drawBinding(t)
				_, from := m.exchanges[b.Source]
				_, to := m.exchanges[b.Destination]
				possible := from && (to || !b.ToExchange)
				known := slices.ContainsFunc(m.bindings, func(o broker.Binding) bool { return o.ID() == b.ID() })
				created, err := v.Bind(b)
				if (err == nil) != possible || created != (possible && !known) {
					t.Fatalf("bind %+v: %v, %v", b, created, err)
				}
				if created {
					m.bindings = append(m.bindings, b)
				}
			},
			"unbind": func(t *rapid.T) {
				b := drawBinding(t)
				if len(m.bindings) > 0 {
					b = rapid.SampledFrom(m.bindings).Draw(t, "binding")
				}
				var want broker.Removed
				m.drop(func(o broker.Binding) bool { return o.ID() != b.ID() }, &want)
				if got, err := v.Unbind(b); err != nil || !sameRemoved(got, want) {
					t.Fatalf("unbind %+v removed %v, want %v, %v", b, names(got), names(want), err)
				}
			},
			"delete exchange": func(t *rapid.T) {
				var want broker.Removed
				name := exchangeNames.Draw(t, "name")
				m.deleteExchange(name, &want)
				if got, err := v.DeleteExchange(name, false); err != nil || !sameRemoved(got, want) {
					t.Fatalf("delete %s removed %v, want %v, %v", name, names(got), names(want), err)
				}
			},
			"delete queue": func(t *rapid.T) {
				var want broker.Removed
				name := queueNames.Draw(t, "name")
				m.drop(func(b broker.Binding) bool { return b.ToExchange || b.Destination != name }, &want)
				if got := v.DeleteQueue(name); !sameRemoved(got, want) {
					t.Fatalf("delete %s removed %v, want %v", name, names(got), names(want))
				}
			},
			"": func(t *rapid.T) {
				if len(v.Bindings()) != len(m.bindings) {
					t.Fatalf("%d bindings, want %d", len(v.Bindings()), len(m.bindings))
				}
				key, headers := keys.Draw(t, "key"), messages.Draw(t, "headers")
				for name := range m.exchanges {
					if got, want := routed(t, v, name, key, headers), m.route(name, key, headers); !slices.Equal(got, want) {
						t.Fatalf("%s %q %v reaches %v, want %v", name, key, headers, got, want)
					}
				}
				restored := broker.New("/")
				restored.Restore(v.Exchanges(), v.Bindings())
				if !reflect.DeepEqual(restored.Bindings(), v.Bindings()) || !slices.Equal(restored.BusPatterns(), v.BusPatterns()) {
					t.Fatal("restored otherwise")
				}
			},
		})
	})
}
