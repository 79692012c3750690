package amqp_test

import (
	"strings"
	"testing"

	"portico/core"
	"portico/core/coretest"
	"portico/core/policy"

	client "github.com/rabbitmq/amqp091-go"
)

// §1.10: regular expressions and topic permissions, in RabbitMQ's words.
func TestRegularExpressions(t *testing.T) {
	d := open(t, coretest.Users(
		core.User{Name: "admin", Password: "a"},
		core.User{Name: "bob", Password: "b", Permissions: &policy.Spec{
			AMQP:   []policy.VHost{{VHost: "/", Configure: "^mine", Write: "^(mine.*|amq\\.topic)$", Read: "^(mine.*|src)$"}},
			Topics: []policy.Topic{{VHost: "/", Exchange: "amq.topic", Write: "^{username}\\."}, {VHost: "/", Exchange: "src", Read: "^open\\."}},
		}},
	))
	admin := dialAs(t, d, "admin:a")
	must(t, admin.ExchangeDeclare("src", "topic", false, false, false, false, nil))
	must(t, admin.ExchangeDeclare("yours", "topic", false, false, false, false, nil))
	must(t, admin.ExchangeDeclare("mine-x", "fanout", false, false, false, false, nil))
	for _, q := range []string{"mine", "yours", "src"} {
		declare(t, admin, q)
	}
	declared := func(name string, args client.Table) func(*client.Channel) error {
		return func(ch *client.Channel) error {
			_, err := ch.QueueDeclare(name, false, false, false, false, args)
			return err
		}
	}
	publishing := func(exchange, key string) func(*client.Channel) error {
		return func(ch *client.Channel) error {
			closed := ch.NotifyClose(make(chan *client.Error, 1))
			if err := ch.PublishWithContext(t.Context(), exchange, key, false, false, client.Publishing{}); err != nil {
				return err
			}
			if _, err := ch.QueueInspect("mine"); err == nil {
				return nil
			}
			return receive(t, closed, "close")
		}
	}
	refused := func(right, what string) string {
		return "ACCESS_REFUSED - " + right + " access to " + what + " in vhost '/' refused for user 'bob'"
	}
	for name, c := range map[string]struct {
		use  func(*client.Channel) error
		text string // "": allowed
	}{
		"declare":               {declared("mine-2", nil), ""},
		"declare another":       {declared("other", nil), refused("configure", "queue 'other'")},
		"declare what is there": {declared("yours", nil), refused("configure", "queue 'yours'")},
		"server-named":          {declared("", nil), "refused for user 'bob'"},
		"passively": {func(ch *client.Channel) error {
			_, err := ch.QueueDeclarePassive("mine", false, false, false, false, nil)
			return err
		}, ""},
		"passively by read": {func(ch *client.Channel) error {
			_, err := ch.QueueDeclarePassive("src", false, false, false, false, nil)
			return err
		}, ""},
		"passively, no right": {func(ch *client.Channel) error {
			_, err := ch.QueueDeclarePassive("yours", false, false, false, false, nil)
			return err
		}, refused("configure", "queue 'yours'")},
		"dead letters":             {declared("mine-3", client.Table{"x-dead-letter-exchange": "mine-x"}), ""},
		"dead letters elsewhere":   {declared("mine-4", client.Table{"x-dead-letter-exchange": "yours"}), refused("write", "exchange 'yours'")},
		"publish":                  {publishing("mine-x", "k"), ""},
		"publish to another":       {publishing("yours", "k"), refused("write", "exchange 'yours'")},
		"publish by default":       {publishing("", "mine"), refused("write", "exchange 'amq.default'")},
		"publish on its topic":     {publishing("amq.topic", "bob.x"), ""},
		"publish on another topic": {publishing("amq.topic", "eve.x"), refused("write", "topic 'eve.x' in exchange 'amq.topic'")},
		"bind":                     {func(ch *client.Channel) error { return ch.QueueBind("mine", "open.x", "src", false, nil) }, ""},
		"bind by a closed topic":   {func(ch *client.Channel) error { return ch.QueueBind("mine", "shut.x", "src", false, nil) }, refused("read", "topic 'shut.x' in exchange 'src'")},
		"bind what is not written": {func(ch *client.Channel) error { return ch.QueueBind("src", "open.x", "src", false, nil) }, refused("write", "queue 'src'")},
		"bind from what is not read": {func(ch *client.Channel) error { return ch.QueueBind("mine", "k", "yours", false, nil) },
			refused("read", "exchange 'yours'")},
		"unbind from what is not read": {func(ch *client.Channel) error { return ch.QueueUnbind("mine", "k", "yours", nil) }, refused("read", "exchange 'yours'")},
		"consume": {func(ch *client.Channel) error {
			_, err := ch.Consume("mine", "", false, false, false, false, nil)
			return err
		}, ""},
		"get":    {func(ch *client.Channel) error { _, _, err := ch.Get("yours", true); return err }, refused("read", "queue 'yours'")},
		"purge":  {func(ch *client.Channel) error { _, err := ch.QueuePurge("yours", false); return err }, refused("read", "queue 'yours'")},
		"delete": {func(ch *client.Channel) error { _, err := ch.QueueDelete("src", false, false, false); return err }, refused("configure", "queue 'src'")},
		"exchange": {func(ch *client.Channel) error {
			return ch.ExchangeDeclare("mine-y", "direct", false, false, false, false, nil)
		}, ""},
		"exchange of another": {func(ch *client.Channel) error { return ch.ExchangeDelete("yours", false, false) }, refused("configure", "exchange 'yours'")},
		"alternate exchange": {func(ch *client.Channel) error {
			return ch.ExchangeDeclare("mine-z", "direct", false, false, false, false, client.Table{"alternate-exchange": "yours"})
		}, refused("write", "exchange 'yours'")},
		"exchange to exchange": {func(ch *client.Channel) error { return ch.ExchangeBind("mine-x", "open.y", "src", false, nil) }, ""},
		"exchange to another":  {func(ch *client.Channel) error { return ch.ExchangeBind("yours", "open.y", "src", false, nil) }, refused("write", "exchange 'yours'")},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.use(dialAs(t, d, "bob:b"))
			switch {
			case c.text == "":
				must(t, err)
			case err == nil || !strings.Contains(err.Error(), c.text):
				t.Errorf("%v, want %s", err, c.text)
			}
		})
	}
}

// A consumer that may read no longer is cancelled, and what it holds goes back with its channel; a publisher that may write no longer is refused with the next message.
func TestPermissionsChangeWhileOpen(t *testing.T) {
	users := func(bob core.User) []core.User {
		bob.Name, bob.Password = "bob", "b"
		return []core.User{{Name: "admin", Password: "a"}, bob}
	}
	d := open(t, coretest.Users(users(core.User{})...))
	admin := dialAs(t, d, "admin:a")
	for _, q := range []string{"kept", "lost"} {
		declare(t, admin, q)
		must(t, admin.PublishWithContext(t.Context(), "", q, false, false, client.Publishing{Body: []byte("1")}))
	}
	bob := dialAs(t, d, "bob:b")
	cancelled := bob.NotifyCancel(make(chan string, 2))
	lost, err := bob.Consume("lost", "lost", false, false, false, false, nil)
	must(t, err)
	kept, err := bob.Consume("kept", "kept", false, false, false, false, nil)
	must(t, err)
	receive(t, lost, "delivery")
	receive(t, kept, "delivery")
	must(t, bob.PublishWithContext(t.Context(), "", "lost", false, false, client.Publishing{}))
	_, err = bob.QueueDeclarePassive("lost", false, false, false, false, nil) // answered behind it
	must(t, err)

	must(t, d.gateway.Reload(core.Config{Users: users(core.User{Publish: []string{"$queue.kept"}, Subscribe: []string{"$queue.kept"}})}))
	if tag := receive(t, cancelled, "cancel"); tag != "lost" {
		t.Errorf("cancelled %q", tag)
	}
	must(t, admin.PublishWithContext(t.Context(), "", "kept", false, false, client.Publishing{Body: []byte("2")}))
	if m := receive(t, kept, "delivery"); string(m.Body) != "2" {
		t.Errorf("got %q", m.Body)
	}
	closed := bob.NotifyClose(make(chan *client.Error, 1))
	must(t, bob.PublishWithContext(t.Context(), "", "lost", false, false, client.Publishing{}))
	wantCode(t, receive(t, closed, "close"), 403, "ACCESS_REFUSED - write access to queue 'lost' in vhost '/' refused for user 'bob'")
	again, err := admin.Consume("lost", "", true, false, false, false, nil)
	must(t, err)
	if m := receive(t, again, "what the consumer held"); string(m.Body) != "1" || !m.Redelivered {
		t.Errorf("got %q, redelivered %v", m.Body, m.Redelivered)
	}
}
