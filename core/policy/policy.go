package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Policy is what one identity may do. It is immutable and safe for use by many goroutines; nil allows everything but what needs a role.
type Policy struct {
	lists  [actions]*list
	names  bool // some list is of streams or buckets
	amqp   *regexes
	others map[string]*Policy // by tenant: this policy with the regular expressions of that vhost
	none   *Policy            // likewise for vhosts that are not named
	roles  []string
	closed bool // there is some rule
	spec   Spec
	memory memory
}

// rule is one entry of a list with the name that explains it.
type rule struct{ pattern, name string }

// list are the rules of one action.
type list struct {
	action Action
	allow  rules
	deny   rules
}

// rules find the one that matches fast: by the first tokens if they are subject patterns.
type rules struct {
	all     []rule
	byTwo   map[string][]int // of subject patterns whose first two tokens are no wildcards
	byFirst map[string][]int // of others whose first token is none
	wild    []int            // the others
}

// New makes the policy of a user in a tenant. A nil spec, and one without any rule, allows everything.
func New(user, tenant string, spec *Spec) (*Policy, error) {
	p := &Policy{}
	if spec == nil {
		return p, nil
	}
	lists, err := spec.lists()
	if err != nil {
		return nil, err
	}
	if err := spec.check(lists); err != nil {
		return nil, err
	}
	for a, l := range lists {
		if p.lists[a], err = newList(a, l); err != nil {
			return nil, err
		}
		p.names = p.names || a.Kind() == Stream || a.Kind() == Bucket
	}
	if p.amqp, err = newRegexes(user, tenant, spec); err != nil {
		return nil, err
	}
	p.closed = len(lists) > 0 || p.amqp != nil
	p.roles, p.spec = slices.Clone(spec.Roles), *spec
	if p.amqp == nil {
		return p, nil
	}
	p.others = map[string]*Policy{}
	for _, vhost := range spec.vhosts() {
		if p.others[vhost], err = p.with(user, vhost); err != nil {
			return nil, err
		}
	}
	p.none, err = p.with(user, "")
	return p, err
}

// with returns the policy as it is in a vhost; "" is one that is named nowhere.
func (p *Policy) with(user, vhost string) (*Policy, error) {
	other := &Policy{lists: p.lists, names: p.names, roles: p.roles, closed: p.closed, spec: p.spec}
	var err error
	if vhost == "" {
		vhost = "\x00"
	}
	other.amqp, err = newRegexes(user, vhost, &p.spec)
	return other, err
}

// In returns the policy as it is in a tenant: the regular expressions of AMQP are by vhost, and a tenant that has none there allows nothing by them.
func (p *Policy) In(tenant string) *Policy {
	if p == nil || p.amqp == nil {
		return p
	}
	if other := p.others[tenant]; other != nil {
		return other
	}
	return cmp.Or(p.none, p)
}

// Spec is the policy as it was written down. It must not be changed.
func (p *Policy) Spec() Spec {
	if p == nil {
		return Spec{}
	}
	return p.spec
}

// Open tells whether there is no rule at all: every action but those that need a role is allowed.
func (p *Policy) Open() bool { return p == nil || !p.closed }

// ByExchange tells whether decisions about subjects need to know which exchange they belong to (Resource.Owner).
func (p *Policy) ByExchange() bool { return p != nil && p.amqp != nil }

func newList(a Action, l Lists) (*list, error) {
	out := &list{action: a}
	for _, side := range []struct {
		word string
		from []string
		to   *rules
	}{{"allow", l.Allow, &out.allow}, {"deny", l.Deny, &out.deny}} {
		for i, pattern := range side.from {
			check := checkName
			if a.Kind() == Subject {
				check = CheckPattern
			}
			if err := check(pattern); err != nil {
				return nil, fmt.Errorf("%s.%s[%d]: %w", a, side.word, i, err)
			}
			side.to.all = append(side.to.all, rule{pattern, fmt.Sprintf("%s.%s[%d] %s", a, side.word, i, strconv.Quote(pattern))})
		}
		if a.Kind() == Subject {
			side.to.index()
		}
	}
	return out, nil
}

func (r *rules) index() {
	r.byFirst, r.byTwo = map[string][]int{}, map[string][]int{}
	for i, one := range r.all {
		first, two := heads(one.pattern)
		switch {
		case wildFirst(one.pattern):
			r.wild = append(r.wild, i)
		case two == "" || strings.HasSuffix(two, ".*") || strings.HasSuffix(two, ".>"):
			r.byFirst[first] = append(r.byFirst[first], i)
		default:
			r.byTwo[two] = append(r.byTwo[two], i)
		}
	}
}

// heads are the first token of a subject or pattern, and its first two, "" if it has no two.
func heads(s string) (first, two string) {
	i := strings.IndexByte(s, '.')
	if i < 0 {
		return s, ""
	}
	if j := strings.IndexByte(s[i+1:], '.'); j >= 0 {
		return s[:i], s[:i+1+j]
	}
	return s[:i], s
}

// subject returns the name of a rule that covers a subject or pattern, "" for none.
func (r *rules) subject(s string, covers func(pattern, sub string) bool) string {
	first, two := heads(s)
	for _, among := range [...][]int{r.byTwo[two], r.byFirst[first], r.wild} {
		for _, i := range among {
			if covers(r.all[i].pattern, s) {
				return r.all[i].name
			}
		}
	}
	return ""
}

// named is subject for names.
func (r *rules) named(name string) string {
	for _, one := range r.all {
		if matchName(one.pattern, name) {
			return one.name
		}
	}
	return ""
}

// onSubject decides by the list alone; ok is false if it has nothing to say.
func (l *list) onSubject(s string) (d Decision, ok bool) {
	if l == nil {
		return Decision{}, false
	}
	if name := l.deny.subject(s, denies); name != "" {
		return Decision{Rule: name}, true
	}
	if len(l.allow.all) == 0 || isInbox(s) {
		return Decision{}, false
	}
	if name := l.allow.subject(s, Covers); name != "" {
		return Decision{Allowed: true, Rule: name}, true
	}
	return Decision{Rule: l.action.String() + ".allow names nothing that covers it"}, true
}

// onName is onSubject for names.
func (l *list) onName(name string) (d Decision, ok bool) {
	if l == nil {
		return Decision{}, false
	}
	if rule := l.deny.named(name); rule != "" {
		return Decision{Rule: rule}, true
	}
	if len(l.allow.all) == 0 {
		return Decision{}, false
	}
	if rule := l.allow.named(name); rule != "" {
		return Decision{Allowed: true, Rule: rule}, true
	}
	return Decision{Rule: l.action.String() + ".allow names nothing that fits"}, true
}
