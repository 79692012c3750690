package policy

import (
	"slices"
	"strings"
)

// Native are the lists of subjects that a NATS or MQTT client of an identity gets from the embedded server, which decides by nothing else. A side without allows allows everything.
//
// What they cannot say is said more narrowly, never more widely: a client may publish only what may be requested, too, and subscribe only where it may serve; the regular expressions of AMQP
// either allow everything or nothing but inboxes; who has lists of streams or buckets, or whose regular expressions are not all open, has no JetStream there.
type Native struct {
	Publish, Subscribe Lists
	exact              bool
}

// busOwn are the subjects of the bus itself, which wildcards in the first token of an allow do not reach.
func busOwn() []string {
	return []string{"$JS.>", "$KV.>", "$O.>", "$MQTT.>", "$SYS.>", "$SRV.>", "$queue.>"}
}

// storage are the subjects by which a client uses streams, buckets and objects.
func storage() []string { return []string{"$JS.>", "$KV.>", "$O.>"} }

// Native returns the lists of the embedded server; nil if it need not look at all.
func (p *Policy) Native() *Native {
	if p.Open() {
		return nil
	}
	n := &Native{exact: p.amqp == nil && !p.names && p.lists[Request] == nil && p.lists[Serve] == nil}
	n.Publish = n.side(p.lists[Publish], p.lists[Request], p.amqp.open(write), false)
	n.Subscribe = n.side(p.lists[Subscribe], p.lists[Serve], p.amqp.open(read), true)
	if p.names || !p.amqp.open(configure) || !p.amqp.open(write) || !p.amqp.open(read) {
		n.Publish.Deny = append(n.Publish.Deny, storage()...)
		n.Subscribe.Deny = append(n.Subscribe.Deny, storage()...)
	}
	return n
}

// Exact tells whether the lists say just what Decide says of Publish and Subscribe; if not they are narrower somewhere.
func (n *Native) Exact() bool { return n.exact }

// side makes one side of the lists from those of the two actions that are one there.
func (n *Native) side(one, two *list, open, listens bool) Lists {
	var out Lists
	if open && one == nil && two == nil {
		return out
	}
	allow := meet(allowed(one), allowed(two))
	if listens && open {
		allow, out.Deny = n.narrowed(allow)
	}
	for _, l := range []*list{one, two} {
		if l != nil {
			out.Deny = append(out.Deny, patterns(l.deny.all)...)
		}
	}
	if !open {
		allow = []string{}
	}
	if allow == nil {
		return out
	}
	out.Allow = append([]string{inboxes + ">"}, allow...)
	out.Deny = append(out.Deny, n.hidden(allow)...)
	return out
}

// narrowed answers to a weakness of the server: whoever may subscribe to orders.* may subscribe to orders.> there, and would hear orders.eu.new. So what lies deeper is denied: the server accepts the
// subscription, and leaves it out. Where something deeper is allowed, too, that cannot be said, and orders.* is not allowed at all.
func (n *Native) narrowed(allow []string) (kept, deny []string) {
	if allow == nil {
		return nil, nil
	}
	kept = []string{}
	for _, a := range allow {
		if !strings.HasSuffix(a, "*") || slices.ContainsFunc(allow, func(b string) bool { return contains(b, a+".>") && contains(b, strings.TrimSuffix(a, "*")+">") }) {
			kept = append(kept, a)
			continue
		}
		deeper := a + ".>"
		if Overlap(deeper, inboxes+">") || slices.ContainsFunc(allow, func(b string) bool { return Overlap(b, deeper) }) {
			n.exact = false
			continue
		}
		kept, deny = append(kept, a), append(deny, deeper)
	}
	return kept, deny
}

// hidden are the subjects of the bus itself that wildcards would allow. Those that are named wholly stay; where only a part of them is named there is no way to say so beside a wildcard.
func (n *Native) hidden(allow []string) (deny []string) {
	wild := false
	for _, a := range allow {
		wild = wild || wildFirst(a)
	}
	if !wild {
		return nil
	}
	for _, own := range busOwn() {
		if bare := strings.TrimSuffix(own, ".>"); !slices.Contains(allow, bare) {
			deny = append(deny, bare)
		}
		named, whole := false, false
		for _, a := range allow {
			if !wildFirst(a) && Overlap(a, own) {
				named, whole = true, whole || contains(a, own)
			}
		}
		if !whole {
			deny = append(deny, n.partly(own, allow, named)...)
		}
	}
	return deny
}

// apiParts are what $JS consists of: whoever names $JS.API.> beside a wildcard gets that, and not the rest.
func apiParts() []string {
	return []string{"$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$JS.EVENT.>", "$JS.SNAPSHOT.>"}
}

func (n *Native) partly(own string, allow []string, named bool) (deny []string) {
	if !named || own != "$JS.>" {
		n.exact = n.exact && !named
		return []string{own}
	}
	for _, part := range apiParts() {
		if bare := strings.TrimSuffix(part, ".>"); !slices.ContainsFunc(allow, func(a string) bool { return Covers(a, bare) }) {
			deny = append(deny, bare)
		}
		overlapping, whole := false, false
		for _, a := range allow {
			if !wildFirst(a) && Overlap(a, part) {
				overlapping, whole = true, whole || contains(a, part)
			}
		}
		if !whole {
			deny = append(deny, part)
			n.exact = n.exact && !overlapping
		}
	}
	return deny
}

// allowed are the patterns of a list; nil: everything.
func allowed(l *list) []string {
	if l == nil || len(l.allow.all) == 0 {
		return nil
	}
	return patterns(l.allow.all)
}

func patterns(from []rule) []string {
	out := make([]string, 0, len(from))
	for _, r := range from {
		out = append(out, r.pattern)
	}
	return out
}

// meet are the patterns of what both lists allow; nil is everything.
func meet(one, two []string) []string {
	switch {
	case one == nil:
		return two
	case two == nil:
		return one
	case len(one)*len(two) > maxRules*maxRules/256:
		return []string{} // too many to say: nothing
	}
	out := []string{}
	for _, a := range one {
		for _, b := range two {
			if wildFirst(a) && reserved(b) || wildFirst(b) && reserved(a) {
				continue
			}
			if c, ok := intersect(a, b); ok {
				out = append(out, c)
			}
		}
	}
	return out
}

// Decide is what the server decides by these lists: what a NATS client of the identity meets. Only Publish, Request, Subscribe and Serve are known there.
func (n *Native) Decide(a Action, subject string) Decision {
	if n == nil {
		return Decision{Allowed: true, Rule: ruleNone}
	}
	lists, side := n.Publish, "publish"
	if a == Subscribe || a == Serve {
		lists, side = n.Subscribe, "subscribe"
	}
	for _, p := range lists.Deny {
		if denies(p, subject) {
			return Decision{Rule: "NATS " + side + " deny " + p}
		}
	}
	if lists.Allow == nil {
		return Decision{Allowed: true, Rule: "NATS " + side + ": no list of allows"}
	}
	for _, p := range lists.Allow {
		if denies(p, subject) { // a * of the server's allows a > likewise; what comes by it is denied, see narrowed
			return Decision{Allowed: true, Rule: "NATS " + side + " allow " + p}
		}
	}
	return Decision{Rule: "NATS " + side + " allow: " + strings.Join(lists.Allow[:min(len(lists.Allow), 8)], " ") + " do not cover it"}
}
