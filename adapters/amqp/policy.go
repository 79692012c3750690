package amqp

import (
	"encoding/json"
	"fmt"
	"strings"

	"portico/adapters/amqp/broker"
	"portico/core"
)

// Key prefixes of policies in topologyTable; the policy's name follows.
var policyKeys = [...]string{broker.UserPolicy: "p/", broker.OperatorPolicy: "o/"}

// Rules implements core.Router: what a queue was declared with, under its policies.
func (v *vhost) Rules(c *core.QueueConfig) core.QueueRules {
	declared := arguments(c)
	applied := v.policies.For(c.Name, declared.Type)
	if applied.User == nil && applied.Operator == nil {
		return c.QueueRules
	}
	r := queueRules(applied.Queue(declared))
	if c.DeadLetter.Queue != "" || c.DeadLetter.Subject != "" { // another door's, and as good as an argument
		r.DeadLetter = c.DeadLetter
	}
	return r
}

// putPolicy adds or replaces a policy; it is on disk and in force for everything there is when it returns. The error is a *broker.PolicyError, or the table's.
func (v *vhost) putPolicy(kind broker.PolicyKind, p broker.Policy) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	before := v.alternatePatterns()
	former, replaced := v.policies.Get(kind, p.Name)
	if err := v.policies.Put(kind, p); err != nil {
		return err
	}
	value, err := json.Marshal(p)
	if err == nil {
		err = v.keep(policyKeys[kind]+p.Name, value)
	}
	if err != nil {
		v.policies.Delete(kind, p.Name)
		if replaced {
			_ = v.policies.Put(kind, former) // it was in force a moment ago
		}
		return err
	}
	return v.applyPolicies(before)
}

// deletePolicy removes a policy and tells whether there was one.
func (v *vhost) deletePolicy(kind broker.PolicyKind, name string) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, there := v.policies.Get(kind, name); !there {
		return false, nil
	}
	before := v.alternatePatterns()
	if err := v.unkeep(policyKeys[kind] + name); err != nil {
		return false, err
	}
	v.policies.Delete(kind, name)
	return true, v.applyPolicies(before)
}

// applyPolicies has exchanges and queues follow the policies as they are now; before are the alternatePatterns until now. The caller holds mu.
func (v *vhost) applyPolicies(before []string) error {
	v.broker.SetPolicies(&v.policies)
	v.bus.Regovern()
	return v.bus.ChangeIngress(v.alternatePatterns(), before)
}

// restorePolicy takes one entry of the table.
func (v *vhost) restorePolicy(key string, value []byte) error {
	for kind, prefix := range policyKeys {
		name, ok := strings.CutPrefix(key, prefix)
		if !ok {
			continue
		}
		var p broker.Policy
		if err := json.Unmarshal(value, &p); err != nil {
			return fmt.Errorf("policy record %q: %w", key, err)
		}
		p.Name = name
		if err := v.policies.Put(broker.PolicyKind(kind), p); err != nil {
			return fmt.Errorf("policy record %q: %w", key, err)
		}
	}
	return nil
}
