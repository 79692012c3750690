package policy

import (
	"slices"
	"strings"
)

// What decides where no rule does.
const (
	ruleNone    = "no rule: everything is allowed"
	ruleNoList  = "no list for this: everything is allowed"
	ruleInbox   = "inboxes are open to everybody"
	ruleAnyRole = "nothing is refused and no roles are named"
	ruleNoRole  = "no role for this"
)

// DefaultExchange is what AMQP's default exchange is called in its regular expressions, and TopicExchange the exchange whose routing keys are the subjects of the bus.
const (
	DefaultExchange = "amq.default"
	TopicExchange   = "amq.topic"
)

// Decide tells whether an action is allowed, and by which rule. It is the only place where that is decided, for every door. It costs some 20 ns for what was asked a moment ago.
func (p *Policy) Decide(a Action, r Resource) Decision {
	switch {
	case a == Administer || a == Monitor:
		return p.role(a)
	case p.Open():
		return Decision{Allowed: true, Rule: ruleNone}
	case r.Owner != "" || a.Kind() == Exchange:
		return p.decide(a, r)
	case isInbox(r.Name): // each is used once: not worth remembering
		return p.decide(a, r)
	}
	if d, ok := p.memory.find(a, r.Name); ok {
		return d
	}
	d := p.decide(a, r)
	p.memory.put(a, r.Name, d)
	return d
}

func (p *Policy) decide(a Action, r Resource) Decision { return both(p.byLists(a, r), p.byRegex(a, r)) }

// ByLists is what the lists alone decide.
func (p *Policy) ByLists(a Action, r Resource) Decision {
	if p.Open() {
		return Decision{Allowed: true, Rule: ruleNone}
	}
	return p.byLists(a, r)
}

// ByRegex is what the regular expressions and topic permissions of AMQP alone decide: for what is free to everybody by the lists, such as a connection's own queues.
func (p *Policy) ByRegex(a Action, r Resource) Decision {
	if p.Open() {
		return Decision{Allowed: true, Rule: ruleNone}
	}
	return p.byRegex(a, r)
}

func (p *Policy) byLists(a Action, r Resource) Decision {
	switch a.Kind() {
	case Subject:
		return p.onSubject(a, r.Name)
	case Queue:
		return p.onQueue(a, r)
	case Exchange:
		return p.onExchange(a, r)
	}
	if d, ok := p.lists[a].onName(r.Name); ok {
		return d
	}
	return Decision{Allowed: true, Rule: ruleNoList}
}

func (p *Policy) byRegex(a Action, r Resource) Decision {
	switch a.Kind() {
	case Subject:
		return p.amqp.onSubject(a, r)
	case Exchange:
		return p.amqp.onExchange(a, r)
	}
	return p.amqp.onName(a, r.Name)
}

// Everything tells whether the rules, if there are some, allow everything all the same.
func (p *Policy) Everything() bool {
	if p.Open() {
		return true
	}
	for a, l := range p.lists {
		switch {
		case l == nil:
		case len(l.deny.all) > 0, Action(a).Kind() != Subject && l.allow.named("\x00*") == "":
			return false
		case Action(a).Kind() == Subject && len(l.allow.all) > 0 && (l.allow.subject(">", contains) == "" || l.allow.subject("$queue.>", Covers) == ""):
			return false
		}
	}
	return p.amqp.open(configure) && p.amqp.open(write) && p.amqp.open(read)
}

// both is allowed only if each is: the first refusal decides, else the first that some rule made.
func both(d, e Decision) Decision {
	if d.Allowed && (!e.Allowed || d.Rule == ruleNoList && e.Rule != "") {
		return e
	}
	return d
}

// onSubject asks the lists: request falls back on publish, and serve on subscribe.
func (p *Policy) onSubject(a Action, s string) Decision {
	l := p.lists[a]
	if l == nil && a == Request {
		l = p.lists[Publish]
	}
	if l == nil && a == Serve {
		l = p.lists[Subscribe]
	}
	if d, ok := l.onSubject(s); ok {
		return d
	}
	if isInbox(s) {
		return Decision{Allowed: true, Rule: ruleInbox}
	}
	return Decision{Allowed: true, Rule: ruleNoList}
}

// onQueue asks the list of the action, and if it has nothing to say the lists of subjects, in which a queue has a subject of its own ($queue.NAME).
func (p *Policy) onQueue(a Action, r Resource) Decision {
	if d, ok := p.lists[a].onName(r.Name); ok {
		return d
	}
	if a == Append {
		return p.onSubject(Publish, r.Subject)
	}
	return p.onSubject(Subscribe, r.Subject)
}

// onExchange asks the lists of subjects: to write is to publish on the subject, to read to subscribe to it, and to configure or to bind needs either for all that lies below the name.
func (p *Policy) onExchange(a Action, r Resource) Decision {
	if r.Subject == "" {
		return Decision{Allowed: true, Rule: ruleNoList}
	}
	switch a {
	case WriteExchange:
		return p.onSubject(Publish, r.Subject)
	case ReadExchange:
		return p.onSubject(Subscribe, r.Subject)
	}
	head := strings.TrimSuffix(r.Subject, ">")
	if d := p.onSubject(Publish, head+"%_"); d.Allowed {
		return d
	}
	return p.onSubject(Subscribe, r.Subject)
}

// SeesSome tells whether a subscription to pattern that is allowed may nevertheless not see everything: then each message is decided on by its subject.
func (p *Policy) SeesSome(a Action, pattern string) bool {
	if p.Open() || isInbox(pattern) {
		return false
	}
	if p.amqp != nil {
		return true
	}
	l := p.lists[a]
	if l == nil {
		l = p.lists[Subscribe]
	}
	return l != nil && l.overlaps(pattern)
}

// overlaps tells whether some deny matches a part of pattern.
func (l *list) overlaps(pattern string) bool {
	return slices.ContainsFunc(l.deny.all, func(r rule) bool { return Overlap(r.pattern, pattern) })
}

// role decides on what needs a role.
func (p *Policy) role(a Action) Decision {
	if p == nil || len(p.roles) == 0 {
		if p.Everything() {
			return Decision{Allowed: true, Rule: ruleAnyRole}
		}
		return Decision{Rule: ruleNoRole}
	}
	for _, role := range []string{RoleAdministrator, RoleMonitoring} {
		if slices.Contains(p.roles, role) && (role == RoleAdministrator || a == Monitor) {
			return Decision{Allowed: true, Rule: "role " + role}
		}
	}
	return Decision{Rule: ruleNoRole}
}

func isInbox(s string) bool { return strings.HasPrefix(s, inboxes) }

// Storage decides about a stream or bucket by the lists of streams and buckets and by regular expressions. decided is false if neither has anything to say: then the lists of subjects do, in which
// streams and buckets are known by the subjects that NATS clients use them with.
func (p *Policy) Storage(a Action, name string) (d Decision, decided bool) {
	if p.Open() {
		return Decision{Allowed: true, Rule: ruleNone}, true
	}
	if p.amqp != nil {
		if d = p.amqp.onName(a, name); !d.Allowed {
			return d, true
		}
	}
	d, decided = p.lists[a].onName(name)
	if !decided && p.amqp != nil && p.lists[Publish] == nil && p.lists[Subscribe] == nil {
		return p.amqp.onName(a, name), true
	}
	return d, decided
}

// SeesPart tells whether a deny hides a part of what a pattern matches: whatever keeps messages for later cannot be fed by it.
func (p *Policy) SeesPart(pattern string) bool {
	return !p.Open() && p.lists[Subscribe] != nil && p.lists[Subscribe].overlaps(pattern)
}

// SeesAll tells whether no subject is hidden from whoever has the policy.
func (p *Policy) SeesAll() bool { return p.Open() || p.lists[Subscribe] == nil && p.amqp == nil }

// Asks tells whether there are rules for requests of their own.
func (p *Policy) Asks() bool { return !p.Open() && p.lists[Request] != nil }
