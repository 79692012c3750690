package broker

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
)

// PolicyKind tells the two sets of policies apart. An exchange or queue has at most
// one policy of each kind.
type PolicyKind uint8

// The kinds of policies.
const (
	UserPolicy PolicyKind = iota
	// OperatorPolicy limits what users ask for.
	OperatorPolicy
)

// What a policy may apply to.
const (
	ApplyToAll           = "all"
	ApplyToQueues        = "queues"
	ApplyToClassicQueues = "classic_queues"
	ApplyToQuorumQueues  = "quorum_queues"
	ApplyToStreams       = "streams"
	ApplyToExchanges     = "exchanges"
)

// Policy gives settings to all exchanges and queues whose name matches a pattern
// [RMQ policies]. As JSON it is what RabbitMQ's management API takes and gives, but for
// the virtual host:
//
//	{"name": "limits", "pattern": "^jobs\\.", "apply-to": "queues", "definition": {"max-length": 1000}, "priority": 0}
type Policy struct {
	Name string
	// Pattern is a regular expression that a name contains: Go's, and at its beginning
	// the lookaheads "^(?!...)" and "^(?=...)" of RabbitMQ's.
	Pattern string
	// ApplyTo is one of ApplyToAll and so on; empty is all.
	ApplyTo string
	// Priority decides which of several matching policies applies: the highest, and
	// among equals the first by name.
	Priority int
	// Definition is the settings: strings, bools, numbers (int64 where they are whole),
	// and for keys without a meaning here anything that JSON has.
	Definition map[string]any
}

// PolicyError says why a policy is none, in RabbitMQ's words and one line for each
// mistake. The management API answers 400 to it.
type PolicyError struct {
	Reason string
}

// Error is the reason.
func (e *PolicyError) Error() string { return e.Reason }

// policyJSON is a policy as JSON; pointers tell absent from empty.
type policyJSON struct {
	Name       string         `json:"name"`
	Pattern    *string        `json:"pattern"`
	ApplyTo    string         `json:"apply-to"`
	Definition map[string]any `json:"definition"`
	Priority   json.Number    `json:"priority"`
}

// MarshalJSON writes all fields.
func (p Policy) MarshalJSON() ([]byte, error) {
	definition := p.Definition
	if definition == nil {
		definition = map[string]any{}
	}
	return json.Marshal(policyJSON{
		Name: p.Name, Pattern: &p.Pattern, ApplyTo: applyTo(p.ApplyTo), Definition: definition,
		Priority: json.Number(strconv.Itoa(p.Priority)),
	})
}

// UnmarshalJSON reads what MarshalJSON writes, with or without a name; unknown fields
// are ignored. Absent or null priority is 0, apply-to all. Whether the definition makes
// sense is looked at later, by [Policies.Put]. The error is a *PolicyError, or
// encoding/json's for what is no such object.
func (p *Policy) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var j policyJSON
	if err := d.Decode(&j); err != nil {
		return err
	}
	if j.Pattern == nil {
		return &PolicyError{Reason: `Key "pattern" not found in ` + j.Name}
	}
	if j.Definition == nil {
		return &PolicyError{Reason: `Key "definition" not found in ` + j.Name}
	}
	priority, err := wholePriority(j.Priority)
	if err != nil {
		return err
	}
	*p = Policy{
		Name: j.Name, Pattern: *j.Pattern, ApplyTo: applyTo(j.ApplyTo), Priority: priority,
		Definition: normalDefinition(j.Definition),
	}
	return nil
}

func wholePriority(n json.Number) (int, error) {
	if n == "" {
		return 0, nil
	}
	whole, ok := normal(n).(int64)
	if !ok || whole != int64(int(whole)) {
		return 0, &PolicyError{Reason: "priority should be a number, actually was " + n.String()}
	}
	return int(whole), nil
}

func applyTo(s string) string {
	if s == "" {
		return ApplyToAll
	}
	return s
}

// normalDefinition is a copy of d with numbers as int64 where they are whole, else
// float64.
func normalDefinition(d map[string]any) map[string]any {
	c := maps.Clone(d)
	for key, v := range c {
		c[key] = normal(v)
	}
	return c
}

// exactFloat is where float64 begins to leave out integers.
const exactFloat = 1 << 53

func normal(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			return v.String() // beyond float64, and so no value of any key
		}
		return normal(f)
	case float32:
		return normal(float64(v))
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < exactFloat {
			return int64(v)
		}
	case map[string]any:
		return normalDefinition(v)
	case []any:
		c := slices.Clone(v)
		for i := range c {
			c[i] = normal(c[i])
		}
		return c
	}
	if n, ok := Integer(v); ok {
		return n
	}
	return v
}
