package core_test

import (
	"errors"
	"strings"
	"testing"

	"portico/core"
	"portico/core/coretest"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats.go"
	"golang.org/x/crypto/bcrypt"
)

func TestDevelopmentIdentity(t *testing.T) {
	g := coretest.Start(t)
	for name, c := range map[string]struct {
		show core.Credentials
		want core.Code
	}{
		"anonymous":           {core.Credentials{Door: "http", Anonymous: true}, 255},
		"anonymous over AMQP": {core.Credentials{Door: "amqp", Anonymous: true}, core.CodeUnauthenticated},
		"guest":               {core.Credentials{Door: "amqp", User: "guest", Password: "guest"}, 255},
		"default tenant":      {core.Credentials{Door: "amqp", User: "guest", Password: "guest", Tenant: "/"}, 255},
		"unknown tenant":      {core.Credentials{Door: "amqp", User: "guest", Password: "guest", Tenant: "other"}, core.CodeNotFound},
		"wrong password":      {core.Credentials{Door: "http", User: "guest", Password: "Guest"}, core.CodeUnauthenticated},
		"no password":         {core.Credentials{Door: "http", User: "guest"}, core.CodeUnauthenticated},
		"unknown user":        {core.Credentials{Door: "http", User: "root", Password: "guest"}, core.CodeUnauthenticated},
		"nobody, not said so": {core.Credentials{Door: "http"}, core.CodeUnauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := g.Login(t.Context(), c.show)
			if code(err) != c.want {
				t.Fatalf("login: %v", err)
			}
			if err == nil && (b.User() != c.show.User || b.Tenant() != "/") {
				t.Errorf("user %q, tenant %q", b.User(), b.Tenant())
			}
		})
	}
}

func configured(t testing.TB) *core.Gateway {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return coretest.Start(t, coretest.Users(
		core.User{Name: "admin", Password: string(hash)},
		core.User{Name: "app", Password: "plain", Publish: []string{"in.>", "$queue.jobs"}, Subscribe: []string{"out.*", "$queue.mine", "in.>"}},
		core.User{Name: "reader", Password: "plain", Subscribe: []string{"out.>"}},
	))
}

func TestConfiguredUsers(t *testing.T) {
	g := configured(t)
	for name, c := range map[string]struct {
		show core.Credentials
		want core.Code
	}{
		"hashed":           {core.Credentials{User: "admin", Password: "secret"}, 255},
		"hashed, wrong":    {core.Credentials{User: "admin", Password: "Secret"}, core.CodeUnauthenticated},
		"plain":            {core.Credentials{User: "app", Password: "plain"}, 255},
		"plain, wrong":     {core.Credentials{User: "app", Password: "plain "}, core.CodeUnauthenticated},
		"guest":            {core.Credentials{User: "guest", Password: "guest"}, core.CodeUnauthenticated},
		"anonymous":        {core.Credentials{Door: "http", Anonymous: true}, core.CodeUnauthenticated},
		"hash as password": {core.Credentials{User: "admin", Password: "$2a$04$"}, core.CodeUnauthenticated},
		"endless password": {core.Credentials{User: "app", Password: strings.Repeat("x", 1<<20)}, core.CodeUnauthenticated},
	} {
		_, err := g.Login(t.Context(), c.show)
		if code(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPermissionsAtTheDoors(t *testing.T) {
	g := configured(t)
	app := loginAs(t, g, "app", "plain")
	for name, c := range map[string]struct {
		action, subject string
		want            core.Code
	}{
		"publish":                    {"publish", "in.x.y", 255},
		"publish elsewhere":          {"publish", "out.x", core.CodePermissionDenied},
		"answer":                     {"publish", "_INBOX.a.b", 255},
		"subscribe":                  {"subscribe", "out.x", 255},
		"subscribe to the pattern":   {"subscribe", "out.*", 255},
		"subscribe wider":            {"subscribe", "out.>", core.CodePermissionDenied},
		"subscribe to everything":    {"subscribe", ">", core.CodePermissionDenied},
		"own inbox":                  {"subscribe", "_INBOX.a.>", 255},
		"control subject":            {"publish", "$JS.API.STREAM.LIST", core.CodePermissionDenied},
		"append to a queue":          {"publish", core.QueueSubject("jobs"), 255},
		"consume that queue":         {"subscribe", core.QueueSubject("jobs"), core.CodePermissionDenied},
		"consume its own":            {"subscribe", core.QueueSubject("mine"), 255},
		"append to another's queue":  {"publish", core.QueueSubject("mine"), core.CodePermissionDenied},
		"not a subject":              {"publish", "a..b", core.CodeInvalid},
		"publish to a wildcard":      {"publish", "in.*", core.CodeInvalid},
		"subscribe to not a pattern": {"subscribe", "a.>.b", core.CodeInvalid},
	} {
		if err := app.Allow(c.action, c.subject); code(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := app.Publish(t.Context(), &core.Message{Subject: "out.x"})
	wantCode(t, "publish", err, core.CodePermissionDenied)
	_, err = app.Publish(t.Context(), &core.Message{Subject: "in.x", Reply: "$JS.API.STREAM.PURGE.X"})
	wantCode(t, "publish with a reply to the bus itself", err, core.CodePermissionDenied)
	_, err = app.Publish(t.Context(), &core.Message{Subject: core.QueueSubject("jobs")})
	wantCode(t, "publish on a queue's name", err, core.CodePermissionDenied)
	_, err = app.Request(t.Context(), &core.Message{Subject: "out.x"})
	wantCode(t, "request", err, core.CodePermissionDenied)
	_, err = app.Subscribe("out.>", "", func(*core.Message) {})
	wantCode(t, "subscribe", err, core.CodePermissionDenied)
	reader := loginAs(t, g, "reader", "plain")
	if err := reader.Allow("publish", "anything"); err != nil {
		t.Errorf("an empty list means everything: %v", err)
	}
}

func TestPermissionsOnQueues(t *testing.T) {
	g := configured(t)
	app, admin := loginAs(t, g, "app", "plain"), loginAs(t, g, "admin", "secret")
	declare(t, admin, core.QueueConfig{Name: "jobs"})
	declare(t, admin, core.QueueConfig{Name: "secrets"})
	declare(t, app, core.QueueConfig{Name: "mine"})
	if _, err := app.Queue("jobs"); err != nil {
		t.Errorf("a queue it may append to: %v", err)
	}
	_, err := app.Queue("secrets")
	wantCode(t, "queue", err, core.CodePermissionDenied)
	_, _, err = app.DeclareQueue(t.Context(), core.QueueConfig{Name: "jobs"})
	wantCode(t, "declare", err, core.CodePermissionDenied)
	_, _, err = app.DeclareQueue(t.Context(), core.QueueConfig{Name: "mine", QueueRules: core.QueueRules{DeadLetter: core.DeadLetter{Subject: "out.x"}}})
	wantCode(t, "dead letters to a forbidden subject", err, core.CodePermissionDenied)
	_, _, err = app.DeclareQueue(t.Context(), core.QueueConfig{Name: "mine", QueueRules: core.QueueRules{DeadLetter: core.DeadLetter{Queue: "secrets"}}})
	wantCode(t, "dead letters to a forbidden queue", err, core.CodePermissionDenied)
	for exchange, key := range map[string]string{"": "secrets", "out": "x"} {
		dead := core.DeadLetter{Exchange: core.Some(exchange), RoutingKey: core.Some(key)}
		_, _, err = app.DeclareQueue(t.Context(), core.QueueConfig{Name: "mine", QueueRules: core.QueueRules{DeadLetter: dead}})
		wantCode(t, "dead letters to a forbidden exchange", err, core.CodePermissionDenied)
	}
	_, err = app.DeleteQueue(t.Context(), "secrets")
	wantCode(t, "delete", err, core.CodePermissionDenied)
	wantCode(t, "bind to a forbidden pattern", app.Bind(t.Context(), core.Binding{Pattern: ">", Queue: "mine"}), core.CodePermissionDenied)
	wantCode(t, "bind a forbidden queue", app.Bind(t.Context(), core.Binding{Pattern: "out.x", Queue: "secrets"}), core.CodePermissionDenied)
	wantCode(t, "unbind a forbidden queue", app.Unbind(t.Context(), core.Binding{Pattern: "out.x", Queue: "secrets"}), core.CodePermissionDenied)
	bind(t, app, "in.>", "mine")
}

func TestNATSDoorKnowsTheSameUsers(t *testing.T) {
	g := configured(t)
	for name, option := range map[string]nats.Option{
		"anonymous":      nats.Name("x"),
		"wrong password": nats.UserInfo("app", "x"),
		"guest":          nats.UserInfo("guest", "guest"),
		"boot user":      nats.UserInfo("_portico.PORTICO", ""),
		"token":          nats.Token("x"),
	} {
		if nc, err := nats.Connect("nats://"+g.NATSAddr(), option); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", name, err)
			if nc != nil {
				nc.Close()
			}
		}
	}
	refused := make(chan error, 10)
	nc := connectNATS(t, g, nats.UserInfo("app", "plain"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	for _, subject := range []string{"out.x", "$JS.API.INFO"} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		if err := receive(t, refused); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("publish on %s: %v", subject, err)
		}
	}
	if _, err := nc.SubscribeSync("secret"); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, refused); !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("subscribe: %v", err)
	}
	// What is allowed works, inboxes included.
	admin := connectNATS(t, g, nats.UserInfo("admin", "secret"))
	if _, err := admin.Subscribe("in.sum", func(m *nats.Msg) { _ = m.Respond([]byte("4")) }); err != nil || admin.Flush() != nil {
		t.Fatal(err)
	}
	if m, err := nc.Request("in.sum", nil, patience); err != nil || string(m.Data) != "4" {
		t.Errorf("request: %+v, %v", m, err)
	}
	// Whoever is asked may answer, on whatever subject.
	if _, err := nc.Subscribe("out.q", func(m *nats.Msg) { _ = m.Respond([]byte("5")) }); err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	answers, err := admin.SubscribeSync("my.answers")
	if err != nil || admin.PublishRequest("out.q", "my.answers", nil) != nil {
		t.Fatal(err)
	}
	if m, err := answers.NextMsg(patience); err != nil || string(m.Data) != "5" {
		t.Errorf("answer: %+v, %v", m, err)
	}
}

func TestMQTTDoorKnowsTheSameUsers(t *testing.T) {
	g := configured(t)
	as := func(user, password string) func(*mqtt.ClientOptions) {
		return func(o *mqtt.ClientOptions) { o.SetUsername(user).SetPassword(password) }
	}
	for name, change := range map[string]func(*mqtt.ClientOptions){
		"anonymous":      nil,
		"wrong password": as("app", "x"),
		"guest":          as("guest", "guest"),
	} {
		if _, err := connectMQTT(t, g, "sensor", change); err == nil {
			t.Errorf("%s: let in", name)
		}
	}
	c, err := connectMQTT(t, g, "sensor", as("app", "plain"))
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan mqtt.Message, 1)
	for qos := range byte(2) {
		waitMQTT(t, c.Subscribe("out/+", qos, func(_ mqtt.Client, m mqtt.Message) { got <- m }))
		publish(t, loginAs(t, g, "admin", "secret"), &core.Message{Subject: "out.x", Data: []byte("hi")})
		if m := receive(t, got); string(m.Payload()) != "hi" {
			t.Errorf("QoS %d: %q", qos, m.Payload())
		}
	}
	door := subscribe(t, loginAs(t, g, "admin", "secret"), "in.*", "")
	waitMQTT(t, c.Publish("in/x", 1, false, "allowed"))
	if m := receive(t, door); string(m.Data) != "allowed" {
		t.Errorf("door got %+v", m)
	}
}

func TestClosedNATSDoorLetsNobodyIn(t *testing.T) {
	g := coretest.Start(t, func(c *core.Config) { c.NATSListen = "off" })
	if g.NATSAddr() != "" {
		t.Errorf("address %q", g.NATSAddr())
	}
	mustMQTT(t, g, "sensor")
	v, err := nats.Connect("nats://"+hiddenAddr(t, g), nats.UserInfo("guest", "guest"))
	if !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("connected: %v, %v", v, err)
	}
}

func TestBadUsersAreRefused(t *testing.T) {
	for name, users := range map[string][]core.User{
		"no name":      {{Password: "x"}},
		"no password":  {{Name: "x"}},
		"twice":        {{Name: "x", Password: "x"}, {Name: "x", Password: "y"}},
		"bad pattern":  {{Name: "x", Password: "x", Publish: []string{"a..b"}}},
		"our own name": {{Name: "_portico.INTERNAL", Password: "x"}},
	} {
		if g, err := core.New(core.Config{DataDir: t.TempDir(), Users: users}, quiet()); err == nil {
			t.Errorf("%s: accepted", name)
			g.Close()
		}
	}
}
