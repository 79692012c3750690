package broker

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Policies are the policies of one virtual host, users' and operators'. The zero value
// is empty and ready. All methods may be called from any number of goroutines; what
// reads takes no lock. Whoever changes them tells those that they concern, see
// [VHost.SetPolicies].
type Policies struct {
	mu    sync.Mutex // of writers
	state atomic.Pointer[policyState]
}

// policyState is one state of the policies of each kind, in the order in which they
// are tried. Immutable.
type policyState [OperatorPolicy + 1][]*compiledPolicy

type compiledPolicy struct {
	Policy
	pattern namePattern
}

func (s *Policies) load() policyState {
	if state := s.state.Load(); state != nil {
		return *state
	}
	return policyState{}
}

// Put adds p or replaces the one of its name. The error is a *PolicyError.
func (s *Policies) Put(kind PolicyKind, p Policy) error {
	p.ApplyTo, p.Definition = applyTo(p.ApplyTo), normalDefinition(p.Definition)
	pattern, err := p.check(kind)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.load().without(kind, p.Name)
	list = append(list, &compiledPolicy{Policy: p, pattern: pattern})
	slices.SortFunc(list, func(a, b *compiledPolicy) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), strings.Compare(a.Name, b.Name))
	})
	s.store(kind, list)
	return nil
}

// Delete removes the policy of that name and says whether there was one.
func (s *Policies) Delete(kind PolicyKind, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.load()
	list := state.without(kind, name)
	if len(list) == len(state[kind]) {
		return false
	}
	s.store(kind, list)
	return true
}

// without is a copy of a list without the policy of that name.
func (s policyState) without(kind PolicyKind, name string) []*compiledPolicy {
	return slices.DeleteFunc(slices.Clone(s[kind]), func(p *compiledPolicy) bool { return p.Name == name })
}

// store is called under mu.
func (s *Policies) store(kind PolicyKind, list []*compiledPolicy) {
	next := s.load()
	next[kind] = list
	s.state.Store(&next)
}

// Get returns the policy of that name; it is the caller's, but for what nested values
// its definition has.
func (s *Policies) Get(kind PolicyKind, name string) (Policy, bool) {
	for _, p := range s.load()[kind] {
		if p.Name == name {
			return p.copied(), true
		}
	}
	return Policy{}, false
}

// List returns all policies of a kind, sorted by name; they are the caller's as those
// of [Policies.Get] are.
func (s *Policies) List(kind PolicyKind) []Policy {
	list := s.load()[kind]
	all := make([]Policy, 0, len(list))
	for _, p := range list {
		all = append(all, p.copied())
	}
	slices.SortFunc(all, func(a, b Policy) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (p *compiledPolicy) copied() Policy {
	c := p.Policy
	c.Definition = maps.Clone(c.Definition)
	return c
}

// For returns the policies of the queue of that name and type: of each kind the one of
// highest priority whose pattern matches, that applies to such queues, and that has no
// key which queues of this type do not know.
func (s *Policies) For(queue string, t QueueType) Applied {
	return s.match(queue, func(p *compiledPolicy) bool { return p.appliesTo(t) })
}

// ForExchange returns the policies of the exchange of that name, as For does. A policy
// that applies to all may win here though it has nothing to say about exchanges.
func (s *Policies) ForExchange(name string) Applied {
	return s.match(name, func(p *compiledPolicy) bool { return p.ApplyTo == ApplyToAll || p.ApplyTo == ApplyToExchanges })
}

func (s *Policies) match(name string, applies func(*compiledPolicy) bool) Applied {
	var found [OperatorPolicy + 1]*Policy
	for kind, list := range s.load() {
		i := slices.IndexFunc(list, func(p *compiledPolicy) bool { return applies(p) && p.pattern.matches(name) })
		if i >= 0 {
			found[kind] = &list[i].Policy
		}
	}
	return Applied{User: found[UserPolicy], Operator: found[OperatorPolicy]}
}

func (p *compiledPolicy) appliesTo(t QueueType) bool {
	switch p.ApplyTo {
	case ApplyToAll, ApplyToQueues:
	case ApplyToClassicQueues:
		if t != Classic {
			return false
		}
	case ApplyToQuorumQueues:
		if t != Quorum {
			return false
		}
	case ApplyToStreams:
		if t != Stream {
			return false
		}
	default:
		return false
	}
	for key := range p.Definition {
		if slices.Contains(unsupported(t), key) {
			return false
		}
	}
	return true
}

// unsupported are the keys that keep a policy from applying to a queue of type t
// [RMQ 3.13].
func unsupported(t QueueType) []string {
	switch t {
	case Quorum:
		return []string{
			"max-priority", "queue-mode", "single-active-consumer", "ha-mode", "ha-params", "ha-sync-mode",
			"ha-promote-on-shutdown", "ha-promote-on-failure", "queue-master-locator",
			"max-age", "stream-max-segment-size-bytes", "initial-cluster-size",
		}
	case Stream:
		return []string{
			"expires", "message-ttl", "dead-letter-exchange", "dead-letter-routing-key", "max-length",
			"max-in-memory-length", "max-in-memory-bytes", "max-priority", "overflow", "queue-mode",
			"single-active-consumer", "delivery-limit", "ha-mode", "ha-params", "ha-sync-mode",
			"ha-promote-on-shutdown", "ha-promote-on-failure", "queue-master-locator",
			"dead-letter-strategy", "target-group-size",
		}
	}
	return []string{
		"max-age", "stream-max-segment-size-bytes", "queue-leader-locator", "initial-cluster-size",
		"delivery-limit", "dead-letter-strategy", "max-in-memory-length", "max-in-memory-bytes", "target-group-size",
	}
}
