package broker_test

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
)

const (
	user     = broker.UserPolicy
	operator = broker.OperatorPolicy
)

func put(t fataler, s *broker.Policies, kind broker.PolicyKind, p broker.Policy) {
	t.Helper()
	if err := s.Put(kind, p); err != nil {
		t.Fatalf("put %s: %v", p.Name, err)
	}
}

func policyName(p *broker.Policy) string {
	if p == nil {
		return "none"
	}
	return p.Name
}

func TestTheHighestPriorityApplies(t *testing.T) {
	length := definition{"max-length": 1}
	var s broker.Policies
	put(t, &s, user, broker.Policy{Name: "low", Pattern: ".*", Priority: -5, Definition: length})
	put(t, &s, user, broker.Policy{Name: "b", Pattern: "^jobs", Priority: 1, Definition: length})
	put(t, &s, user, broker.Policy{Name: "a", Pattern: "jobs", Priority: 1, Definition: length})
	put(t, &s, user, broker.Policy{Name: "high", Pattern: "^jobs.urgent$", Priority: 9, Definition: length})
	put(t, &s, operator, broker.Policy{Name: "op", Pattern: "urgent", Definition: length})
	for name, want := range map[string][2]string{
		"other": {"low", "none"}, "jobs": {"a", "none"}, "jobs.urgent": {"high", "op"}, "urgent": {"low", "op"},
	} {
		got := s.For(name, broker.Classic)
		if [2]string{policyName(got.User), policyName(got.Operator)} != want {
			t.Errorf("%s has %s and %s, want %v", name, policyName(got.User), policyName(got.Operator), want)
		}
	}
	put(t, &s, user, broker.Policy{Name: "high", Pattern: "^other$", Definition: length})
	if got := s.For("jobs.urgent", broker.Classic); policyName(got.User) != "a" {
		t.Errorf("replaced, but %s applies", policyName(got.User))
	}
	if !s.Delete(user, "a") || s.Delete(user, "a") || s.Delete(operator, "b") || !s.Delete(operator, "op") {
		t.Error("deleted what is not there, or not what is")
	}
	if got := s.For("jobs.urgent", broker.Classic); policyName(got.User) != "b" || got.Operator != nil {
		t.Errorf("%s applies", policyName(got.User))
	}
}

func TestWhatPoliciesApplyTo(t *testing.T) {
	everything := []string{"classic", "quorum", "stream", "exchange"}
	cases := map[string]struct {
		applyTo    string
		definition definition
		want       []string
	}{
		"all":               {"all", definition{"max-length-bytes": 1}, everything},
		"nothing said":      {"", definition{"max-length-bytes": 1}, everything},
		"queues":            {"queues", definition{"max-length-bytes": 1}, everything[:3]},
		"classic":           {"classic_queues", definition{"max-length-bytes": 1}, []string{"classic"}},
		"quorum":            {"quorum_queues", definition{"max-length-bytes": 1}, []string{"quorum"}},
		"streams":           {"streams", definition{"max-length-bytes": 1}, []string{"stream"}},
		"exchanges":         {"exchanges", definition{"alternate-exchange": "x"}, []string{"exchange"}},
		"ttl":               {"all", definition{"message-ttl": 1, "max-length-bytes": 1}, []string{"classic", "quorum", "exchange"}},
		"delivery limit":    {"queues", definition{"delivery-limit": 1, "max-length": 1}, []string{"quorum"}},
		"max age":           {"queues", definition{"max-age": "1D"}, []string{"stream"}},
		"ha":                {"queues", definition{"ha-mode": "all"}, []string{"classic"}},
		"ha, of classic":    {"quorum_queues", definition{"ha-mode": "all"}, nil},
		"lazy":              {"all", definition{"queue-mode": "lazy"}, []string{"classic", "exchange"}},
		"consumer timeout":  {"queues", definition{"consumer-timeout": 1}, everything[:3]},
		"alternate, queues": {"queues", definition{"alternate-exchange": "x"}, everything[:3]},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var s broker.Policies
			put(t, &s, user, broker.Policy{Name: "p", Pattern: "^n$", ApplyTo: c.applyTo, Definition: c.definition})
			put(t, &s, user, broker.Policy{Name: "less", Pattern: "^n$", Priority: -1, ApplyTo: "all", Definition: definition{"consumer-timeout": 5}})
			var got []string
			for _, kind := range everything[:3] {
				if policyName(s.For("n", broker.QueueType(kind)).User) == "p" {
					got = append(got, kind)
				}
			}
			if policyName(s.ForExchange("n").User) == "p" {
				got = append(got, "exchange")
			}
			if !slices.Equal(got, c.want) {
				t.Fatalf("applies to %v, want %v", got, c.want)
			}
		})
	}
}

func TestPoliciesAreCopies(t *testing.T) {
	var s broker.Policies
	mine := definition{"max-length": 1, "ha-params": []any{"a"}}
	put(t, &s, user, broker.Policy{Name: "b", Pattern: "b", Definition: mine})
	put(t, &s, user, broker.Policy{Name: "a", Pattern: "a", Priority: 3, Definition: definition{"max-length": 2}})
	mine["max-length"] = 99
	mine["ha-params"].([]any)[0] = "written"
	want := []broker.Policy{
		{Name: "a", Pattern: "a", ApplyTo: "all", Priority: 3, Definition: definition{"max-length": int64(2)}},
		{Name: "b", Pattern: "b", ApplyTo: "all", Definition: definition{"max-length": int64(1), "ha-params": []any{"a"}}},
	}
	for range 2 {
		got := s.List(user)
		if !reflect.DeepEqual(got, want) || len(s.List(operator)) > 0 {
			t.Fatalf("%+v", got)
		}
		got[0].Definition["max-length"] = int64(99)
		p, ok := s.Get(user, "b")
		if !ok || !reflect.DeepEqual(p, want[1]) {
			t.Fatalf("%+v, %v", p, ok)
		}
		p.Definition["new"] = 1
		s.For("b", broker.Classic).Definition()["max-length"] = int64(99)
	}
	if _, ok := s.Get(operator, "b"); ok {
		t.Error("a user's policy among the operators'")
	}
}

func TestEffectiveDefinition(t *testing.T) {
	cases := map[string]struct{ user, operator, want definition }{
		"none":     {nil, nil, nil},
		"user":     {definition{"max-length": 5}, nil, definition{"max-length": int64(5)}},
		"operator": {nil, definition{"max-length": 5}, definition{"max-length": int64(5)}},
		"both": {definition{"max-length": 5, "message-ttl": 9, "dead-letter-exchange": "x"}, definition{"max-length": 6, "message-ttl": 7, "expires": 8},
			definition{"max-length": int64(5), "message-ttl": int64(7), "dead-letter-exchange": "x", "expires": int64(8)}},
		"no limits": {definition{"overflow": "drop-head", "queue-version": 2, "target-group-size": 5, "ha-mode": "all"},
			definition{"overflow": "reject-publish", "queue-version": 1, "target-group-size": 3, "ha-mode": "exactly"},
			definition{"overflow": "reject-publish", "queue-version": int64(1), "target-group-size": int64(5), "ha-mode": "exactly"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var s broker.Policies
			if c.user != nil {
				put(t, &s, user, broker.Policy{Name: "u", ApplyTo: "exchanges", Definition: c.user})
			}
			if c.operator != nil {
				put(t, &s, operator, broker.Policy{Name: "o", ApplyTo: "exchanges", Definition: c.operator})
			}
			if got := s.ForExchange("x").Definition(); !reflect.DeepEqual(got, c.want) {
				t.Fatalf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestEffectiveQueueArguments(t *testing.T) {
	type A = broker.QueueArguments
	const ms = time.Millisecond
	cases := map[string]struct {
		declared       A
		user, operator definition
		want           A
	}{
		"nothing": {A{Type: broker.Classic, MaxLength: ptr(int64(5))}, nil, nil, A{Type: broker.Classic, MaxLength: ptr(int64(5))}},
		"policy only": {A{Type: broker.Classic},
			definition{"message-ttl": 0, "expires": 5, "max-length": 1, "max-length-bytes": 2, "consumer-timeout": 3, "overflow": "reject-publish",
				"dead-letter-exchange": "d", "dead-letter-routing-key": "k"}, nil,
			A{Type: broker.Classic, MessageTTL: ptr(0 * ms), Expires: ptr(5 * ms), MaxLength: ptr(int64(1)), MaxLengthBytes: ptr(int64(2)),
				ConsumerTimeout: ptr(3 * ms), Overflow: broker.RejectPublish, DeadLetterExchange: ptr("d"), DeadLetterRoutingKey: ptr("k")}},
		"lower in the declaration": {A{Type: broker.Classic, MessageTTL: ptr(1 * ms), Expires: ptr(2 * ms), MaxLength: ptr(int64(3)), MaxLengthBytes: ptr(int64(4)), ConsumerTimeout: ptr(5 * ms)},
			definition{"message-ttl": 9, "expires": 9, "max-length": 9, "max-length-bytes": 9, "consumer-timeout": 9}, nil,
			A{Type: broker.Classic, MessageTTL: ptr(1 * ms), Expires: ptr(2 * ms), MaxLength: ptr(int64(3)), MaxLengthBytes: ptr(int64(4)), ConsumerTimeout: ptr(5 * ms)}},
		"lower in the policy": {A{Type: broker.Classic, MessageTTL: ptr(9 * ms), Expires: ptr(9 * ms), MaxLength: ptr(int64(9)), MaxLengthBytes: ptr(int64(9)), ConsumerTimeout: ptr(9 * ms)},
			definition{"message-ttl": 1, "expires": 2, "max-length": 3, "max-length-bytes": 4, "consumer-timeout": 5}, nil,
			A{Type: broker.Classic, MessageTTL: ptr(1 * ms), Expires: ptr(2 * ms), MaxLength: ptr(int64(3)), MaxLengthBytes: ptr(int64(4)), ConsumerTimeout: ptr(5 * ms)}},
		"lowest of three": {A{Type: broker.Classic, MaxLength: ptr(int64(5)), MessageTTL: ptr(5 * ms)},
			definition{"max-length": 4, "message-ttl": 9}, definition{"max-length": 3, "message-ttl": 4},
			A{Type: broker.Classic, MaxLength: ptr(int64(3)), MessageTTL: ptr(4 * ms)}},
		"classic, declared first": {A{Type: broker.Classic, Overflow: broker.DropHead, DeadLetterExchange: ptr("mine"), DeadLetterRoutingKey: ptr("mine")},
			definition{"overflow": "reject-publish", "dead-letter-exchange": "d", "dead-letter-routing-key": "k"}, nil,
			A{Type: broker.Classic, Overflow: broker.DropHead, DeadLetterExchange: ptr("mine"), DeadLetterRoutingKey: ptr("mine")}},
		"operator's overflow": {A{Type: broker.Classic}, definition{"overflow": "reject-publish"}, definition{"overflow": "reject-publish-dlx"},
			A{Type: broker.Classic, Overflow: broker.RejectPublishDLX}},
		"key of the policy, exchange of the declaration": {A{Type: broker.Classic, DeadLetterExchange: ptr("mine")}, definition{"dead-letter-routing-key": "k"}, nil,
			A{Type: broker.Classic, DeadLetterExchange: ptr("mine"), DeadLetterRoutingKey: ptr("k")}},
		"key without exchange": {A{Type: broker.Classic}, definition{"dead-letter-routing-key": "k"}, nil, A{Type: broker.Classic}},
		"quorum, policy first": {A{Type: broker.Quorum, Overflow: broker.DropHead, Expires: ptr(1 * ms), DeliveryLimit: ptr(int64(5)), DeadLetterStrategy: "at-most-once", DeadLetterExchange: ptr("mine")},
			definition{"overflow": "reject-publish", "expires": 9, "delivery-limit": 9, "dead-letter-strategy": "at-least-once", "dead-letter-exchange": "d"}, nil,
			A{Type: broker.Quorum, Overflow: broker.RejectPublish, Expires: ptr(9 * ms), DeliveryLimit: ptr(int64(5)), DeadLetterStrategy: "at-most-once", DeadLetterExchange: ptr("mine")}},
		"quorum, policy only": {A{Type: broker.Quorum},
			definition{"overflow": "reject-publish-dlx", "delivery-limit": 3, "dead-letter-strategy": "at-least-once", "dead-letter-exchange": "d", "message-ttl": 4}, nil,
			A{Type: broker.Quorum, Overflow: broker.DropHead, DeliveryLimit: ptr(int64(3)), DeadLetterStrategy: "at-least-once", DeadLetterExchange: ptr("d"), MessageTTL: ptr(4 * ms)}},
		"stream, policy first": {A{Type: broker.Stream, MaxLengthBytes: ptr(int64(1)), MaxAge: ptr(time.Hour), MaxSegmentBytes: ptr(int64(1)), FilterBytes: ptr(int64(16))},
			definition{"max-length-bytes": 9, "max-age": "1D", "stream-max-segment-size-bytes": 9, "stream-filter-size-bytes": 32}, nil,
			A{Type: broker.Stream, MaxLengthBytes: ptr(int64(9)), MaxAge: ptr(24 * time.Hour), MaxSegmentBytes: ptr(int64(9)), FilterBytes: ptr(int64(32))}},
		"stream, what the policy leaves": {A{Type: broker.Stream, MaxLengthBytes: ptr(int64(1)), MaxAge: ptr(time.Hour)}, definition{"max-length-bytes": 9}, nil,
			A{Type: broker.Stream, MaxLengthBytes: ptr(int64(9)), MaxAge: ptr(time.Hour)}},
		"a policy for other types": {A{Type: broker.Classic, MaxLength: ptr(int64(5))}, definition{"delivery-limit": 1, "max-length": 1}, nil,
			A{Type: broker.Classic, MaxLength: ptr(int64(5))}},
		"what cannot change": {A{Type: broker.Classic, MaxPriority: ptr(uint8(9)), SingleActiveConsumer: true}, definition{"max-length": 1}, nil,
			A{Type: broker.Classic, MaxPriority: ptr(uint8(9)), SingleActiveConsumer: true, MaxLength: ptr(int64(1))}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var s broker.Policies
			if c.user != nil {
				put(t, &s, user, broker.Policy{Name: "u", Definition: c.user})
			}
			if c.operator != nil {
				put(t, &s, operator, broker.Policy{Name: "o", Definition: c.operator})
			}
			if got := s.For("q", c.declared.Type).Queue(c.declared); !reflect.DeepEqual(got, c.want) {
				t.Fatalf("got %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestAlternateExchangeByPolicy(t *testing.T) {
	v := broker.New("/")
	declare(t, v, "plain", broker.Direct)
	declare(t, v, "own", broker.Direct, alternate("amq.topic"))
	declare(t, v, "none", broker.Direct, alternate(""))
	bind(t, v, "amq.topic", "by argument", "#")
	bind(t, v, "amq.fanout", "by policy", "")
	expect := func(plain ...string) {
		t.Helper()
		expectRoute(t, v, "plain", "k", plain...)
		expectRoute(t, v, "own", "k", "by argument")
		expectRoute(t, v, "none", "k")
	}
	change := func(s *broker.Policies, changes bool) {
		t.Helper()
		before := v.Generation()
		v.SetPolicies(s)
		if (v.Generation() != before) != changes {
			t.Fatalf("generation %d, then %d", before, v.Generation())
		}
	}
	expect()

	var s broker.Policies
	change(&s, false)
	put(t, &s, user, broker.Policy{Name: "p", Pattern: "^(plain|own|none|new)$", Definition: definition{"alternate-exchange": "amq.fanout"}})
	expect() // not before it is told
	change(&s, true)
	change(&s, false)
	expect("by policy")
	if v.Alternate("plain") != "amq.fanout" || v.Alternate("own") != "amq.topic" || v.Alternate("none") != "" || v.Alternate("missing") != "" {
		t.Fatal("alternates are others")
	}
	if x, _ := v.Exchange("plain"); x.Alternate() != "" {
		t.Fatalf("the policy is kept as an argument: %v", x.Arguments)
	}
	if !slices.Contains(v.BusPatterns(), broker.BusPattern{Exchange: "plain", Key: "#"}) {
		t.Fatalf("patterns %v", v.BusPatterns())
	}

	declare(t, v, "new", broker.Topic)
	expectRoute(t, v, "new", "k", "by policy")
	v.Restore([]broker.Exchange{{Name: "plain2", Type: broker.Direct}}, nil)
	expectRoute(t, v, "plain2", "k")
	bind(t, v, "plain", "q", "bound")
	expectRoute(t, v, "plain", "bound", "q")
	expect("by policy")
	if created, err := v.DeclareExchange(broker.Exchange{Name: "plain", Type: broker.Direct}); created || err != nil {
		t.Fatal("not equivalent to itself", err)
	}

	put(t, &s, user, broker.Policy{Name: "q", Pattern: "^plain$", Priority: 1, Definition: definition{"alternate-exchange": "amq.topic"}})
	change(&s, true)
	expect("by argument")
	put(t, &s, user, broker.Policy{Name: "r", Pattern: "^plain$", Priority: 2, Definition: definition{"max-length": 1}})
	change(&s, true)
	expect() // the one that applies says nothing about exchanges
	s.Delete(user, "r")
	change(&s, true)
	change(nil, true)
	expect()
	put(t, &s, user, broker.Policy{Name: "d", Pattern: "^$", Definition: definition{"alternate-exchange": "amq.fanout"}})
	v.SetPolicies(&s)
	expectRoute(t, v, "", "q", "q")
}

// Readers see whole policies while they and the exchanges change.
func TestPoliciesWhileTheyChange(t *testing.T) {
	v := broker.New("/")
	var s broker.Policies
	v.SetPolicies(&s)
	bind(t, v, "amq.fanout", "always", "")
	declare(t, v, "x", broker.Direct, with(wire.Table{"alternate-exchange": "amq.fanout"}))
	var work sync.WaitGroup
	for w := range 3 {
		work.Go(func() {
			for i := range 200 {
				name := fmt.Sprint("p", w)
				put(t, &s, user, broker.Policy{Name: name, Pattern: ".*", Priority: i, Definition: definition{"max-length": i, "alternate-exchange": "amq.fanout"}})
				v.SetPolicies(&s)
				declareOrFind(t, v, fmt.Sprint("x", i%20))
				if got := s.For("q", broker.Classic).Queue(broker.QueueArguments{Type: broker.Classic}); got.MaxLength == nil {
					t.Error("no policy")
				}
				if i%10 == 9 && w > 0 {
					s.Delete(user, name)
				}
				if got, err := v.Route("x", "k", nil, nil); err != nil || !slices.Equal(got, []string{"always"}) {
					t.Errorf("reached %v, %v", got, err)
				}
				s.List(user)
			}
		})
	}
	work.Wait()
}
