package broker_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"portico/adapters/amqp/broker"
)

type definition = map[string]any

func TestPolicyAsJSON(t *testing.T) {
	cases := map[string]struct {
		in   string
		want broker.Policy
	}{
		"management body": {`{"pattern":"^jobs\\.","definition":{"max-length":1000,"overflow":"drop-head"},"priority":5,"apply-to":"queues"}`,
			broker.Policy{Pattern: `^jobs\.`, Definition: definition{"max-length": int64(1000), "overflow": "drop-head"}, Priority: 5, ApplyTo: "queues"}},
		"defaults": {`{"pattern":"","definition":{}}`, broker.Policy{ApplyTo: "all", Definition: definition{}}},
		"nulls":    {`{"pattern":"a","definition":{"k":null},"priority":null,"apply-to":null}`, broker.Policy{Pattern: "a", ApplyTo: "all", Definition: definition{"k": nil}}},
		"from definitions": {`{"vhost":"/","name":"n","pattern":".*","apply-to":"exchanges","definition":{"alternate-exchange":"ae"},"priority":-1}`,
			broker.Policy{Name: "n", Pattern: ".*", ApplyTo: "exchanges", Definition: definition{"alternate-exchange": "ae"}, Priority: -1}},
		"numbers": {`{"pattern":"","definition":{"a":9007199254740993,"b":1.5,"c":2.0,"d":[1,{"e":2}],"f":1e400},"priority":3.0}`,
			broker.Policy{ApplyTo: "all", Priority: 3, Definition: definition{
				"a": int64(9007199254740993), "b": 1.5, "c": int64(2), "d": []any{int64(1), definition{"e": int64(2)}}, "f": "1e400"}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got broker.Policy
			if err := json.Unmarshal([]byte(c.in), &got); err != nil || !reflect.DeepEqual(got, c.want) {
				t.Fatalf("got %+v, %v\nwant %+v", got, err, c.want)
			}
			out, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			var again broker.Policy
			if err := json.Unmarshal(out, &again); err != nil || !reflect.DeepEqual(again, got) {
				t.Fatalf("%s: %+v, %v", out, again, err)
			}
		})
	}
	out, err := json.Marshal(broker.Policy{Name: "n", Pattern: "<&>"})
	if want := `{"name":"n","pattern":"\u003c\u0026\u003e","apply-to":"all","definition":{},"priority":0}`; err != nil || string(out) != want {
		t.Fatalf("%s, %v", out, err)
	}
}

func TestPoliciesThatAreNoJSON(t *testing.T) {
	for in, reason := range map[string]string{
		`{"definition":{}}`:                                 `Key "pattern" not found in `,
		`{"name":"n","pattern":"a"}`:                        `Key "definition" not found in n`,
		`{"name":"n","pattern":"a","definition":null}`:      `Key "definition" not found in n`,
		`{"pattern":"a","definition":{},"priority":.5}`:     "",
		`{"pattern":"a","definition":{},"priority":"high"}`: "",
		`{"pattern":"a","definition":{},"priority":0.5}`:    "priority should be a number, actually was 0.5",
		`{"pattern":"a","definition":{},"priority":1e30}`:   "priority should be a number, actually was 1e30",
		`{"pattern":"a","definition":[]}`:                   "",
		`{"pattern":5,"definition":{}}`:                     "",
		`[]`:                                                "",
	} {
		p := broker.Policy{Name: "as it was"}
		err := json.Unmarshal([]byte(in), &p)
		pe, ours := errors.AsType[*broker.PolicyError](err)
		if err == nil || ours != (reason != "") || ours && pe.Reason != reason || p.Name != "as it was" {
			t.Errorf("%s: %v, %+v", in, err, p)
		}
	}
}

func TestPolicyDefinitions(t *testing.T) {
	const user, operator = broker.UserPolicy, broker.OperatorPolicy
	cases := map[string]struct {
		kind       broker.PolicyKind
		definition definition
		reason     string // "" for none
	}{
		"all of a queue's": {user, definition{
			"dead-letter-exchange": "", "dead-letter-routing-key": "k", "dead-letter-strategy": "at-least-once", "delivery-limit": 0, "expires": 1,
			"message-ttl": 0, "max-length": 0, "max-length-bytes": 0, "max-in-memory-length": 0, "max-in-memory-bytes": 5, "overflow": "reject-publish-dlx",
			"consumer-timeout": 0, "max-age": "7D", "queue-leader-locator": "balanced", "queue-mode": "lazy", "queue-version": 2,
			"queue-master-locator": "min-masters", "initial-cluster-size": 3, "target-group-size": 1, "stream-max-segment-size-bytes": 3000000000,
			"stream-filter-size-bytes": 255, "alternate-exchange": "ae",
			"ha-mode": "nodes", "ha-params": []any{"a", "b"}, "federation-upstream-set": "all",
		}, ""},
		"all of an operator's": {operator, definition{
			"expires": 1, "message-ttl": 1, "max-length": 1, "max-length-bytes": 1, "max-in-memory-length": 1, "max-in-memory-bytes": 1,
			"delivery-limit": 1, "queue-version": 1, "overflow": "drop-head", "target-group-size": 3, "ha-mode": "all", "ha-params": 2, "ha-sync-mode": "manual",
		}, ""},
		"whole floats": {user, definition{"max-length": 5.0, "message-ttl": json.Number("7")}, ""},

		"nothing":           {user, definition{}, "no policy provided"},
		"nil":               {operator, nil, "no policy provided"},
		"unknown":           {user, definition{"max-len": 5}, `[{<<"max-len">>,5}] are not recognised policy settings`},
		"unknown, several":  {user, definition{"z": "s", "max-length": 5, "a": []any{1.5, true, nil, definition{"b": 1}}}, `[{<<"a">>,[1.5,true,null,#{<<"b">> => 1}]},{<<"z">>,<<"s">>}] are not recognised policy settings`},
		"value before key":  {user, definition{"a": 1, "max-length": "5"}, `<<"5">> is not a valid maximum length`},
		"operator's dlx":    {operator, definition{"dead-letter-exchange": "x"}, `[{<<"dead-letter-exchange">>,<<"x">>}] are not recognised policy settings`},
		"operator's ae":     {operator, definition{"alternate-exchange": "x"}, `[{<<"alternate-exchange">>,<<"x">>}] are not recognised policy settings`},
		"operator's ha":     {operator, definition{"ha-promote-on-failure": "x"}, `[{<<"ha-promote-on-failure">>,<<"x">>}] are not recognised policy settings`},
		"operator's fed":    {operator, definition{"federation-upstream": "x"}, `[{<<"federation-upstream">>,<<"x">>}] are not recognised policy settings`},
		"operator's ct":     {operator, definition{"consumer-timeout": 5}, `[{<<"consumer-timeout">>,5}] are not recognised policy settings`},
		"ttl negative":      {user, definition{"message-ttl": -1}, "-1 is not a valid message TTL"},
		"ttl fraction":      {user, definition{"message-ttl": 1.5}, "1.5 is not a valid message TTL"},
		"ttl null":          {operator, definition{"message-ttl": nil}, "null is not a valid message TTL"},
		"expires zero":      {operator, definition{"expires": 0}, "0 is not a valid queue expiry"},
		"length":            {user, definition{"max-length": true}, "true is not a valid maximum length"},
		"bytes":             {user, definition{"max-length-bytes": definition{}}, "#{} is not a valid maximum length in bytes"},
		"in memory":         {user, definition{"max-in-memory-bytes": []any{}}, "[] is not a valid maximum memory in bytes"},
		"delivery limit":    {user, definition{"delivery-limit": -1}, "-1 is not a valid delivery limit"},
		"group size":        {user, definition{"target-group-size": 0}, "0 is not a valid qq target count value"},
		"overflow":          {user, definition{"overflow": "drop"}, `<<"drop">> is not a valid overflow value`},
		"version":           {user, definition{"queue-version": 3}, "3 is not a valid queue-version value"},
		"ae":                {user, definition{"alternate-exchange": 5}, "5 is not a valid alternate exchange name"},
		"dlx":               {user, definition{"dead-letter-exchange": 5}, "5 is not a valid dead letter exchange name"},
		"dlrk":              {user, definition{"dead-letter-routing-key": 5}, "5 is not a valid dead letter routing key"},
		"strategy":          {user, definition{"dead-letter-strategy": "never"}, `<<"never">> is not a valid dead letter strategy`},
		"consumer timeout":  {user, definition{"consumer-timeout": "1"}, `<<"1">> is not a valid consumer timeout`},
		"max age":           {user, definition{"max-age": "7"}, `<<"7">> is not a valid max age`},
		"max age a number":  {user, definition{"max-age": 7}, "7 is not a valid max age"},
		"mode":              {user, definition{"queue-mode": "eager"}, `<<"eager">> is not a valid queue-mode value`},
		"master locator":    {user, definition{"queue-master-locator": "x"}, `<<"x">> invalid queue-master-locator value`},
		"leader locator":    {user, definition{"queue-leader-locator": "x"}, `<<"x">> is not a valid queue leader locator value`},
		"cluster size":      {user, definition{"initial-cluster-size": -1}, "-1 is not a valid cluster size"},
		"segments":          {user, definition{"stream-max-segment-size-bytes": 3000000001}, "3000000001 is not a valid segment size"},
		"filter":            {user, definition{"stream-filter-size-bytes": 15}, "15 is not a valid filter size. Valid range is 16-255"},
		"a percent of text": {user, definition{"max-age": "50%d"}, `<<"50%d">> is not a valid max age`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var s broker.Policies
			err := s.Put(c.kind, broker.Policy{Name: "p", Pattern: ".*", Definition: c.definition})
			if len(s.List(c.kind)) != 1 != (c.reason != "") {
				t.Errorf("policies %v", s.List(c.kind))
			}
			if c.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if pe, ok := errors.AsType[*broker.PolicyError](err); !ok || pe.Reason != c.reason || pe.Error() != c.reason {
				t.Fatalf("got %v\nwant %s", err, c.reason)
			}
		})
	}
}

func TestPolicyWithSeveralMistakes(t *testing.T) {
	var s broker.Policies
	err := s.Put(broker.UserPolicy, broker.Policy{Pattern: "(", ApplyTo: "topics"})
	lines := strings.Split(err.Error(), "\n")
	want := []string{
		"pattern should be regular expression but is invalid: error parsing regexp: missing closing ): `(`",
		"apply-to 'topics' unrecognised; should be one of: 'queues', 'classic_queues', 'quorum_queues', 'streams', 'exchanges', or 'all'",
		"no policy provided",
	}
	if !reflect.DeepEqual(lines, want) {
		t.Fatalf("%q", lines)
	}
}

func TestPolicyPatterns(t *testing.T) {
	cases := map[string]struct{ yes, no []string }{
		"":                            {[]string{"", "a"}, nil},
		".*":                          {[]string{"", "a"}, nil},
		"jobs":                        {[]string{"jobs", "my.jobs.x"}, []string{"job", "JOBS"}},
		"^jobs$":                      {[]string{"jobs"}, []string{"jobs2", "a jobs"}},
		"(?i)^JOBS":                   {[]string{"jobs"}, nil},
		`^(?!amq\.).*`:                {[]string{"a", "", "amq", "x amq."}, []string{"amq.", "amq.topic"}},
		`^(?!amq\.)`:                  {[]string{"a"}, []string{"amq.topic"}},
		`^(?!amq\.|tmp\.)(?!x$)jobs?`: {[]string{"jobs", "job"}, []string{"amq.jobs", "tmp.jobs", "x", "other"}},
		`^(?=.*urgent).*\.in$`:        {[]string{"urgent.in", "a.urgent.b.in"}, []string{"a.in", "urgent"}},
		`^(?!a[)]b)(a|b)`:             {[]string{"a", "b"}, []string{"a)b", "c"}},
		`^(?!a\)b)a`:                  {[]string{"a"}, []string{"a)b"}},
		`^(?![]x])y|[|]`:              {nil, nil}, // refused, see below
		`^(?![]x])[|]`:                {[]string{"|"}, []string{"]|", "x|", "a"}},
		`^(?!(a(b)?))(c|d)`:           {[]string{"c", "d"}, []string{"a", "abc"}},
		`^(?![[:digit:]])x?`:          {[]string{"x", "y"}, []string{"5"}},
	}
	refused := []string{
		"(", "[", "a**", `^(?![]x])y|[|]`, "(?!a)b", "^a(?!b)", "^(?!a(?=b))c", "^(?!a)b(?!c)", "^(?!a", "^(?!a)(", "^(?!(a)", "^(?<!a)b", `(a)\1`, "^(?![a)",
	}
	for pattern, c := range cases {
		var s broker.Policies
		err := s.Put(broker.UserPolicy, broker.Policy{Name: "p", Pattern: pattern, Definition: definition{"max-length": 1}})
		if err != nil && len(c.yes)+len(c.no) > 0 {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		for want, names := range map[bool][]string{true: c.yes, false: c.no} {
			for _, name := range names {
				if got := s.For(name, broker.Classic).User != nil; got != want {
					t.Errorf("%s matches %q: %v", pattern, name, got)
				}
			}
		}
	}
	for _, pattern := range refused {
		var s broker.Policies
		if err := s.Put(broker.UserPolicy, broker.Policy{Name: "p", Pattern: pattern, Definition: definition{"max-length": 1}}); err == nil {
			t.Errorf("%s is taken", pattern)
		}
	}
}

func FuzzPolicyPattern(f *testing.F) {
	for _, s := range []string{`^(?!amq\.).*`, "^(?=[", "^(?!\\", "^(?!a)(?!b)[^]]|", "(?!"} {
		f.Add(s, "amq.topic")
	}
	f.Fuzz(func(_ *testing.T, pattern, name string) {
		var s broker.Policies
		if s.Put(broker.UserPolicy, broker.Policy{Name: "p", Pattern: pattern, Definition: definition{"max-length": 1}}) == nil {
			s.For(name, broker.Classic)
		}
	})
}
