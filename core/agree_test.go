package core_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"
	"portico/core/policy"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"
)

// The words of the bus's own subjects are among those that policies and subjects are made of.
func anySubject(wildcards bool) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		first := []string{"a", "b", "a", "b", "$JS.API", "$JS.ACK", "$KV", "$O", "$SRV", "_INBOX"}
		rest := []string{"a", "b", "c"}
		if wildcards {
			first, rest = append(first, "*", "*"), append(rest, "*")
		}
		words := append([]string{rapid.SampledFrom(first).Draw(t, "first")}, rapid.SliceOfN(rapid.SampledFrom(rest), 0, 3).Draw(t, "rest")...)
		if wildcards && rapid.IntRange(0, 2).Draw(t, "tail") == 0 {
			words = append(words, ">")
		}
		if wildcards && rapid.IntRange(0, 9).Draw(t, "all") == 0 {
			return ">"
		}
		return strings.Join(words, ".")
	})
}

func anyLists() *rapid.Generator[policy.Lists] {
	return rapid.Custom(func(t *rapid.T) policy.Lists {
		some := func(name string, most int) []string {
			return rapid.SliceOfN(anySubject(true), 0, most).Draw(t, name)
		}
		return policy.Lists{Allow: some("allow", 4), Deny: some("deny", 2)}
	})
}

// anySpec makes policies: most have nothing but lists of subjects, which the server can say exactly.
func anySpec() *rapid.Generator[*policy.Spec] {
	return rapid.Custom(func(t *rapid.T) *policy.Spec {
		s := &policy.Spec{Publish: anyLists().Draw(t, "publish"), Subscribe: anyLists().Draw(t, "subscribe")}
		if rapid.IntRange(0, 3).Draw(t, "more") > 0 {
			return s
		}
		switch rapid.IntRange(0, 3).Draw(t, "which") {
		case 0:
			s.Request = anyLists().Draw(t, "request")
		case 1:
			s.Serve = anyLists().Draw(t, "serve")
		case 2:
			s.Stream = map[string]policy.Lists{"read": {Allow: []string{"S"}}}
		case 3:
			text := rapid.SampledFrom([]string{"", ".*", "^a"})
			s.AMQP = []policy.VHost{{VHost: "/", Configure: text.Draw(t, "configure"), Write: text.Draw(t, "write"), Read: text.Draw(t, "read")}}
		}
		return s
	})
}

// natsRaw speaks the NATS protocol itself: it wants each refusal, and in the order in which it asked.
type natsRaw struct {
	net.Conn
	lines *bufio.Scanner
}

func rawNATS(t *testing.T, addr, user, password string) *natsRaw {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	c := &natsRaw{nc, bufio.NewScanner(nc)}
	c.lines.Buffer(nil, 1<<20)
	login, _ := json.Marshal(map[string]any{"user": user, "pass": password, "verbose": false, "pedantic": false, "headers": true})
	if refused := c.ask(t, "CONNECT "+string(login)); len(refused) > 0 {
		t.Fatal(refused)
	}
	return c
}

// ask sends commands and returns the subjects that were refused.
func (c *natsRaw) ask(t *testing.T, commands ...string) map[string]bool {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte(strings.Join(append(commands, "PING"), "\r\n") + "\r\n")); err != nil {
		t.Fatal(err)
	}
	refused := map[string]bool{}
	for c.lines.Scan() {
		line := c.lines.Text()
		switch {
		case line == "PONG":
			return refused
		case line == "PING":
			if _, err := c.Write([]byte("PONG\r\n")); err != nil {
				t.Fatal(err)
			}
		case strings.HasPrefix(line, "-ERR"):
			_, quoted, found := strings.Cut(line, `"`)
			if !found {
				t.Fatalf("the server says %s", line)
			}
			subject, _, _ := strings.Cut(quoted, `"`)
			refused[subject] = true
		}
	}
	t.Fatalf("the server went: %v", c.lines.Err())
	return nil
}

// What the embedded server lets a native client do is what the policy says, for 10,000 pairs of a policy and a subject; where the server's lists cannot say it, it is less, and never more.
func TestServerAgreesWithPolicies(t *testing.T) {
	const policies, subjects = 250, 22 // each subject is published to and subscribed to
	var users []core.User
	for i := range policies {
		users = append(users, core.User{Name: fmt.Sprint("u", i), Password: "p", Permissions: anySpec().Example(i)})
	}
	g := coretest.Start(t, coretest.Users(users...))
	exact, narrower, allowed := 0, 0, 0
	for i, u := range users {
		b, err := g.Login(t.Context(), core.Credentials{Door: "test", User: u.Name, Password: "p"})
		if err != nil {
			t.Fatal(err)
		}
		p := b.Policy()
		native := p.Native()
		client := rawNATS(t, g.NATSAddr(), u.Name, "p")
		check := func(a policy.Action, subject string, refused bool) {
			said, meant := native.Decide(a, subject), p.Decide(a, resource(a, subject))
			spec, _ := json.Marshal(u.Permissions)
			if said.Allowed == refused {
				t.Errorf("%s %s: the server refuses it: %v, its lists: %+v; by %s", a, subject, refused, said, spec)
			}
			switch {
			case !refused && !meant.Allowed && a == policy.Subscribe && strings.HasSuffix(subject, ">"):
				hears(t, p, native, subject)
				narrower++
			case !refused && !meant.Allowed:
				t.Errorf("%s %s: the server allows what %s refuses; by %s", a, subject, meant.Rule, spec)
			case refused && meant.Allowed && (native == nil || native.Exact()):
				t.Errorf("%s %s: the server refuses what %s allows; by %s", a, subject, meant.Rule, spec)
			case refused && meant.Allowed:
				narrower++
			default:
				exact++
			}
			if !refused {
				allowed++
			}
		}
		var publish, subscribe, commands []string
		for j := range subjects {
			s, pattern := anySubject(false).Example(1000*i+j), anySubject(true).Example(1000*i+j)
			publish, subscribe = append(publish, s), append(subscribe, pattern)
			commands = append(commands, "PUB "+s+" 0\r\n")
		}
		refused := client.ask(t, commands...)
		for _, s := range publish {
			check(policy.Publish, s, refused[s])
		}
		commands = commands[:0]
		for j, s := range subscribe {
			commands = append(commands, fmt.Sprintf("SUB %s %d", s, j+1), fmt.Sprintf("UNSUB %d", j+1))
		}
		refused = client.ask(t, commands...)
		for _, s := range subscribe {
			check(policy.Subscribe, s, refused[s])
		}
	}
	t.Logf("%d pairs: %d decided alike, %d refused by the server alone; %d allowed", exact+narrower, exact, narrower, allowed)
	if exact+narrower < 10_000 || allowed < 2_000 || exact < 9_000 {
		t.Error("the pairs show too little")
	}
}

// resource is a subject as core shows it to a policy.
func resource(a policy.Action, subject string) policy.Resource {
	key := subject
	if a == policy.Subscribe && strings.HasSuffix(key, ">") {
		key = strings.TrimSuffix(key, ">") + "#"
	}
	return policy.Resource{Name: subject, Key: key}
}

// hears checks a subscription that the server accepts although it is wider than what is allowed: nothing that is not allowed may be heard by it.
func hears(t *testing.T, p *policy.Policy, native *policy.Native, pattern string) {
	t.Helper()
	for i := range 200 {
		s := strings.NewReplacer("*", "a", ">", anySubject(false).Example(i)).Replace(pattern)
		denied := false
		for _, d := range native.Subscribe.Deny {
			denied = denied || policy.Covers(d, s)
		}
		if d := p.Decide(policy.Subscribe, resource(policy.Subscribe, s)); !denied && !d.Allowed {
			t.Errorf("by %s the server lets hear %s: %s", pattern, s, d.Rule)
		}
	}
}

// The server takes a subscription to orders.> from whoever may subscribe to orders.*: no more is heard by it.
func TestServerHearsNoMore(t *testing.T) {
	g := coretest.Start(t, coretest.Users(core.User{Name: "admin", Password: "a"}, core.User{Name: "app", Password: "p", Subscribe: []string{"orders.*"}}))
	nc := connectNATS(t, g, nats.UserInfo("app", "p"))
	wide, err := nc.SubscribeSync("orders.>")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	admin := loginAs(t, g, "admin", "a")
	for _, s := range []string{"orders.eu.new", "orders.eu"} {
		publish(t, admin, &core.Message{Subject: s})
	}
	m, err := wide.NextMsg(patience)
	if err != nil || m.Subject != "orders.eu" {
		t.Errorf("heard %v, %v", m, err)
	}
}
