package policy_test

import (
	"strings"
	"testing"

	"portico/core/policy"

	"pgregory.net/rapid"
)

func made(t interface {
	Helper()
	Fatal(...any)
}, spec *policy.Spec) *policy.Policy {
	t.Helper()
	p, err := policy.New("bob", "/", spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func allows(patterns ...string) policy.Lists { return policy.Lists{Allow: patterns} }
func denies(patterns ...string) policy.Lists { return policy.Lists{Deny: patterns} }

func TestDecide(t *testing.T) {
	both := policy.Lists{Allow: []string{"orders.>"}, Deny: []string{"orders.secret.>"}}
	for name, c := range map[string]struct {
		spec   *policy.Spec
		action policy.Action
		about  policy.Resource
		want   bool
		rule   string // a part of it
	}{
		"no rules":                     {nil, policy.Publish, policy.Resource{Name: "a"}, true, "no rule"},
		"allowed":                      {&policy.Spec{Publish: both}, policy.Publish, policy.Resource{Name: "orders.eu"}, true, `publish.allow[0] "orders.>"`},
		"not named":                    {&policy.Spec{Publish: both}, policy.Publish, policy.Resource{Name: "news"}, false, "publish.allow names nothing"},
		"denied":                       {&policy.Spec{Publish: both}, policy.Publish, policy.Resource{Name: "orders.secret.x"}, false, `publish.deny[0] "orders.secret.>"`},
		"no list of the other side":    {&policy.Spec{Publish: both}, policy.Subscribe, policy.Resource{Name: ">"}, true, "no list"},
		"only denies":                  {&policy.Spec{Publish: denies("a.>")}, policy.Publish, policy.Resource{Name: "b"}, true, "no list"},
		"request as publish":           {&policy.Spec{Publish: both}, policy.Request, policy.Resource{Name: "news"}, false, "publish.allow"},
		"request by its own":           {&policy.Spec{Publish: both, Request: allows("news")}, policy.Request, policy.Resource{Name: "news"}, true, "request.allow[0]"},
		"serve as subscribe":           {&policy.Spec{Subscribe: both}, policy.Serve, policy.Resource{Name: "news"}, false, "subscribe.allow"},
		"inbox":                        {&policy.Spec{Publish: both}, policy.Publish, policy.Resource{Name: "_INBOX.x"}, true, "inbox"},
		"wildcards do not reach $":     {&policy.Spec{Publish: allows(">")}, policy.Publish, policy.Resource{Name: "$JS.API.INFO"}, false, "names nothing"},
		"a named $":                    {&policy.Spec{Publish: allows(">", "$JS.API.>")}, policy.Publish, policy.Resource{Name: "$JS.API.INFO"}, true, "allow[1]"},
		"a deny of part":               {&policy.Spec{Subscribe: both}, policy.Subscribe, policy.Resource{Name: "orders.>"}, true, "subscribe.allow[0]"},
		"a deny of one":                {&policy.Spec{Subscribe: denies("orders.x", "orders.x.y")}, policy.Subscribe, policy.Resource{Name: "orders.>"}, true, "no list"},
		"a deny of all words":          {&policy.Spec{Subscribe: denies("orders.*")}, policy.Subscribe, policy.Resource{Name: "orders.>"}, false, "subscribe.deny[0]"},
		"queue by its own list":        {&policy.Spec{Queue: map[string]policy.Lists{"consume": allows("job*")}}, policy.Consume, policy.Resource{Name: "jobs.eu"}, true, "queue.consume.allow[0]"},
		"queue not named":              {&policy.Spec{Queue: map[string]policy.Lists{"consume": allows("job*")}}, policy.Consume, policy.Resource{Name: "mail"}, false, "queue.consume.allow"},
		"queue, another action":        {&policy.Spec{Queue: map[string]policy.Lists{"consume": allows("job*")}}, policy.Append, policy.Resource{Name: "mail", Subject: "$queue.mail"}, true, "no list"},
		"queue by subjects":            {&policy.Spec{Subscribe: allows("$queue.mail")}, policy.Consume, policy.Resource{Name: "mail", Subject: "$queue.mail"}, true, "subscribe.allow[0]"},
		"queue appended to":            {&policy.Spec{Subscribe: allows("$queue.mail"), Publish: allows("x")}, policy.Append, policy.Resource{Name: "mail", Subject: "$queue.mail"}, false, "publish.allow"},
		"stream":                       {&policy.Spec{Stream: map[string]policy.Lists{"read": allows("O*")}}, policy.ReadStream, policy.Resource{Name: "ORDERS"}, true, "stream.read.allow[0]"},
		"bucket":                       {&policy.Spec{Bucket: map[string]policy.Lists{"write": denies("config")}}, policy.WriteBucket, policy.Resource{Name: "config"}, false, "bucket.write.deny[0]"},
		"administrator, nothing said":  {nil, policy.Administer, policy.Resource{}, true, "no roles are named"},
		"administrator, nothing meant": {&policy.Spec{Roles: []string{policy.RoleNone}}, policy.Administer, policy.Resource{}, false, "no role"},
		"administrator with lists":     {&policy.Spec{Publish: both}, policy.Administer, policy.Resource{}, false, "no role"},
		"administrator":                {&policy.Spec{Publish: both, Roles: []string{"administrator"}}, policy.Administer, policy.Resource{}, true, "role administrator"},
		"monitoring looks":             {&policy.Spec{Roles: []string{"monitoring"}}, policy.Monitor, policy.Resource{}, true, "role monitoring"},
		"monitoring changes nothing":   {&policy.Spec{Roles: []string{"monitoring"}}, policy.Administer, policy.Resource{}, false, "no role"},
	} {
		t.Run(name, func(t *testing.T) {
			p := made(t, c.spec)
			for range 2 { // the second time from memory
				if d := p.Decide(c.action, c.about); d.Allowed != c.want || !strings.Contains(d.Rule, c.rule) {
					t.Errorf("%+v, want %v by %s", d, c.want, c.rule)
				}
			}
		})
	}
}

// RabbitMQ's table, by user bob in vhost /.
func TestRegularExpressions(t *testing.T) {
	spec := &policy.Spec{
		AMQP:   []policy.VHost{{VHost: "/other", Configure: ".*", Write: ".*", Read: ".*"}, {VHost: "/", Configure: "^mine-", Write: "^(mine-.*|amq\\.topic|amq\\.default)$", Read: "in"}},
		Topics: []policy.Topic{{VHost: "/", Exchange: "amq.topic", Write: "^{username}\\.", Read: "^news\\."}},
	}
	topic := func(name, key string) policy.Resource {
		return policy.Resource{Name: name, Key: key, ByTopic: true, Subject: key}
	}
	for name, c := range map[string]struct {
		action policy.Action
		about  policy.Resource
		want   bool
	}{
		"configure":                  {policy.Declare, policy.Resource{Name: "mine-1"}, true},
		"configure another":          {policy.Delete, policy.Resource{Name: "yours"}, false},
		"not anchored":               {policy.Consume, policy.Resource{Name: "mine-in-box"}, true},
		"read":                       {policy.Purge, policy.Resource{Name: "out"}, false},
		"bind writes to the queue":   {policy.Bind, policy.Resource{Name: "mine-1"}, true},
		"bind another":               {policy.Bind, policy.Resource{Name: "bin"}, false},
		"append by amq.default":      {policy.Append, policy.Resource{Name: "anything"}, true},
		"default exchange":           {policy.WriteExchange, policy.Resource{Name: "", Key: "anything"}, true},
		"write to an exchange":       {policy.WriteExchange, topic("mine-x", "k"), true},
		"no topic permission there":  {policy.WriteExchange, topic("mine-y", "any.key"), true},
		"topic":                      {policy.WriteExchange, topic("amq.topic", "bob.1"), true},
		"topic of another":           {policy.WriteExchange, topic("amq.topic", "eve.1"), false},
		"not by topic":               {policy.WriteExchange, policy.Resource{Name: "amq.topic", Key: "eve.1"}, true},
		"subject":                    {policy.Publish, policy.Resource{Name: "bob.1", Key: "bob.1"}, true},
		"subject of another":         {policy.Publish, policy.Resource{Name: "eve.1", Key: "eve.1"}, false},
		"subject of an exchange":     {policy.Publish, policy.Resource{Name: "bob.1", Key: "bob.1", Owner: "bob", OwnerKey: "1"}, false},
		"amq.topic is not readable":  {policy.Subscribe, policy.Resource{Name: "news.x", Key: "news.x"}, false},
		"stream as a queue":          {policy.ManageStream, policy.Resource{Name: "mine-s"}, true},
		"stream of another":          {policy.ReadStream, policy.Resource{Name: "S"}, false},
		"configure an exchange":      {policy.ConfigureExchange, policy.Resource{Name: "mine-x"}, true},
		"configure another exchange": {policy.ConfigureExchange, policy.Resource{Name: "x"}, false},
	} {
		if d := made(t, spec).Decide(c.action, c.about); d.Allowed != c.want {
			t.Errorf("%s: %+v", name, d)
		}
	}
	elsewhere, err := policy.New("bob", "/third", spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, same := range []*policy.Policy{elsewhere.In("/"), made(t, spec).In("/")} {
		if d := same.Decide(policy.Declare, policy.Resource{Name: "mine-1"}); !d.Allowed {
			t.Errorf("the policy in its vhost: %+v", d)
		}
	}
	for _, none := range []string{"/third", ""} {
		if d := made(t, spec).In(none).Decide(policy.Declare, policy.Resource{Name: "mine-1"}); d.Allowed {
			t.Errorf("in %q: %+v", none, d)
		}
	}
	if d := elsewhere.Decide(policy.Declare, policy.Resource{Name: "mine-1"}); d.Allowed || !strings.Contains(d.Rule, "none for vhost") {
		t.Errorf("a vhost that is not named: %+v", d)
	}
}

func TestBadSpecs(t *testing.T) {
	for name, spec := range map[string]*policy.Spec{
		"pattern":       {Publish: allows("a..b")},
		"wildcard":      {Subscribe: denies("a.>.b")},
		"action":        {Queue: map[string]policy.Lists{"eat": allows("x")}},
		"look-around":   {AMQP: []policy.VHost{{VHost: "/", Read: "(?=x)"}}},
		"long":          {AMQP: []policy.VHost{{VHost: "/", Read: strings.Repeat("x", 2000)}}},
		"other vhost's": {Topics: []policy.Topic{{VHost: "/x", Exchange: "e", Read: "("}}},
		"too many":      {Publish: policy.Lists{Allow: strings.Split(strings.Repeat("a ", 5000), " ")[:5000]}},
		"no name":       {Stream: map[string]policy.Lists{"read": allows("")}},
	} {
		if _, err := policy.New("u", "/", spec); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if d := policy.Must("u", "/", &policy.Spec{Publish: allows("")}).Decide(policy.Publish, policy.Resource{Name: "a"}); d.Allowed {
		t.Error("what cannot be read allows something")
	}
}

func tokens() *rapid.Generator[string] { return rapid.SampledFrom([]string{"a", "b", "c"}) }

func patterns() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		words := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "*"}), 1, 3).Draw(t, "words")
		if rapid.Bool().Draw(t, "rest") {
			words = append(words, ">")
		}
		return strings.Join(words, ".")
	})
}

// Overlap, and what denies make of it, against subjects.
func TestPatternsAgainstSubjects(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := patterns().Draw(t, "a"), patterns().Draw(t, "b")
		s := strings.Join(rapid.SliceOfN(tokens(), 1, 5).Draw(t, "subject"), ".")
		inBoth := policy.Covers(a, s) && policy.Covers(b, s)
		if inBoth && !policy.Overlap(a, b) {
			t.Fatalf("%s is in %s and %s, which do not overlap", s, a, b)
		}
		if policy.Covers(a, b) && policy.Covers(b, s) && !policy.Covers(a, s) {
			t.Fatalf("%s covers %s but not %s", a, b, s)
		}
		// A native client's lists with two actions in one are the meet of both.
		n := made(t, &policy.Spec{Publish: allows(a), Request: allows(b)}).Native()
		if got := n.Decide(policy.Publish, s).Allowed; got != inBoth {
			t.Fatalf("%s by %+v: %v", s, n.Publish, got)
		}
	})
}
