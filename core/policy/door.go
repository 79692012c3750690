package policy

// DecideAt is what a client meets at a door: Decide at those of the gateway's own, and at "nats" and "mqtt" what the embedded server makes of it (Native), where subjects are concerned. Streams and
// buckets that no list and no regular expression is about are decided by subjects ($JS.API.…), which have to be asked about one by one.
func (p *Policy) DecideAt(door string, a Action, r Resource) Decision {
	if native := door == "nats" || door == "mqtt"; native && a.Kind() == Subject {
		return p.Native().Decide(a, r.Name)
	}
	if k := a.Kind(); k == Stream || k == Bucket {
		d, decided := p.Storage(a, r.Name)
		if !decided {
			d = Decision{Allowed: p.lists[Publish] == nil && p.lists[Subscribe] == nil, Rule: "by subjects: test publish on $JS.API.… and subscribe on what is read"}
		}
		return d
	}
	return p.Decide(a, r)
}
