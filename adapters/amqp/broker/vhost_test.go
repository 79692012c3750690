package broker_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
)

func TestPredeclaredExchanges(t *testing.T) {
	var got []string
	for _, x := range broker.New("/").Exchanges() {
		if !x.Durable || x.AutoDelete {
			t.Errorf("%q: durable %v, auto-delete %v", x.Name, x.Durable, x.AutoDelete)
		}
		got = append(got, fmt.Sprintf("%s %s %v", x.Name, x.Type, x.Internal))
	}
	want := []string{
		" direct false", "amq.direct direct false", "amq.fanout fanout false", "amq.headers headers false",
		"amq.match headers false", "amq.rabbitmq.trace topic true", "amq.topic topic false",
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got %q", got)
	}
}

func TestDeclareExchange(t *testing.T) {
	type X = broker.Exchange
	cases := map[string]struct {
		exchange X
		code     uint16 // 0: fine, exists already
		text     string
	}{
		"again":                    {X{Name: "x", Type: "direct", Arguments: wire.Table{"alternate-exchange": "ae"}}, 0, ""},
		"other arguments":          {X{Name: "x", Type: "direct", Arguments: wire.Table{"alternate-exchange": "ae", "y": "z"}}, 0, ""},
		"predeclared":              {X{Name: "amq.topic", Type: "topic", Durable: true}, 0, ""},
		"cr and lf are removed":    {X{Name: "\r\nx\n", Type: "direct", Arguments: wire.Table{"alternate-exchange": "ae"}}, 0, ""},
		"other type":               {X{Name: "x", Type: "fanout"}, 406, "inequivalent arg 'type' for exchange 'x' in vhost '/v': received 'fanout' but current is 'direct'"},
		"other durability":         {X{Name: "x", Type: "direct", Durable: true}, 406, "inequivalent arg 'durable' for exchange 'x' in vhost '/v': received 'true' but current is 'false'"},
		"other auto-delete":        {X{Name: "x", Type: "direct", AutoDelete: true}, 406, "inequivalent arg 'auto_delete' for exchange 'x' in vhost '/v': received 'true' but current is 'false'"},
		"other internal":           {X{Name: "x", Type: "direct", Internal: true}, 406, "inequivalent arg 'internal' for exchange 'x' in vhost '/v': received 'true' but current is 'false'"},
		"type before durability":   {X{Name: "x", Type: "topic", Durable: true}, 406, "inequivalent arg 'type' for exchange 'x' in vhost '/v': received 'topic' but current is 'direct'"},
		"no alternate":             {X{Name: "x", Type: "direct"}, 406, "inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/v': received none but current is the value 'ae' of type 'longstr'"},
		"other alternate":          {X{Name: "x", Type: "direct", Arguments: wire.Table{"alternate-exchange": "b"}}, 406, "inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/v': received 'b' but current is 'ae'"},
		"unknown type":             {X{Name: "n", Type: "x-jms-topic"}, 406, "unknown exchange type 'x-jms-topic'"},
		"unknown type, old name":   {X{Name: "x", Type: "Direct"}, 406, "unknown exchange type 'Direct'"},
		"default exchange":         {X{Name: "", Type: "direct", Durable: true}, 403, "operation not permitted on the default exchange"},
		"default by removal":       {X{Name: "\n", Type: "direct", Durable: true}, 403, "operation not permitted on the default exchange"},
		"reserved name":            {X{Name: "amq.mine", Type: "direct"}, 403, "exchange name 'amq.mine' contains reserved prefix 'amq.*'"},
		"predeclared, otherwise":   {X{Name: "amq.topic", Type: "topic"}, 406, "inequivalent arg 'durable' for exchange 'amq.topic' in vhost '/v': received 'false' but current is 'true'"},
		"alternate is a number":    {X{Name: "n", Type: "direct", Arguments: wire.Table{"alternate-exchange": int32(3)}}, 406, "invalid type 'signedint' for arg 'alternate-exchange' in exchange 'n' in vhost '/v'"},
		"arguments nobody encodes": {X{Name: "n", Type: "direct", Arguments: wire.Table{"c": complex(1, 1)}}, 406, "invalid arguments: encode table: value of type complex128"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v := broker.New("/v")
			declare(t, v, "x", "direct", alternate("ae"))
			before := v.Exchanges()
			created, err := v.DeclareExchange(c.exchange)
			if created {
				t.Error("created")
			}
			if c.code == 0 && err != nil {
				t.Fatal(err)
			}
			if c.code != 0 {
				expectError(t, err, c.code, c.text)
			}
			if !reflect.DeepEqual(v.Exchanges(), before) {
				t.Error("exchanges changed")
			}
		})
	}
}

func TestDeclaredExchangeIsThere(t *testing.T) {
	v := broker.New("/")
	x := broker.Exchange{Name: "a\r\nb", Type: broker.Headers, Durable: true, AutoDelete: true, Arguments: wire.Table{"k": int8(1)}}
	created, err := v.DeclareExchange(x)
	if !created || err != nil {
		t.Fatal(created, err)
	}
	x.Name = "ab"
	if got, ok := v.Exchange("ab"); !ok || !reflect.DeepEqual(got, x) {
		t.Fatalf("got %+v, %v", got, ok)
	}
	if err := v.CheckExchange("a\nb"); err != nil {
		t.Fatal(err)
	}
	expectError(t, v.CheckExchange("c"), 404, "no exchange 'c' in vhost '/'")
	expectError(t, v.CheckExchange(""), 403, "operation not permitted on the default exchange")
	if _, ok := v.Exchange("c"); ok {
		t.Fatal("found c")
	}
}

func TestDeleteExchange(t *testing.T) {
	v := broker.New("/v")
	declare(t, v, "x", broker.Direct)
	bind(t, v, "x", "q", "k")

	_, err := v.DeleteExchange("", false)
	expectError(t, err, 403, "operation not permitted on the default exchange")
	_, err = v.DeleteExchange("amq.direct", false)
	expectError(t, err, 403, "deletion of system exchange 'amq.direct' in vhost '/v' not allowed")
	_, err = v.DeleteExchange("x", true)
	expectError(t, err, 406, "exchange 'x' in vhost '/v' in use")
	if got, err := v.DeleteExchange("missing", true); err != nil || names(got) != nil {
		t.Fatalf("missing: %v, %v", got, err)
	}
	expectRoute(t, v, "x", "k", "q")

	got, err := v.DeleteExchange("x", false)
	if err != nil || !slices.Equal(names(got), []string{"x", "x>q"}) {
		t.Fatalf("%v, %v", names(got), err)
	}
	_, err = v.Route("x", "k", nil, nil)
	expectError(t, err, 404, "no exchange 'x' in vhost '/v'")
	if len(v.Bindings()) > 0 || len(v.QueueBindings("q")) > 0 {
		t.Fatal("bindings left")
	}
	declare(t, v, "x", broker.Fanout)
	expectRoute(t, v, "x", "k") // a new one, without the old one's bindings
}

func TestExchangeThatOnlyReceivesIsUnused(t *testing.T) {
	v := broker.New("/")
	declare(t, v, "x", broker.Direct)
	link(t, v, "amq.topic", "x", "#")
	got, err := v.DeleteExchange("x", true)
	if err != nil || !slices.Equal(names(got), []string{"x", "amq.topic>x"}) {
		t.Fatalf("%v, %v", names(got), err)
	}
}

func TestBindErrors(t *testing.T) {
	v := broker.New("/v")
	cases := map[string]struct {
		binding broker.Binding
		code    uint16
		text    string
	}{
		"from the default exchange": {broker.Binding{Source: "", Destination: "q"}, 403, "operation not permitted on the default exchange"},
		"to the default exchange":   {broker.Binding{Source: "amq.topic", ToExchange: true}, 403, "operation not permitted on the default exchange"},
		"no source":                 {broker.Binding{Source: "no", Destination: "q"}, 404, "no exchange 'no' in vhost '/v'"},
		"no destination":            {broker.Binding{Source: "amq.topic", Destination: "no", ToExchange: true}, 404, "no exchange 'no' in vhost '/v'"},
		"neither":                   {broker.Binding{Source: "no", Destination: "neither", ToExchange: true}, 404, "no exchange 'no' in vhost '/v'"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			created, err := v.Bind(c.binding)
			expectError(t, err, c.code, c.text)
			if created || len(v.Bindings()) > 0 {
				t.Fatal("bound")
			}
			removed, err := v.Unbind(c.binding)
			if c.code == 404 && (err != nil || names(removed) != nil) {
				t.Fatalf("unbinding what is missing: %v, %v", removed, err)
			}
			if c.code == 403 {
				expectError(t, err, c.code, c.text)
			}
		})
	}
}

func TestBindingIdentityIsAllOfIt(t *testing.T) {
	type B = broker.Binding
	v := broker.New("/")
	declare(t, v, "q", broker.Direct)
	base := B{Source: "amq.direct", Destination: "q", Key: "k", Arguments: wire.Table{"a": int8(1), "b": "2"}}
	others := []B{
		{Source: "amq.topic", Destination: "q", Key: "k", Arguments: base.Arguments},
		{Source: "amq.direct", Destination: "q2", Key: "k", Arguments: base.Arguments},
		{Source: "amq.direct", Destination: "q", ToExchange: true, Key: "k", Arguments: base.Arguments},
		{Source: "amq.direct", Destination: "q", Key: "k2", Arguments: base.Arguments},
		{Source: "amq.direct", Destination: "q", Key: "k"},
		{Source: "amq.direct", Destination: "q", Key: "k", Arguments: wire.Table{"a": int8(1), "b": "3"}},
		{Source: "amq.direct", Destination: "q", Key: "k", Arguments: wire.Table{"a": int16(1), "b": "2"}},
	}
	ids := map[string]bool{}
	for i, b := range append(others, base) {
		if created, err := v.Bind(b); !created || err != nil {
			t.Fatalf("%d: created %v, %v", i, created, err)
		}
		ids[b.ID()] = true
	}
	same := base
	same.Arguments = wire.Table{"b": "2", "a": int8(1)}
	if created, err := v.Bind(same); created || err != nil {
		t.Fatalf("again: created %v, %v", created, err)
	}
	if same.ID() != base.ID() || len(ids) != len(others)+1 {
		t.Fatal("IDs do not follow identity")
	}
	none, empty := base, base
	none.Arguments, empty.Arguments = nil, wire.Table{}
	if none.ID() != empty.ID() {
		t.Fatal("no arguments and empty arguments differ")
	}

	// The queue stays on the key until the last binding there is gone.
	for _, b := range []B{others[4], others[5], others[6]} {
		if removed, err := v.Unbind(b); err != nil || len(removed.Bindings) != 1 {
			t.Fatalf("%v, %v", removed, err)
		}
	}
	expectRoute(t, v, "amq.direct", "k", "q", "q2")
	if _, err := v.Unbind(same); err != nil {
		t.Fatal(err)
	}
	expectRoute(t, v, "amq.direct", "k", "q2")
	if removed, err := v.Unbind(same); err != nil || names(removed) != nil {
		t.Fatalf("twice: %v, %v", removed, err)
	}
}

func TestListings(t *testing.T) {
	v := broker.New("/")
	bind(t, v, "amq.topic", "q2", "b")
	bind(t, v, "amq.topic", "q1", "b")
	bind(t, v, "amq.topic", "q1", "a")
	bind(t, v, "amq.direct", "q1", "z")
	mustBind(t, v, broker.Binding{Source: "amq.match", Destination: "amq.topic", ToExchange: true})
	list := func(bs []broker.Binding) (got []string) {
		for _, b := range bs {
			got = append(got, b.Source+">"+b.Destination+":"+b.Key)
		}
		return got
	}
	if got := list(v.Bindings()); !slices.Equal(got, []string{"amq.direct>q1:z", "amq.match>amq.topic:", "amq.topic>q1:a", "amq.topic>q1:b", "amq.topic>q2:b"}) {
		t.Fatalf("all: %q", got)
	}
	if got := list(v.QueueBindings("q1")); !slices.Equal(got, []string{"amq.direct>q1:z", "amq.topic>q1:a", "amq.topic>q1:b"}) {
		t.Fatalf("q1: %q", got)
	}
	if got := v.QueueBindings("amq.topic"); len(got) > 0 {
		t.Fatalf("an exchange's bindings listed for a queue of its name: %v", got)
	}
}

func TestAutoDelete(t *testing.T) {
	t.Run("not before the first binding", func(t *testing.T) {
		v := broker.New("/")
		declare(t, v, "x", broker.Direct, autoDelete)
		_, _ = v.Unbind(broker.Binding{Source: "x", Destination: "q"})
		v.DeleteQueue("q")
		link(t, v, "amq.topic", "x", "#") // as destination does not count
		_, _ = v.Unbind(broker.Binding{Source: "amq.topic", Destination: "x", ToExchange: true, Key: "#"})
		if err := v.CheckExchange("x"); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("with the last unbind", func(t *testing.T) {
		v := broker.New("/")
		declare(t, v, "x", broker.Direct, autoDelete)
		bind(t, v, "x", "q", "1")
		bind(t, v, "x", "q", "2")
		if got, _ := v.Unbind(broker.Binding{Source: "x", Destination: "q", Key: "1"}); len(got.Exchanges) > 0 {
			t.Fatal("went with a binding left")
		}
		got, _ := v.Unbind(broker.Binding{Source: "x", Destination: "q", Key: "2"})
		if !slices.Equal(names(got), []string{"x", "x>q"}) {
			t.Fatalf("removed %v", names(got))
		}
		expectError(t, v.CheckExchange("x"), 404, "no exchange 'x' in vhost '/'")
	})
	t.Run("cascades from a deleted queue", func(t *testing.T) {
		v := broker.New("/")
		for _, x := range []string{"a", "b", "c", "d"} {
			declare(t, v, x, broker.Topic, autoDelete)
		}
		declare(t, v, "stays", broker.Fanout)
		link(t, v, "stays", "a", "")
		link(t, v, "a", "b", "#")
		link(t, v, "b", "c", "#")
		bind(t, v, "c", "q", "1")
		bind(t, v, "c", "q", "2")
		link(t, v, "d", "c", "#")
		bind(t, v, "d", "other", "#")
		got := v.DeleteQueue("q")
		if !slices.Equal(names(got), []string{"a", "b", "c", "a>b", "b>c", "c>q", "c>q", "d>c", "stays>a"}) {
			t.Fatalf("removed %v", names(got))
		}
		expectRoute(t, v, "d", "k", "other")
		expectRoute(t, v, "stays", "k")
	})
	t.Run("cascades from a deleted exchange, in a circle", func(t *testing.T) {
		v := broker.New("/")
		for _, x := range []string{"a", "b", "c"} {
			declare(t, v, x, broker.Fanout, autoDelete)
		}
		link(t, v, "a", "b", "")
		link(t, v, "b", "c", "")
		link(t, v, "c", "a", "")
		link(t, v, "a", "a", "")
		got, err := v.DeleteExchange("a", false)
		if err != nil || !slices.Equal(names(got), []string{"a", "b", "c", "a>a", "a>b", "b>c", "c>a"}) {
			t.Fatalf("removed %v, %v", names(got), err)
		}
	})
	t.Run("long chain", func(t *testing.T) {
		v := broker.New("/")
		const n = 20000
		for i := range n {
			declare(t, v, fmt.Sprint(i), broker.Fanout, autoDelete)
			if i > 0 {
				link(t, v, fmt.Sprint(i), fmt.Sprint(i-1), "")
			}
		}
		bind(t, v, "0", "q", "")
		if got := v.DeleteQueue("q"); len(got.Exchanges) != n || len(got.Bindings) != n {
			t.Fatalf("removed %d exchanges, %d bindings", len(got.Exchanges), len(got.Bindings))
		}
	})
}

func TestRestore(t *testing.T) {
	v := broker.New("/")
	declare(t, v, "x", broker.Topic, alternate("ae"))
	declare(t, v, "y", broker.Headers, autoDelete)
	bind(t, v, "x", "q", "a.#")
	link(t, v, "x", "y", "#")
	mustBind(t, v, broker.Binding{Source: "y", Destination: "q", Arguments: wire.Table{"h": int16(1)}})

	w := broker.New("/")
	if refused := w.Restore(v.Exchanges(), v.Bindings()); names(refused) != nil {
		t.Fatalf("refused %v", refused)
	}
	if !reflect.DeepEqual(w.Exchanges(), v.Exchanges()) || !reflect.DeepEqual(w.Bindings(), v.Bindings()) {
		t.Fatal("not the same")
	}
	expectRoute(t, w, "x", "a.b", "q")
	if got := w.DeleteQueue("q"); !slices.Equal(names(got), []string{"y", "x>q", "x>y", "y>q"}) {
		t.Fatalf("removed %v", names(got))
	}

	refused := w.Restore(
		[]broker.Exchange{{Name: "x", Type: "fanout"}, {Name: "z", Type: "x-gone"}, {Name: "amq.later", Type: "direct"}},
		[]broker.Binding{
			{Source: "nowhere", Destination: "q"}, {Source: "", Destination: "q"},
			{Source: "x", Destination: "nowhere", ToExchange: true},
			{Source: "amq.match", Destination: "q", Arguments: wire.Table{"x-match": "?"}},
			{Source: "x", Destination: "q2", Key: "k"},
		})
	if want := []string{"x", "z", ">q", "amq.match>q", "nowhere>q", "x>nowhere"}; !slices.Equal(names(refused), want) {
		t.Fatalf("refused %q", names(refused))
	}
	expectRoute(t, w, "x", "k", "q2")
	if err := w.CheckExchange("amq.later"); err != nil {
		t.Fatal(err)
	}
}

func TestBusPatterns(t *testing.T) {
	v := broker.New("/")
	bind(t, v, "amq.topic", "q1", "a.*")
	bind(t, v, "amq.topic", "q2", "a.*")
	bind(t, v, "amq.topic", "q2", "b.#.c")
	bind(t, v, "amq.direct", "q1", "k1")
	bind(t, v, "amq.direct", "q1", "k2")
	bind(t, v, "amq.fanout", "q1", "ignored")
	mustBind(t, v, broker.Binding{Source: "amq.match", Destination: "q1", Key: "ignored", Arguments: wire.Table{"a": "b"}})
	declare(t, v, "unbound", broker.Topic)
	declare(t, v, "with alternate", broker.Direct, alternate("amq.fanout"))
	declare(t, v, "with both", broker.Direct, alternate("amq.fanout"))
	bind(t, v, "with both", "q1", "k")
	declare(t, v, "all", broker.Topic)
	bind(t, v, "all", "q1", "a")
	bind(t, v, "all", "q1", "#")
	declare(t, v, "links", broker.Direct)
	link(t, v, "links", "all", "l")
	want := []broker.BusPattern{
		{Exchange: "all", Key: "#"}, {Exchange: "amq.direct", Key: "k1"}, {Exchange: "amq.direct", Key: "k2"},
		{Exchange: "amq.fanout", Key: "#"}, {Exchange: "amq.match", Key: "#"},
		{Exchange: "amq.topic", Key: "a.*"}, {Exchange: "amq.topic", Key: "b.#.c"},
		{Exchange: "links", Key: "l"}, {Exchange: "with alternate", Key: "#"}, {Exchange: "with both", Key: "#"},
	}
	if got := v.BusPatterns(); !slices.Equal(got, want) {
		t.Fatalf("got %v", got)
	}
	if got := broker.New("/").BusPatterns(); len(got) > 0 {
		t.Fatalf("new vhost: %v", got)
	}
}
