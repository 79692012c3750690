package core

import (
	"strings"

	"portico/core/policy"
)

// The actions that Bus.Allow knows.
const (
	actionPublish   = "publish"
	actionSubscribe = "subscribe"
)

// QueueSubject is what a queue is called in lists of subjects: "publish" on it is appending, "subscribe" is consuming, declaring, purging, deleting and binding.
func QueueSubject(name string) string { return queueResource + EncodeToken(name) }

const queueResource = "$queue."

// Policy is what the identity may do at this moment; nil for the gateway itself, which may everything, as may others with a nil policy.
func (b *Bus) Policy() *policy.Policy {
	if b.system {
		return nil
	}
	return b.who().Permissions.In(b.tenant.name)
}

// Decide tells whether the identity may do a with a resource, and by which rule. Names are not checked. Of a subject or queue the name is enough: what else a policy wants to know is filled in.
func (b *Bus) Decide(a policy.Action, r policy.Resource) policy.Decision {
	if b.system {
		return policy.Decision{Allowed: true, Rule: "the gateway itself"}
	}
	p := b.Policy()
	switch {
	case p.Open():
	case a.Kind() == policy.Queue:
		r.Subject = QueueSubject(r.Name)
	case a.Kind() == policy.Subject && p.ByExchange():
		r = b.tenant.owned(a, r)
	}
	return p.Decide(a, r)
}

// May is Decide as an error: CodePermissionDenied if refused. Subjects, patterns and names are checked: CodeInvalid.
func (b *Bus) May(a policy.Action, name string) error {
	switch a.Kind() {
	case policy.Subject:
		return b.maySubject(a, name)
	case policy.Queue:
		return b.mayQueue(a, name)
	}
	return b.refused(a, policy.Resource{Name: name})
}

func (b *Bus) refused(a policy.Action, r policy.Resource) error {
	if b.system {
		return nil
	}
	d := b.Decide(a, r)
	if d.Allowed {
		return nil
	}
	b.recordDenied(a, r.Name, d.Rule)
	return Errorf(CodePermissionDenied, "%s to %q is not allowed", a, r.Name)
}

// Unrestricted tells whether nothing is refused to the identity but what needs a role.
func (b *Bus) Unrestricted() bool { return b.system || b.Policy().Everything() }

// Allow checks a permission without using it. action is "publish" or "subscribe"; subject may have wildcards for the latter, and may be a queue's (QueueSubject): then they are appending and
// consuming. CodePermissionDenied if refused, CodeInvalid if subject is none.
func (b *Bus) Allow(action, subject string) error {
	publish := action == actionPublish
	if token, ok := strings.CutPrefix(subject, queueResource); ok {
		name, ok := DecodeToken(token)
		switch {
		case !ok:
			return Errorf(CodeInvalid, "%q is not what a queue is called in permissions", subject)
		case publish:
			return b.mayQueue(policy.Append, name)
		}
		return b.mayQueue(policy.Consume, name)
	}
	if publish {
		return b.mayPublish(subject)
	}
	return b.maySubscribe(subject)
}

func (b *Bus) mayPublish(subject string) error   { return b.maySubject(policy.Publish, subject) }
func (b *Bus) maySubscribe(pattern string) error { return b.maySubject(policy.Subscribe, pattern) }
func listening(a policy.Action) bool             { return a == policy.Subscribe || a == policy.Serve }

// maySend checks the right to publish m. Whoever names where answers go makes a request.
func (b *Bus) maySend(m *Message) error {
	if m.Reply != "" {
		return b.maySubject(policy.Request, m.Subject)
	}
	return b.maySubject(policy.Publish, m.Subject)
}

// maySubject checks what is done with a subject or pattern. Nobody but the gateway itself uses the bus's own subjects, and an inbox that is listened to must be named.
func (b *Bus) maySubject(a policy.Action, subject string) error {
	check := checkSubject
	if listening(a) {
		check = checkPattern
	}
	if err := check(subject); err != nil {
		return err
	}
	if b.system {
		return nil
	}
	if strings.HasPrefix(subject, "$") {
		return Errorf(CodePermissionDenied, "%s to %q: subjects that begin with $ belong to the bus", a, subject)
	}
	if tail, ok := strings.CutPrefix(subject, inboxes); ok && listening(a) && hasWildcard(firstWord(tail)) {
		return Errorf(CodePermissionDenied, "%s to %q: an inbox must be named", a, subject)
	}
	return b.refused(a, policy.Resource{Name: subject})
}

// MayFeed checks that everything that pattern matches may be kept for the identity, in a queue or elsewhere, as by a subscription: what is kept is not looked at again. So a pattern of which a part is
// denied is refused, and one that may reach exchanges that regular expressions do not let read. CodeInvalid, CodePermissionDenied.
func (b *Bus) MayFeed(pattern string) error {
	if err := b.maySubscribe(pattern); err != nil {
		return err
	}
	p := b.Policy()
	first := firstWord(pattern)
	exchange, _ := DecodeToken(first)
	switch {
	case p.SeesPart(pattern):
		return Errorf(CodePermissionDenied, "a part of what %q matches is denied", pattern)
	case !p.ByExchange() || !strings.Contains(pattern, ".") && first != everything:
		return nil
	case hasWildcard(first) && !p.ReadsAll(), !hasWildcard(first) && !p.ByRegex(policy.ReadExchange, policy.Resource{Name: exchange}).Allowed:
		return Errorf(CodePermissionDenied, "%q may match what is published to exchanges that may not be read", pattern)
	}
	return nil
}

// mayQueue checks what is done with a queue.
func (b *Bus) mayQueue(a policy.Action, name string) error {
	if name == "" || len(name) > maxSubject/3 {
		return Errorf(CodeInvalid, "queue name of %d bytes: want 1 to %d", len(name), maxSubject/3)
	}
	return b.refused(a, policy.Resource{Name: name})
}

// Owner knows which exchange a subject belongs to. A Router may be one.
type Owner interface {
	// Owner returns the exchange below whose name subject lies, with the key there; ok is false if there is none. It must not block.
	Owner(subject string) (exchange, key string, byTopic, ok bool)
}

// owned fills in what regular expressions are about: the subject as a routing key, and the exchange it belongs to.
func (t *tenant) owned(a policy.Action, r policy.Resource) policy.Resource {
	r.Key, _ = DecodeKey(r.Name)
	if listening(a) {
		r.Key = bindingKey(r.Name)
	}
	if x, ok := t.currentRouter().(Owner); ok {
		if exchange, key, byTopic, found := x.Owner(r.Name); found {
			r.Owner, r.OwnerKey, r.OwnTopic = exchange, key, byTopic
		}
	}
	return r
}

// bindingKey is a pattern as AMQP writes it: # for the > at its end.
func bindingKey(pattern string) string {
	if head, ok := strings.CutSuffix(pattern, ">"); ok {
		head, _ = DecodeKey(strings.TrimSuffix(head, "."))
		if head == "" {
			return "#"
		}
		return head + ".#"
	}
	key, _ := DecodeKey(pattern)
	return key
}
