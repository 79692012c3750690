package httpapi_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"portico/core"
	"portico/core/queue"

	httpapi "portico/adapters/http"
)

// object is any JSON object.
type object = map[string]any

// TestEveryFieldOfADescription: what was declared is described, in the list too, can be declared again, and is not the same as the default.
func TestEveryFieldOfADescription(t *testing.T) {
	cases := map[string]struct {
		field string // as core names it when it differs
		value string
		shown string // "": the value
	}{
		"quorum":                           {"type", `"quorum"`, ""},
		"max priority":                     {"max_priority", `255`, ""},
		"single active":                    {"single_active_consumer", `true`, ""},
		"max deliveries":                   {"max_deliveries", `4294967295`, ""},
		"dead letters to queue":            {"dead_letter", `{"queue":"dead"}`, ""},
		"dead letters to subject":          {"dead_letter", `{"subject":"dead.q"}`, ""},
		"dead letters to exchange":         {"dead_letter", `{"exchange":"x","routing_key":null}`, `{"exchange":"x"}`},
		"dead letters to default exchange": {"dead_letter", `{"exchange":"","routing_key":"dead"}`, ""},
		"dead letters with an empty key":   {"dead_letter", `{"exchange":"x","routing_key":""}`, ""},
		"message ttl":                      {"message_ttl", `60000`, ""},
		"no message ttl at all":            {"message_ttl", `0`, ""},
		"expires":                          {"expires", `3600000`, ""},
		"max length":                       {"max_length", `10`, ""},
		"no length":                        {"max_length", `0`, ""},
		"max bytes":                        {"max_length_bytes", `1048576`, ""},
		"reject publish":                   {"overflow", `"reject-publish"`, ""},
		"reject publish dlx":               {"overflow", `"reject-publish-dlx"`, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d := open(t, httpapi.Config{})
			body := fmt.Sprintf(`{%q:%s}`, c.field, c.value)
			if c.shown == "" {
				c.shown = c.value
			}
			var wanted any
			if err := json.Unmarshal([]byte(c.shown), &wanted); err != nil {
				t.Fatal(err)
			}
			list := func() object { // as the only one of the list
				return want[struct{ Queues []object }](t, d.do("GET", "/v1/queues", ""), 200).Queues[0]
			}
			for i, shown := range []object{
				want[object](t, d.do("PUT", "/v1/queues/q", body), 201), want[object](t, d.do("PUT", "/v1/queues/q", body), 200),
				want[object](t, d.do("GET", "/v1/queues/q", ""), 200), list(),
			} {
				if !reflect.DeepEqual(shown[c.field], wanted) || shown["effective"] != nil {
					t.Errorf("%d: declared %s, shown %v", i, body, shown)
				}
			}
			p := refused(t, d.do("PUT", "/v1/queues/q", ""), 409, core.CodePreconditionFailed)
			if !strings.Contains(p.Detail, "another "+c.field) {
				t.Errorf("what differs is not told: %s", p.Detail)
			}
		})
	}
}

func TestDefaultsCanBeNamed(t *testing.T) {
	d := open(t, httpapi.Config{})
	want[object](t, d.do("PUT", "/v1/queues/q", ""), 201)
	q := want[object](t, d.do("PUT", "/v1/queues/q", `{
		"type":"classic","durable":true,"auto_delete":false,"max_priority":0,"single_active_consumer":false,"max_deliveries":0,"dead_letter":{},"message_ttl":null,"expires":null,"max_length":null,"max_length_bytes":null,"overflow":"drop-head"}`), 200)
	if q["type"] != "classic" {
		t.Errorf("shown %v", q)
	}
	for _, field := range []string{"message_ttl", "expires", "max_length", "max_length_bytes", "effective"} {
		if v, ok := q[field]; ok {
			t.Errorf("%s is shown as %v", field, v)
		}
	}
}

func TestDescriptionsThatNoQueueCanHave(t *testing.T) {
	d := open(t, httpapi.Config{})
	if _, _, err := d.gateway.System().DeclareQueue(t.Context(), core.QueueConfig{Name: "owned", Owner: "somebody"}); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("k", 256)
	cases := map[string]struct{ body, says string }{
		"unknown type":          {`{"type":"heap"}`, `"heap"`},
		"type of a number":      {`{"type":1}`, `type: "number" is found`},
		"unknown overflow":      {`{"overflow":"spill"}`, `"spill": want drop-head`},
		"overflow of a number":  {`{"overflow":1}`, `overflow: "number" is found`},
		"priority too high":     {`{"max_priority":256}`, `max_priority: "number 256" is found`},
		"priority below zero":   {`{"max_priority":-1}`, `max_priority: "number -1" is found`},
		"ttl below zero":        {`{"message_ttl":-1}`, `message_ttl -1`},
		"ttl beyond ten years":  {`{"message_ttl":315360000001}`, `message_ttl 315360000001`},
		"ttl of a string":       {`{"message_ttl":"1s"}`, `message_ttl`},
		"ttl of a fraction":     {`{"message_ttl":1.5}`, `1.5`},
		"expires at once":       {`{"expires":0}`, `expires 0`},
		"length below zero":     {`{"max_length":-1}`, `max_length -1`},
		"length beyond bounds":  {`{"max_length":9223372036854775808}`, `9223372036854775808`},
		"bytes beyond bounds":   {`{"max_length_bytes":4611686018427387905}`, `max_length_bytes 4611686018427387905`},
		"deliveries below zero": {`{"max_deliveries":-1}`, `max_deliveries: "number -1" is found`},
		"single of a string":    {`{"single_active_consumer":"yes"}`, `single_active_consumer: "string" is found`},
		"dead letter of string": {`{"dead_letter":"dead"}`, `dead_letter: "string" is found`},
		"unknown dead letter":   {`{"dead_letter":{"topic":"x"}}`, `topic`},
		"exchange of a number":  {`{"dead_letter":{"exchange":1}}`, `dead_letter.exchange: "number" is found`},
		"exchange and queue":    {`{"dead_letter":{"exchange":"","queue":"a"}}`, `not to several`},
		"key without exchange":  {`{"dead_letter":{"queue":"a","routing_key":"k"}}`, `needs an exchange`},
		"exchange too long":     {`{"dead_letter":{"exchange":"` + long + `"}}`, `255 bytes`},
		"routing key too long":  {`{"dead_letter":{"exchange":"x","routing_key":"` + long + `"}}`, `255 bytes`},
		"subject with wildcard": {`{"dead_letter":{"subject":"a.*"}}`, `subject`},
		"quorum in memory":      {`{"type":"quorum","durable":false}`, `quorum`},
		"quorum auto-delete":    {`{"type":"quorum","auto_delete":true}`, `quorum`},
		"quorum with priority":  {`{"type":"quorum","max_priority":1}`, `quorum`},
		"unknown field":         {`{"ttl":1}`, `there is no field "ttl"`},
		"no object":             {`[]`, `body: "array" is found, an object is expected`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := refused(t, d.do("PUT", "/v1/queues/n", c.body), 400, core.CodeInvalid)
			if !strings.Contains(p.Detail, c.says) {
				t.Errorf("%s: %s", c.body, p.Detail)
			}
			if len(p.Errors) != 1 || !strings.HasPrefix(p.Errors[0].Field, "body") || p.Errors[0].Expected == "" {
				t.Errorf("%s: fields %+v", c.body, p.Errors)
			}
		})
	}
	refused(t, d.do("PUT", "/v1/queues/owned", `{"durable":false}`), 409, core.CodeLocked)
}

// governor is a router with one policy.
type governor struct{ ttl queue.Bound }

func (g governor) Route(_ *core.Message, dst []*core.Queue) []*core.Queue { return dst }

func (g governor) Bury(_ *core.Queue, _ core.DeadLetter, _ queue.Dead, done func(error)) { done(nil) }

func (g governor) Rules(c *core.QueueConfig) core.QueueRules {
	r := c.QueueRules
	r.TTL = g.ttl
	return r
}

func TestRulesInForceAreTold(t *testing.T) {
	d := open(t, httpapi.Config{})
	want[object](t, d.do("PUT", "/v1/queues/q", `{"max_length":5}`), 201)
	bus := d.gateway.System()
	bus.SetRouter(governor{queue.AtMost(60_000)})
	bus.Regovern()
	q := want[object](t, d.do("GET", "/v1/queues/q", ""), 200)
	effective, _ := q["effective"].(object)
	if q["message_ttl"] != nil || q["max_length"] != 5.0 || effective["message_ttl"] != 60_000.0 || effective["max_length"] != 5.0 {
		t.Errorf("under a policy: %v", q)
	}
	bus.SetRouter(nil)
	bus.Regovern()
	if q := want[object](t, d.do("GET", "/v1/queues/q", ""), 200); q["effective"] != nil {
		t.Errorf("without a policy: %v", q)
	}
}

func TestPublisherOfAFullQueueIsTold(t *testing.T) {
	d := open(t, httpapi.Config{})
	want[object](t, d.do("PUT", "/v1/queues/q", `{"max_length":1,"overflow":"reject-publish"}`), 201)
	if a := d.do("PUT", "/v1/queues/q/bindings/orders.*", ""); a.status != 204 {
		t.Fatal(a.status)
	}
	want[receipt](t, d.do("POST", "/v1/queues/q/messages", "fits"), 201)
	for _, path := range []string{"/v1/queues/q/messages", "/v1/publish/orders.new"} {
		if p := refused(t, d.do("POST", path, "too much"), 507, core.CodeResourceExhausted); !strings.Contains(p.Detail, "limit") {
			t.Errorf("%s: %s", path, p.Detail)
		}
	}
	if q := d.show("q"); q.Ready != 1 {
		t.Errorf("queue %+v", q)
	}
}

func TestExpirationAndPriorityAreHeaders(t *testing.T) {
	d := open(t, httpapi.Config{})
	want[object](t, d.do("PUT", "/v1/queues/dead", ""), 201)
	want[object](t, d.do("PUT", "/v1/queues/q", `{"max_priority":5,"dead_letter":{"queue":"dead"}}`), 201)
	post := func(body string, options ...option) answer {
		return d.do("POST", "/v1/queues/q/messages", body, options...)
	}
	want[receipt](t, post("plain"), 201)
	want[receipt](t, post("urgent", with("Portico-Priority", "4")), 201)
	want[receipt](t, post("short-lived", with("Portico-Priority", "5"), with("Portico-Expiration", "1")), 201)
	if dead := d.fetch("dead", "wait=5s"); len(dead) != 1 || dead[0].text() != "short-lived" || dead[0].Headers["Portico-Death-Reason"] != "expired" {
		t.Errorf("dead: %+v", dead)
	}
	if ms := d.fetch("q", ""); len(ms) != 2 || ms[0].text() != "urgent" || ms[1].text() != "plain" {
		t.Errorf("fetched %+v", ms)
	}
	for name, value := range map[string]string{"Portico-Expiration": "315360000001", "Portico-Priority": "256"} {
		if p := refused(t, post("x", with(name, value)), 400, core.CodeInvalid); !strings.Contains(p.Detail, name) {
			t.Errorf("%s: %s", name, p.Detail)
		}
	}
}

func TestFetchPriority(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.declare("q")
	low, high := make(chan []message, 1), make(chan []message, 1)
	go func() { low <- d.fetch("q", "wait=20s&max=1") }()
	eventually(t, "the first fetch waits", func() bool { return d.show("q").Consumers == 1 })
	go func() { high <- d.fetch("q", "wait=20s&max=1&priority=1") }()
	eventually(t, "the second fetch waits", func() bool { return d.show("q").Consumers == 2 })
	want[receipt](t, d.do("POST", "/v1/queues/q/messages", "first"), 201)
	want[receipt](t, d.do("POST", "/v1/queues/q/messages", "second"), 201)
	if ms := <-high; len(ms) != 1 || ms[0].text() != "first" {
		t.Errorf("the higher one got %+v", ms)
	}
	if ms := <-low; len(ms) != 1 || ms[0].text() != "second" {
		t.Errorf("the lower one got %+v", ms)
	}
	for _, priority := range []string{"", "x", "2147483648", "1.5"} {
		refused(t, d.do("POST", "/v1/queues/q/fetch?priority="+priority, ""), 400, core.CodeInvalid)
	}
}

func TestAutoDeleteQueueIsGoneWhenTheFetchIsAnswered(t *testing.T) {
	for name, query := range map[string]string{"with messages": "", "without": "max=1", "raw": "raw=1"} {
		t.Run(name, func(t *testing.T) {
			d := open(t, httpapi.Config{})
			for range 20 { // it would go by itself, a moment later
				want[object](t, d.do("PUT", "/v1/queues/q", `{"auto_delete":true}`), 201)
				if name == "with messages" {
					want[receipt](t, d.do("POST", "/v1/queues/q/messages", "m"), 201)
				}
				a := d.do("POST", "/v1/queues/q/fetch?"+query, "")
				if a.status != 200 && a.status != 204 {
					t.Fatalf("fetch: %d %s", a.status, a.body)
				}
				if d.gateway.System().Lookup("q") != nil {
					t.Fatal("the queue is still there")
				}
			}
		})
	}
}
