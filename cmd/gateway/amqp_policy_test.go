package main

import (
	"fmt"
	"reflect"
	"testing"

	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

func TestAMQPPolicies(t *testing.T) {
	for name, path := range map[string]string{"users'": "policies", "operators'": "operator-policies"} {
		t.Run(name, func(t *testing.T) {
			s := openSite(t, nil)
			if got := s.list(path); len(got) != 0 {
				t.Errorf("there are policies before any is made: %v", got)
			}
			s.must(201, "PUT", path+"/a%2Fb", `{"name":"ignored","pattern":"^jobs\\.","apply-to":"queues","definition":{"max-length":1000},"priority":7,"vhost":"/"}`)
			want := map[string]any{
				"vhost": "/", "name": "a/b", "pattern": "^jobs\\.", "apply-to": "queues", "definition": map[string]any{"max-length": 1000.0}, "priority": 7.0,
			}
			if got := s.object(path + "/a%2Fb"); !reflect.DeepEqual(got, want) {
				t.Errorf("it is told as %v, want %v", got, want)
			}
			s.must(204, "PUT", path+"/a%2Fb", `{"pattern":"","definition":{"expires":5000}}`)
			want["pattern"], want["apply-to"], want["definition"], want["priority"] = "", "all", map[string]any{"expires": 5000.0}, 0.0
			if got := s.named(path, "a/b"); !reflect.DeepEqual(got, want) {
				t.Errorf("replaced, it is told as %v, want %v", got, want)
			}
			s.must(204, "DELETE", path+"/a%2Fb", "")
			if got := s.list(path); len(got) != 0 {
				t.Errorf("after its deletion there is %v", got)
			}
		})
	}
}

// wantPolicies fails unless the queue tells these policies, "" for none, and what they come to.
func wantPolicies(t *testing.T, s *site, queue, user, operator string, effective map[string]any) {
	t.Helper()
	or := func(name string) any {
		if name == "" {
			return nil
		}
		return name
	}
	wantFields(t, s.object("queues/"+queue), map[string]any{"policy": or(user), "operator_policy": or(operator), "effective_policy_definition": effective})
}

func TestAMQPPolicyMessageTTL(t *testing.T) {
	s := openSite(t, nil)
	ch := s.channel()
	for _, durable := range []bool{false, true} {
		t.Run(fmt.Sprintf("durable %t", durable), func(t *testing.T) {
			s := *s
			s.t = t
			q := fmt.Sprintf("ttl-%t", durable)
			s.declare(ch, q, durable, nil)
			s.must(201, "PUT", "policies/"+q, `{"pattern":"^`+q+`$","definition":{"message-ttl":50}}`)
			wantPolicies(t, &s, q, q, "", map[string]any{"message-ttl": 50.0})
			s.publish(ch, "", q, "short-lived")
			s.eventually("the message has expired", func() bool { return s.ready(q) == 0 })
			s.must(204, "DELETE", "policies/"+q, "")
			wantPolicies(t, &s, q, "", "", map[string]any{})
			s.publish(ch, "", q, "long-lived")
			s.must(201, "PUT", "policies/"+q, `{"pattern":"^`+q+`$","definition":{"message-ttl":600000}}`)
			if n := s.ready(q); n != 1 {
				t.Errorf("%d messages are ready, want 1", n)
			}
			s.must(204, "DELETE", "policies/"+q, "")
		})
	}
}

func TestAMQPPolicyMaxLength(t *testing.T) {
	s := openSite(t, nil)
	ch := s.channel()
	s.declare(ch, "many", false, nil)
	s.declare(ch, "other", false, nil)
	for _, q := range []string{"many", "other"} {
		s.publish(ch, "", q, "1", "2", "3", "4", "5")
	}
	s.must(201, "PUT", "policies/short", `{"pattern":"^many$","apply-to":"queues","definition":{"max-length":2}}`)
	if n := s.ready("many"); n != 2 {
		t.Errorf("%d messages are ready at once, want 2", n)
	}
	s.publish(ch, "", "many", "6")
	for _, want := range []string{"5", "6"} {
		if d := s.get(ch, "many"); string(d.Body) != want {
			t.Errorf("got %q, want %q: the oldest go first", d.Body, want)
		}
	}
	if n := s.ready("other"); n != 5 {
		t.Errorf("another queue has %d messages, want 5", n)
	}
	s.must(204, "DELETE", "policies/short", "")
	s.publish(ch, "", "many", "1", "2", "3")
	if n := s.ready("many"); n != 3 {
		t.Errorf("%d messages are ready without the policy, want 3", n)
	}
}

func TestAMQPPolicyDeadLetters(t *testing.T) {
	s := openSite(t, nil)
	ch := s.channel()
	s.declare(ch, "work", false, nil)
	s.declare(ch, "dead", false, nil)
	if err := ch.QueueBind("dead", "died", "amq.direct", false, nil); err != nil {
		t.Fatal(err)
	}
	reject := func() {
		t.Helper()
		s.publish(ch, "", "work", "bad")
		d, ok, err := ch.Get("work", false)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if err := d.Reject(false); err != nil {
			t.Fatal(err)
		}
	}
	s.must(201, "PUT", "policies/dlx", `{"pattern":"^work$","apply-to":"classic_queues","definition":{"dead-letter-exchange":"amq.direct","dead-letter-routing-key":"died"}}`)
	reject()
	d := s.get(ch, "dead")
	deaths, _ := d.Headers["x-death"].([]any)
	if len(deaths) != 1 || d.RoutingKey != "died" {
		t.Fatalf("the dead letter is %+v", d)
	}
	death := deaths[0].(client.Table)
	if death["queue"] != "work" || death["reason"] != "rejected" {
		t.Errorf("x-death is %v", death)
	}
	s.must(204, "DELETE", "policies/dlx", "")
	reject()
	s.eventually("the rejected message is gone", func() bool {
		q := s.object("queues/work")
		return q["messages"] == 0.0
	})
	if n := s.ready("dead"); n != 0 {
		t.Errorf("%d dead letters came without the policy", n)
	}
}

func TestAMQPPolicyAlternateExchange(t *testing.T) {
	s := openSite(t, nil)
	ch := s.channel()
	s.declare(ch, "rest", false, nil)
	s.must(201, "PUT", "exchanges/main", `{"type":"direct"}`)
	s.must(201, "PUT", "exchanges/spare", `{"type":"fanout"}`)
	s.must(201, "POST", "bindings/e/spare/q/rest", "")
	routed := func() any {
		t.Helper()
		return s.must(200, "POST", "exchanges/main/publish", `{"routing_key":"k","payload":"x"}`).(map[string]any)["routed"]
	}
	if routed() != false {
		t.Error("there is an alternate exchange before the policy")
	}
	s.must(201, "PUT", "policies/ae", `{"pattern":"^main$","apply-to":"exchanges","definition":{"alternate-exchange":"spare"}}`)
	wantFields(t, s.object("exchanges/main"), map[string]any{"policy": "ae"})
	if routed() != true || s.ready("rest") != 1 {
		t.Errorf("the alternate exchange has not got the message: %d", s.ready("rest"))
	}
	s.publish(ch, "main", "k", "by a client")
	if n := s.ready("rest"); n != 2 {
		t.Errorf("%d messages went by the alternate exchange, want 2", n)
	}
	s.must(204, "DELETE", "policies/ae", "")
	if routed() != false {
		t.Error("the alternate exchange outlives its policy")
	}
}

func TestAMQPPolicyExpires(t *testing.T) {
	s := openSite(t, nil)
	ch := s.channel()
	s.declare(ch, "idle", false, nil)
	s.declare(ch, "used", false, nil)
	if _, err := ch.Consume("used", "", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	s.must(201, "PUT", "policies/soon", `{"pattern":".","definition":{"expires":100}}`)
	s.eventually("the unused queue is gone", func() bool { return s.named("queues", "idle") == nil })
	if s.named("queues", "used") == nil {
		t.Error("a queue with a consumer expired")
	}
}

// TestAMQPOperatorPolicy: of a limit the lower value counts, whoever sets it.
func TestAMQPOperatorPolicy(t *testing.T) {
	s := openSite(t, nil)
	ch := s.channel()
	s.declare(ch, "q", false, client.Table{"x-max-length": 4})
	s.must(201, "PUT", "policies/mine", `{"pattern":"^q$","definition":{"max-length":5,"message-ttl":600000}}`)
	s.publish(ch, "", "q", "1", "2", "3", "4", "5", "6")
	if n := s.ready("q"); n != 4 {
		t.Errorf("%d are ready, want 4 by the argument", n)
	}
	s.must(201, "PUT", "operator-policies/house", `{"pattern":".*","apply-to":"queues","definition":{"max-length":2}}`)
	wantPolicies(t, s, "q", "mine", "house", map[string]any{"max-length": 2.0, "message-ttl": 600000.0})
	if n := s.ready("q"); n != 2 {
		t.Errorf("%d are ready, want 2 by the operator's policy", n)
	}
	s.must(204, "PUT", "operator-policies/house", `{"pattern":".*","apply-to":"queues","definition":{"max-length":100}}`)
	wantPolicies(t, s, "q", "mine", "house", map[string]any{"max-length": 5.0, "message-ttl": 600000.0})
	s.publish(ch, "", "q", "7", "8", "9")
	if n := s.ready("q"); n != 4 {
		t.Errorf("%d are ready, want 4 again", n)
	}
	s.must(204, "DELETE", "operator-policies/house", "")
	wantPolicies(t, s, "q", "mine", "", map[string]any{"max-length": 5.0, "message-ttl": 600000.0})
}

// TestAMQPPolicyPriority: of several that match the highest counts.
func TestAMQPPolicyPriority(t *testing.T) {
	s := openSite(t, nil)
	s.must(201, "PUT", "queues/q", "")
	s.must(201, "PUT", "policies/low", `{"pattern":".*","definition":{"max-length":1},"priority":1}`)
	wantPolicies(t, s, "q", "low", "", map[string]any{"max-length": 1.0})
	s.must(201, "PUT", "policies/high", `{"pattern":".*","definition":{"max-length":3},"priority":2}`)
	wantPolicies(t, s, "q", "high", "", map[string]any{"max-length": 3.0})
	s.must(204, "DELETE", "policies/high", "")
	wantPolicies(t, s, "q", "low", "", map[string]any{"max-length": 1.0})
}

func TestAMQPPoliciesOutliveTheGateway(t *testing.T) {
	dir := t.TempDir()
	first := openSite(t, nil, coretest.DataDir(dir))
	first.must(201, "PUT", "queues/kept", `{"durable":true}`)
	first.must(201, "PUT", "exchanges/x", `{"durable":true}`)
	first.must(201, "PUT", "policies/short", `{"pattern":"^kept$","definition":{"max-length":2},"priority":3}`)
	first.must(201, "PUT", "policies/gone", `{"pattern":"^x$","definition":{"alternate-exchange":"amq.fanout"}}`)
	first.must(201, "PUT", "operator-policies/house", `{"pattern":"^kept$","definition":{"max-length":7}}`)
	first.must(204, "DELETE", "policies/gone", "")
	first.stop()

	s := openSite(t, nil, coretest.DataDir(dir))
	if got := s.list("policies"); len(got) != 1 || got[0]["name"] != "short" || got[0]["priority"] != 3.0 {
		t.Errorf("policies are %v after a restart", got)
	}
	wantPolicies(t, s, "kept", "short", "house", map[string]any{"max-length": 2.0})
	wantFields(t, s.object("exchanges/x"), map[string]any{"policy": nil})
	s.publish(s.channel(), "", "kept", "1", "2", "3")
	if n := s.ready("kept"); n != 2 {
		t.Errorf("%d are ready after a restart, want 2", n)
	}
}
