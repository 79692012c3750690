package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Bounds of a specification.
const (
	maxRules   = 4096 // in all lists of one identity
	maxPattern = 4000 // bytes of a pattern or name
	maxRegex   = 1024 // bytes of a regular expression
)

// Lists are what is allowed and what is denied. Subjects are patterns with the bus's wildcards. In names of queues, streams and buckets * stands for any run of characters.
type Lists struct {
	Allow []string `json:"allow,omitempty" yaml:"allow,omitempty"`
	Deny  []string `json:"deny,omitempty" yaml:"deny,omitempty"`
}

// VHost are the regular expressions of AMQP for one vhost. An empty one matches nothing.
type VHost struct {
	VHost     string `json:"vhost" yaml:"vhost"`
	Configure string `json:"configure" yaml:"configure"`
	Write     string `json:"write" yaml:"write"`
	Read      string `json:"read" yaml:"read"`
}

// Topic are the regular expressions for the routing keys of one exchange; in them {username} and {vhost} stand for what they say.
type Topic struct {
	VHost    string `json:"vhost" yaml:"vhost"`
	Exchange string `json:"exchange" yaml:"exchange"`
	Write    string `json:"write" yaml:"write"`
	Read     string `json:"read" yaml:"read"`
}

// Spec is a policy as it is written down. The zero value allows everything.
type Spec struct {
	Publish   Lists `json:"publish,omitzero" yaml:"publish,omitempty"`
	Subscribe Lists `json:"subscribe,omitzero" yaml:"subscribe,omitempty"`
	Request   Lists `json:"request,omitzero" yaml:"request,omitempty"` // none: as Publish
	Serve     Lists `json:"serve,omitzero" yaml:"serve,omitempty"`     // none: as Subscribe

	Queue  map[string]Lists `json:"queue,omitempty" yaml:"queue,omitempty"`   // by append, consume, declare, bind, purge, delete
	Stream map[string]Lists `json:"stream,omitempty" yaml:"stream,omitempty"` // by read, write, manage
	Bucket map[string]Lists `json:"bucket,omitempty" yaml:"bucket,omitempty"` // likewise

	AMQP   []VHost  `json:"amqp,omitempty" yaml:"amqp,omitempty"`
	Topics []Topic  `json:"topics,omitempty" yaml:"topics,omitempty"`
	Roles  []string `json:"roles,omitempty" yaml:"roles,omitempty"`
}

// The roles that the gateway knows; others may be named, too. Administrator includes Monitoring. An identity without rules and without roles is an administrator: nothing was said against it. None is said by RoleNone.
const (
	RoleAdministrator = "administrator"
	RoleMonitoring    = "monitoring"
	RoleNone          = "none"
)

// lists returns the lists of every action that has some.
func (s *Spec) lists() (map[Action]Lists, error) {
	all := map[Action]Lists{Publish: s.Publish, Subscribe: s.Subscribe, Request: s.Request, Serve: s.Serve}
	for kind, byWord := range map[Kind]map[string]Lists{Queue: s.Queue, Stream: s.Stream, Bucket: s.Bucket} {
		for _, word := range slices.Sorted(maps.Keys(byWord)) {
			a, err := ParseAction(kind.String() + "." + word)
			if err != nil {
				return nil, fmt.Errorf("%s.%s: want one of %s", kind, word, strings.Join(wordsOf(kind), ", "))
			}
			all[a] = byWord[word]
		}
	}
	maps.DeleteFunc(all, func(_ Action, l Lists) bool { return len(l.Allow)+len(l.Deny) == 0 })
	return all, nil
}

// vhosts are those that are named.
func (s *Spec) vhosts() (all []string) {
	for _, v := range s.AMQP {
		all = append(all, cmp.Or(v.VHost, defaultTenant))
	}
	for _, t := range s.Topics {
		all = append(all, cmp.Or(t.VHost, defaultTenant))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func wordsOf(k Kind) (all []string) {
	for _, w := range words {
		if w.kind == k {
			all = append(all, w.word)
		}
	}
	return all
}

// check bounds the whole.
func (s *Spec) check(lists map[Action]Lists) error {
	n := len(s.AMQP) + len(s.Topics)
	for _, l := range lists {
		n += len(l.Allow) + len(l.Deny)
	}
	if n > maxRules {
		return fmt.Errorf("%d rules: at most %d", n, maxRules)
	}
	if len(s.Roles) > maxRules {
		return fmt.Errorf("%d roles: at most %d", len(s.Roles), maxRules)
	}
	return nil
}

// CheckPattern finds what is wrong with a subject pattern: tokens between dots, none empty, * and > as whole tokens, > last, no blanks or control characters.
func CheckPattern(p string) error {
	if p == "" || len(p) > maxPattern {
		return fmt.Errorf("pattern of %d bytes: want 1 to %d", len(p), maxPattern)
	}
	tokens := strings.Split(p, ".")
	for i, t := range tokens {
		blank := strings.ContainsFunc(t, func(r rune) bool { return r <= ' ' || r == 0x7f })
		wild := strings.ContainsAny(t, "*>") && len(t) > 1
		if t == "" || blank || wild || t == ">" && i < len(tokens)-1 {
			return fmt.Errorf("%q is no subject pattern such as orders.* or orders.>", p)
		}
	}
	return nil
}

// checkName finds what is wrong with a pattern of names.
func checkName(p string) error {
	if p == "" || len(p) > maxPattern {
		return fmt.Errorf("name of %d bytes: want 1 to %d", len(p), maxPattern)
	}
	return nil
}
