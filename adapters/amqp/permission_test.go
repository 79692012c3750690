package amqp_test

import (
	"testing"

	"portico/core"
	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// §1.10: one permission language for all doors: subjects, and queues as $queue.NAME.
func TestPermissions(t *testing.T) {
	d := open(t, coretest.Users(
		core.User{Name: "admin", Password: "a"},
		core.User{Name: "shop", Password: "s", Publish: []string{"orders.>", "$queue.out"}, Subscribe: []string{"news.>", "$queue.in"}},
	))
	admin := dialAs(t, d, "admin:a")
	must(t, admin.ExchangeDeclare("orders", "topic", false, false, false, false, nil))
	must(t, admin.ExchangeDeclare("secret", "topic", false, false, false, false, nil))
	for _, q := range []string{"in", "out", "other"} {
		declare(t, admin, q)
	}
	publishing := func(exchange, key string) func(*client.Channel) error {
		return func(ch *client.Channel) error {
			if err := ch.Confirm(false); err != nil {
				return err
			}
			closed := ch.NotifyClose(make(chan *client.Error, 1))
			acked := ch.NotifyPublish(make(chan client.Confirmation, 1))
			if err := ch.PublishWithContext(t.Context(), exchange, key, false, false, client.Publishing{}); err != nil {
				return err
			}
			select {
			case err := <-closed:
				return err
			case _, there := <-acked:
				if !there {
					return receive(t, closed, "close") // which closes this one, too
				}
				return nil
			}
		}
	}
	for name, c := range map[string]struct {
		use  func(*client.Channel) error
		text string // "" means allowed
	}{
		"publish":              {publishing("orders", "new"), ""},
		"publish elsewhere":    {publishing("secret", "new"), "ACCESS_REFUSED - write access to exchange 'secret' in vhost '/' refused for user 'shop'"},
		"publish to a queue":   {publishing("", "out"), ""},
		"publish to another":   {publishing("", "other"), "ACCESS_REFUSED - write access to queue 'other' in vhost '/' refused for user 'shop'"},
		"publish to amq.topic": {publishing("amq.topic", "orders.new"), ""},
		"publish above":        {publishing("amq.topic", "news.new"), "ACCESS_REFUSED - write access to exchange 'amq.topic' in vhost '/' refused for user 'shop'"},
		"consume": {func(ch *client.Channel) error {
			_, err := ch.Consume("in", "", true, false, false, false, nil)
			return err
		}, ""},
		"consume another": {func(ch *client.Channel) error {
			_, err := ch.Consume("other", "", true, false, false, false, nil)
			return err
		},
			"ACCESS_REFUSED - read access to queue 'other' in vhost '/' refused for user 'shop'"},
		"get another": {func(ch *client.Channel) error { _, _, err := ch.Get("other", true); return err },
			"ACCESS_REFUSED - read access to queue 'other' in vhost '/' refused for user 'shop'"},
		"purge another": {func(ch *client.Channel) error { _, err := ch.QueuePurge("other", false); return err },
			"ACCESS_REFUSED - read access to queue 'other' in vhost '/' refused for user 'shop'"},
		"declare": {func(ch *client.Channel) error {
			_, err := ch.QueueDeclare("mine", false, false, false, false, nil)
			return err
		},
			"ACCESS_REFUSED - configure access to queue 'mine' in vhost '/' refused for user 'shop'"},
		"delete": {func(ch *client.Channel) error { _, err := ch.QueueDelete("other", false, false, false); return err },
			"ACCESS_REFUSED - configure access to queue 'other' in vhost '/' refused for user 'shop'"},
		"bind": {func(ch *client.Channel) error { return ch.QueueBind("in", "news.*", "amq.topic", false, nil) }, ""},
		"bind everything": {func(ch *client.Channel) error { return ch.QueueBind("in", "#", "amq.topic", false, nil) },
			"ACCESS_REFUSED - read access to exchange 'amq.topic' in vhost '/' refused for user 'shop'"},
		"bind to another exchange": {func(ch *client.Channel) error { return ch.QueueBind("in", "news", "secret", false, nil) },
			"ACCESS_REFUSED - read access to exchange 'secret' in vhost '/' refused for user 'shop'"},
		"declare an exchange": {func(ch *client.Channel) error {
			return ch.ExchangeDeclare("mine", "direct", false, false, false, false, nil)
		},
			"ACCESS_REFUSED - configure access to exchange 'mine' in vhost '/' refused for user 'shop'"},
		"declare its exchange again": {func(ch *client.Channel) error {
			return ch.ExchangeDeclare("orders", "topic", false, false, false, false, nil)
		}, ""},
		"a queue of its own": {func(ch *client.Channel) error {
			q, err := ch.QueueDeclare("", false, false, true, false, nil)
			if err == nil {
				_, err = ch.Consume(q.Name, "", true, false, false, false, nil)
			}
			return err
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.use(dialAs(t, d, "shop:s"))
			if c.text == "" {
				must(t, err)
				return
			}
			wantCode(t, err, 403, c.text)
		})
	}
}

// dialAs opens a channel as that user.
func dialAs(t testing.TB, d *door, userinfo string) *client.Channel {
	t.Helper()
	c := value(client.Dial("amqp://" + userinfo + "@" + d.addr + "/"))(t)
	t.Cleanup(func() { _ = c.Close() })
	return channelOf(t, c)
}
