package amqp_test

import (
	"testing"

	"portico/adapters/amqp/wire"
	"portico/core"
	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// codeCase is something that ends its channel.
type codeCase struct {
	octets func() []byte // what is sent on channel 1; nil: method alone
	method wire.Method   // what the close names
	text   string        // "": any
}

// wantCodes fails unless each case closes its channel with that code, in those words, and leaves the connection and its other channels alone.
func wantCodes(t *testing.T, d *door, code uint16, cases map[string]codeCase) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := d.peer(t, login{})
			p.open(1)
			p.open(2)
			if c.octets == nil {
				p.send(1, c.method)
			} else {
				p.write(c.octets())
			}
			m := p.wantChannelClose(1, code)
			if c.text != "" && m.ReplyText != c.text {
				t.Errorf("text %q, want %q", m.ReplyText, c.text)
			}
			if m.ClassID != c.method.ID().Class() || m.MethodID != c.method.ID().Method() {
				t.Errorf("close names method %d.%d, want %s", m.ClassID, m.MethodID, c.method.Name())
			}
			p.send(1, &wire.ChannelCloseOk{})
			p.open(1)
			p.send(2, &wire.BasicQos{})
			want[*wire.BasicQosOk](p, 2)
		})
	}
}

// publishing is a whole publish on channel 1 with these properties.
func publishing(exchange, key string, props wire.Properties) func() []byte {
	return func() []byte {
		b := method(1, &wire.BasicPublish{Exchange: exchange, RoutingKey: key})
		b = wire.AppendHeader(b, 1, wire.ClassBasic, 1, props.Append(nil))
		return wire.AppendBody(b, 1, []byte("x"), 4096)
	}
}

// §1.13: publish, bind, consume, get, passive declaration of what is not there.
func TestCode_404_MissingObject(t *testing.T) {
	d := open(t)
	const noQueue, noExchange = "NOT_FOUND - no queue 'none' in vhost '/'", "NOT_FOUND - no exchange 'none' in vhost '/'"
	const noneDeclared = "NOT_FOUND - no previously declared queue"
	declare(t, d.channel(t), "q")
	wantCodes(t, d, 404, map[string]codeCase{
		"publish":                    {publishing("none", "k", wire.Properties{}), &wire.BasicPublish{}, noExchange},
		"consume":                    {nil, &wire.BasicConsume{Queue: "none"}, noQueue},
		"get":                        {nil, &wire.BasicGet{Queue: "none"}, noQueue},
		"purge":                      {nil, &wire.QueuePurge{Queue: "none"}, noQueue},
		"passive queue":              {nil, &wire.QueueDeclare{Queue: "none", Passive: true}, noQueue},
		"passive reserved name":      {nil, &wire.QueueDeclare{Queue: "amq.none", Passive: true}, "NOT_FOUND - no queue 'amq.none' in vhost '/'"},
		"passive exchange":           {nil, &wire.ExchangeDeclare{Exchange: "none", Type: "direct", Passive: true}, noExchange},
		"bind queue":                 {nil, &wire.QueueBind{Queue: "none", Exchange: "amq.direct"}, noQueue},
		"bind to exchange":           {nil, &wire.QueueBind{Queue: "q", Exchange: "none"}, noExchange},
		"bind, both missing":         {nil, &wire.QueueBind{Queue: "none", Exchange: "none"}, noExchange},
		"exchange bind, source":      {nil, &wire.ExchangeBind{Destination: "amq.fanout", Source: "none"}, noExchange},
		"exchange bind, destination": {nil, &wire.ExchangeBind{Destination: "none", Source: "amq.fanout"}, noExchange},
		"consume, none declared":     {nil, &wire.BasicConsume{}, noneDeclared},
		"get, none declared":         {nil, &wire.BasicGet{}, noneDeclared},
		"bind, none declared":        {nil, &wire.QueueBind{Exchange: "amq.direct"}, noneDeclared},
		"unbind, none declared":      {nil, &wire.QueueUnbind{Exchange: "amq.direct"}, noneDeclared},
		"purge, none declared":       {nil, &wire.QueuePurge{}, noneDeclared},
		"delete, none declared":      {nil, &wire.QueueDelete{}, noneDeclared},
	})
}

// §1.13: an exclusive queue of another connection, and a redeclaration with the other exclusive flag.
func TestCode_405_ExclusiveQueue(t *testing.T) {
	d := open(t)
	owner := d.channel(t)
	value(owner.QueueDeclare("mine", false, false, true, false, nil))(t)
	declare(t, owner, "shared")
	wantCodes(t, d, 405, map[string]codeCase{
		"declare":                {nil, &wire.QueueDeclare{Queue: "mine", Exclusive: true}, lockedText},
		"declare, not exclusive": {nil, &wire.QueueDeclare{Queue: "mine", Durable: true, Arguments: wire.Table{"x-max-length": int32(1)}}, lockedText},
		"passive":                {nil, &wire.QueueDeclare{Queue: "mine", Passive: true}, lockedText},
		"bind":                   {nil, &wire.QueueBind{Queue: "mine", Exchange: "amq.direct"}, lockedText},
		"consume":                {nil, &wire.BasicConsume{Queue: "mine"}, lockedText},
		"get":                    {nil, &wire.BasicGet{Queue: "mine"}, lockedText},
		"purge":                  {nil, &wire.QueuePurge{Queue: "mine"}, lockedText},
		"delete":                 {nil, &wire.QueueDelete{Queue: "mine"}, lockedText},
		"other exclusive flag":   {nil, &wire.QueueDeclare{Queue: "shared", Exclusive: true}, ""},
	})
	_, err := owner.QueueDeclare("mine", false, false, false, false, nil)
	wantCode(t, err, 405, lockedText)
}

// §1.13: mismatches of a redeclaration.
func TestCode_406_Inequivalent(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	declare(t, ch, "q")
	must(t, ch.ExchangeDeclare("x", "direct", false, false, false, false, nil))
	const queue, exchange = "' for queue 'q' in vhost '/': ", "' for exchange 'x' in vhost '/': "
	const arg = "PRECONDITION_FAILED - inequivalent arg '"
	wantCodes(t, d, 406, map[string]codeCase{
		"queue argument": {nil, &wire.QueueDeclare{Queue: "q", Arguments: wire.Table{"x-message-ttl": int32(1)}},
			arg + "x-message-ttl" + queue + "received the value '1' of type 'signedint' but current is none"},
		"queue durable":        {nil, &wire.QueueDeclare{Queue: "q", Durable: true}, arg + "durable" + queue + "received 'true' but current is 'false'"},
		"queue auto_delete":    {nil, &wire.QueueDeclare{Queue: "q", AutoDelete: true}, arg + "auto_delete" + queue + "received 'true' but current is 'false'"},
		"exchange type":        {nil, &wire.ExchangeDeclare{Exchange: "x", Type: "fanout"}, arg + "type" + exchange + "received 'fanout' but current is 'direct'"},
		"exchange durable":     {nil, &wire.ExchangeDeclare{Exchange: "x", Type: "direct", Durable: true}, arg + "durable" + exchange + "received 'true' but current is 'false'"},
		"exchange auto_delete": {nil, &wire.ExchangeDeclare{Exchange: "x", Type: "direct", AutoDelete: true}, arg + "auto_delete" + exchange + "received 'true' but current is 'false'"},
		"exchange internal":    {nil, &wire.ExchangeDeclare{Exchange: "x", Type: "direct", Internal: true}, arg + "internal" + exchange + "received 'true' but current is 'false'"},
		"exchange argument": {nil, &wire.ExchangeDeclare{Exchange: "x", Type: "direct", Arguments: wire.Table{"alternate-exchange": "a"}},
			arg + "alternate-exchange" + exchange + "received the value 'a' of type 'longstr' but current is none"},
	})
}

// §1.4: of an exchange's arguments only the alternate exchange counts.
func TestExchangeArgumentsThatDoNotCount(t *testing.T) {
	ch := open(t).channel(t)
	must(t, ch.ExchangeDeclare("x", "direct", false, false, false, false, nil))
	must(t, ch.ExchangeDeclare("x", "direct", false, false, false, false, client.Table{"x-unheard": "ignored"}))
}

// §1.13: bad arguments and properties, unknown tags, what is in use or not empty, messages that are too large, tx and confirms mixed.
func TestCode_406_Precondition(t *testing.T) {
	d := open(t)
	ch := filled(t, d, "q", "one")
	value(ch.Consume("q", "", false, false, false, false, nil))(t)
	filled(t, d, "full", "one")
	must(t, ch.ExchangeDeclare("x", "fanout", false, false, false, false, nil))
	must(t, ch.QueueBind("q", "", "x", false, nil))
	tooLarge := func() []byte {
		b := method(1, &wire.BasicPublish{RoutingKey: "q"})
		return wire.AppendHeader(b, 1, wire.ClassBasic, uint64(d.gateway.MaxMessage())+1, nil)
	}
	const failed = "PRECONDITION_FAILED - "
	wantCodes(t, d, 406, map[string]codeCase{
		"bad argument": {nil, &wire.QueueDeclare{Queue: "n", Arguments: wire.Table{"x-message-ttl": "1"}},
			failed + "invalid arg 'x-message-ttl' for queue 'n' in vhost '/': \"expected integer, got longstr\""},
		"exchange type":        {nil, &wire.ExchangeDeclare{Exchange: "n", Type: "odd"}, failed + "unknown exchange type 'odd'"},
		"x-match":              {nil, &wire.QueueBind{Queue: "q", Exchange: "amq.headers", Arguments: wire.Table{"x-match": "odd"}}, ""},
		"unknown tag, ack":     {nil, &wire.BasicAck{DeliveryTag: 7}, failed + "unknown delivery tag 7"},
		"unknown tag, nack":    {nil, &wire.BasicNack{DeliveryTag: 7, Multiple: true}, failed + "unknown delivery tag 7"},
		"unknown tag, reject":  {nil, &wire.BasicReject{DeliveryTag: 1}, failed + "unknown delivery tag 1"},
		"queue in use":         {nil, &wire.QueueDelete{Queue: "q", IfUnused: true}, failed + "queue 'q' in vhost '/' in use"},
		"queue not empty":      {nil, &wire.QueueDelete{Queue: "full", IfEmpty: true}, failed + "queue 'full' in vhost '/' not empty"},
		"exchange in use":      {nil, &wire.ExchangeDelete{Exchange: "x", IfUnused: true}, failed + "exchange 'x' in vhost '/' in use"},
		"message too large":    {tooLarge, &wire.BasicPublish{}, ""},
		"expiration, word":     {publishing("", "q", wire.Properties{Expiration: "abc"}), &wire.BasicPublish{}, failed + "invalid expiration 'abc': no_integer"},
		"expiration, empty":    {publishing("", "q", wire.Properties{Flags: wire.FlagExpiration}), &wire.BasicPublish{}, failed + "invalid expiration '': no_integer"},
		"expiration, blank":    {publishing("", "q", wire.Properties{Expiration: " 1"}), &wire.BasicPublish{}, failed + "invalid expiration ' 1': no_integer"},
		"expiration, negative": {publishing("", "q", wire.Properties{Expiration: "-1"}), &wire.BasicPublish{}, failed + "invalid expiration '-1': {value_negative,-1}"},
		"expiration, rest":     {publishing("", "q", wire.Properties{Expiration: "1.5"}), &wire.BasicPublish{}, failed + `invalid expiration '1.5': {leftover_string,".5"}`},
		"expiration, eleven years": {publishing("", "q", wire.Properties{Expiration: "315360000001"}), &wire.BasicPublish{},
			failed + "invalid expiration '315360000001': {value_too_large,315360000001}"},
		"user-id": {publishing("", "q", wire.Properties{UserID: "somebody"}), &wire.BasicPublish{},
			failed + "user_id property set to 'somebody' but authenticated user was 'guest'"},
		"CC": {publishing("", "q", wire.Properties{Headers: wire.Table{"CC": "k"}}), &wire.BasicPublish{},
			failed + `invalid message: {unacceptable_type_in_header,"CC",longstr}`},
		"BCC": {publishing("", "q", wire.Properties{Headers: wire.Table{"BCC": wire.Table{}}}), &wire.BasicPublish{},
			failed + `invalid message: {unacceptable_type_in_header,"BCC",table}`},
		"commit without tx":         {nil, &wire.TxCommit{}, failed + "channel is not transactional"},
		"rollback without tx":       {nil, &wire.TxRollback{}, failed + "channel is not transactional"},
		"reply consumer with acks":  {nil, &wire.BasicConsume{Queue: replyQueue}, failed + "reply consumer cannot acknowledge"},
		"reply_to without consumer": {publishing("", "q", wire.Properties{ReplyTo: replyQueue}), &wire.BasicPublish{}, failed + "fast reply consumer does not exist"},
	})
	for name, c := range map[string]struct {
		first, then func(*client.Channel) error
		text        string
	}{
		"tx, then confirms": {(*client.Channel).Tx, func(ch *client.Channel) error { return ch.Confirm(false) }, "cannot switch from tx to confirm mode"},
		"confirms, then tx": {func(ch *client.Channel) error { return ch.Confirm(false) }, (*client.Channel).Tx, "cannot switch from confirm to tx mode"},
	} {
		t.Run(name, func(t *testing.T) {
			ch := d.channel(t)
			must(t, c.first(ch))
			wantCode(t, c.then(ch), 406, failed+c.text)
		})
	}
}

// §1.13: reserved names, the default exchange, exclusive consumers, internal exchanges.
func TestCode_403_Refused(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	declare(t, ch, "q")
	value(ch.Consume("q", "", false, true, false, false, nil))(t)
	declare(t, ch, "shared")
	value(ch.Consume("shared", "", false, false, false, false, nil))(t)
	must(t, ch.ExchangeDeclare("inner", "fanout", false, false, true, false, nil))
	const refused, onDefault = "ACCESS_REFUSED - ", "ACCESS_REFUSED - operation not permitted on the default exchange"
	wantCodes(t, d, 403, map[string]codeCase{
		"amq. queue":               {nil, &wire.QueueDeclare{Queue: "amq.mine"}, refused + "queue name 'amq.mine' contains reserved prefix 'amq.*'"},
		"amq. exchange":            {nil, &wire.ExchangeDeclare{Exchange: "amq.mine", Type: "direct"}, refused + "exchange name 'amq.mine' contains reserved prefix 'amq.*'"},
		"delete amq.topic":         {nil, &wire.ExchangeDelete{Exchange: "amq.topic"}, refused + "deletion of system exchange 'amq.topic' in vhost '/' not allowed"},
		"declare default":          {nil, &wire.ExchangeDeclare{Type: "direct"}, onDefault},
		"declare default, passive": {nil, &wire.ExchangeDeclare{Type: "direct", Passive: true}, onDefault},
		"delete default":           {nil, &wire.ExchangeDelete{}, onDefault},
		"bind to default":          {nil, &wire.QueueBind{Queue: "q", RoutingKey: "k"}, onDefault},
		"unbind from default":      {nil, &wire.QueueUnbind{Queue: "q", RoutingKey: "q"}, onDefault},
		"exchange bind default":    {nil, &wire.ExchangeBind{Destination: "amq.fanout", RoutingKey: "k"}, onDefault},
		"one is exclusive":         {nil, &wire.BasicConsume{Queue: "q"}, refused + "queue 'q' in vhost '/' in exclusive use"},
		"exclusive, not alone":     {nil, &wire.BasicConsume{Queue: "shared", Exclusive: true}, refused + "queue 'shared' in vhost '/' in exclusive use"},
		"internal exchange":        {publishing("inner", "k", wire.Properties{}), &wire.BasicPublish{}, refused + "cannot publish to internal exchange 'inner' in vhost '/'"},
	})
}

// §1.13: no permission. TestPermissions has all of them.
func TestCode_403_NoPermission(t *testing.T) {
	d := open(t, coretest.Users(core.User{Name: "shop", Password: "s", Publish: []string{"orders.>"}, Subscribe: []string{"news.>"}}))
	for name, c := range map[string]struct {
		use  func(*client.Channel) error
		text string
	}{
		"configure": {func(ch *client.Channel) error {
			_, err := ch.QueueDeclare("q", false, false, false, false, nil)
			return err
		}, "ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'shop'"},
		"write": {func(ch *client.Channel) error {
			closed := ch.NotifyClose(make(chan *client.Error, 1))
			if err := ch.PublishWithContext(t.Context(), "amq.topic", "news", false, false, client.Publishing{}); err != nil {
				return err
			}
			return receive(t, closed, "close")
		}, "ACCESS_REFUSED - write access to exchange 'amq.topic' in vhost '/' refused for user 'shop'"},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, c.use(dialAs(t, d, "shop:s")), 403, c.text) })
	}
}

// §1.13: 312 is no error but the code of a return; the channel goes on.
func TestCode_312_NoRoute(t *testing.T) {
	ch := open(t).channel(t)
	returned := ch.NotifyReturn(make(chan client.Return, 1))
	must(t, ch.PublishWithContext(t.Context(), "amq.direct", "nobody", true, false, client.Publishing{Body: []byte("x")}))
	if r := receive(t, returned, "return"); r.ReplyCode != 312 || r.ReplyText != "NO_ROUTE" || r.Exchange != "amq.direct" || r.RoutingKey != "nobody" {
		t.Errorf("return %+v", r)
	}
	declare(t, ch, "goes-on")
}
