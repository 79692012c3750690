package security

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"portico/core/policy"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"
)

// anyPolicy makes policies about what the visitors act on, and about what is near it.
func anyPolicy() *rapid.Generator[*policy.Spec] {
	return rapid.Custom(func(t *rapid.T) *policy.Spec {
		subjects := func(name string) policy.Lists {
			pattern := rapid.SampledFrom([]string{"table.in", "table.out", "table.ask", "table.*", "table.>", ">", "*.in", "*.out", "other.>", "$queue.table-queue", "$queue.*"})
			return policy.Lists{Allow: rapid.SliceOfN(pattern, 0, 3).Draw(t, name+" allow"), Deny: rapid.SliceOfN(rapid.SampledFrom([]string{"table.in", "*.out", "table.ask", "other.>"}), 0, 1).Draw(t, name+" deny")}
		}
		s := &policy.Spec{Roles: []string{policy.RoleNone}, Publish: subjects("publish"), Subscribe: subjects("subscribe")}
		if rapid.Bool().Draw(t, "by queue") {
			names := rapid.SliceOfN(rapid.SampledFrom([]string{"table-queue", "table-*", "*-new", "other"}), 0, 2)
			s.Queue = map[string]policy.Lists{}
			for _, action := range []string{"consume", "declare"} {
				s.Queue[action] = policy.Lists{Allow: names.Draw(t, action+" allow"), Deny: names.Draw(t, action+" deny")}
			}
		}
		if rapid.IntRange(0, 2).Draw(t, "by request") == 0 {
			s.Request = subjects("request")
		}
		if rapid.IntRange(0, 2).Draw(t, "by regex") == 0 {
			text := rapid.SampledFrom([]string{".*", "^table-", "^amq\\.", "new$", "", "^(amq\\.topic|amq\\.gen.*|table-queue|stomp.*)$"})
			s.AMQP = []policy.VHost{{VHost: "/", Configure: text.Draw(t, "configure"), Write: text.Draw(t, "write"), Read: text.Draw(t, "read")}}
			if rapid.Bool().Draw(t, "by topic") {
				key := rapid.SampledFrom([]string{"^table\\.", "^{username}", "out$", ".*"})
				s.Topics = []policy.Topic{{VHost: "/", Exchange: "amq.topic", Write: key.Draw(t, "topic write"), Read: key.Draw(t, "topic read")}}
			}
		}
		return s
	})
}

// meant is what the policy decides about an action of a visitor at a door; ok is false for what the door has no words for.
func meant(p *policy.Policy, door, action string) (allowed, ok bool) {
	subject := map[string]string{"publish": subjectIn, "subscribe": subjectOut, "request": subjectAsk}[action]
	a, err := policy.ParseAction(action)
	if err != nil {
		return false, false
	}
	if door == "NATS" || door == "MQTT" {
		if subject == "" || door == "MQTT" && action == "request" {
			return false, false
		}
		return p.Native().Decide(a, subject).Allowed, true
	}
	if subject != "" {
		return p.Decide(a, policy.Resource{Name: subject, Key: subject}).Allowed, true
	}
	name := map[string]string{"consume": queueThere, "declare": queueNew}[action]
	if name == "" {
		return false, false
	}
	if door == "STOMP" {
		a = policy.Consume // of a queue that is there nothing more is asked
	}
	return p.Decide(a, policy.Resource{Name: name, Subject: "$queue." + name}).Allowed, true
}

// extra is what else a door does for an action and needs a right for. It is documented in docs/security.md.
func extra(p *policy.Policy, door, action string) bool {
	switch door + " " + action {
	case "AMQP subscribe": // a queue of its own, bound to amq.topic and consumed
		own := policy.Resource{Name: "amq.gen-x"}
		return p.ByRegex(policy.Declare, own).Allowed && p.ByRegex(policy.Bind, own).Allowed && p.ByRegex(policy.Consume, own).Allowed
	case "STOMP subscribe": // a queue of its own that is fed by the subject, whichever exchange that is published to
		return !p.ByExchange() || p.ByRegex(policy.ReadExchange, policy.Resource{Name: "table"}).Allowed
	case "AMQP request": // publishing to an exchange with reply-to: both
		return p.Decide(policy.Publish, policy.Resource{Name: subjectAsk, Key: subjectAsk}).Allowed
	}
	return true
}

// refused tells whether an error is a refusal for want of permission, in the words of any protocol.
func refused(err error) bool {
	return err != nil && slices.ContainsFunc([]string{"permission", "ACCESS_REFUSED", "PERMISSION_DENIED", "Permissions Violation", "0x80", "not allowed"}, func(word string) bool {
		return strings.Contains(err.Error(), word)
	})
}

// Every door decides as the policy does, whatever the policy is.
func TestEveryDoorDecidesAlike(t *testing.T) {
	policies := 24
	if os.Getenv("E2E") == "long" {
		policies = 400
	}
	type user struct {
		Name        string       `json:"name"`
		Password    string       `json:"password"`
		Permissions *policy.Spec `json:"permissions,omitempty"`
	}
	users := []user{{Name: "admin", Password: "a"}}
	for i := range policies {
		users = append(users, user{fmt.Sprint("user", i), "p", anyPolicy().Example(i)})
	}
	config, err := json.Marshal(map[string]any{"users": users})
	must(t, err)
	s := start(t, string(config))
	heard := answerAndDeclare(t, s)
	allowed, denied := 0, 0
	for _, u := range users[1:] {
		p, err := policy.New(u.Name, "/", u.Permissions)
		must(t, err)
		for _, door := range doors {
			for _, action := range actions {
				want, ok := meant(p, door.name, action.name)
				if !ok {
					continue
				}
				want = want && extra(p, door.name, action.name)
				v, err := door.visit(t, s, shown{user: u.Name, password: "p"})
				must(t, err)
				before := heard()
				err = action.try(v)
				if door.name == "MQTT" && action.name == "publish" && err == nil && heard() == before {
					err = refusal("MQTT 3.1.1 has no word for it, but nobody heard it: not allowed")
				}
				v.close()
				if got := !refused(err); got != want {
					spec, _ := json.Marshal(u.Permissions)
					t.Errorf("%s %s: allowed %v (%v), want %v; by %s", door.name, action.name, got, err, want, spec)
				}
				if want {
					allowed++
				} else {
					denied++
				}
			}
		}
	}
	t.Logf("%d decisions of %d policies at %d doors: %d allowed, %d refused", allowed+denied, policies, len(doors), allowed, denied)
	if allowed < policies*3 || denied < policies*3 {
		t.Error("the decisions show too little")
	}
}

// answerAndDeclare makes the queues, and answers requests until the test ends. heard tells how many messages have been published to subjectIn.
func answerAndDeclare(t *testing.T, s *site) (heard func() int) {
	t.Helper()
	nc, err := nats.Connect("nats://"+s.at["NATS"], nats.UserInfo("admin", "a"), nats.Timeout(patience))
	must(t, err)
	t.Cleanup(nc.Close)
	_, err = nc.Subscribe(subjectAsk, func(m *nats.Msg) { _ = m.Respond(nil) })
	must(t, err)
	in, err := nc.SubscribeSync(subjectIn)
	must(t, err)
	must(t, nc.FlushTimeout(patience))
	v, err := visitHTTP(t, s, shown{user: "admin", password: "a"})
	must(t, err)
	for _, q := range []string{queueThere, queueNew} {
		must(t, v.(*httpVisitor).ask("PUT", "/v1/queues/"+q, "{}", "Content-Type", "application/json"))
	}
	return func() int {
		must(t, nc.FlushTimeout(patience))
		n, _, err := in.Pending()
		must(t, err)
		return n
	}
}
