package core_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"
)

// permitted is a call with what a list has to allow for it.
type permitted struct {
	publish, subscribe string
	call               func(context.Context, *core.Bus) error
}

// streamCalls are the calls on streams and consumers, on what TestStreamPermissions has made.
func streamCalls() map[string]permitted {
	const api = "$JS.API."
	read := core.ReadOptions{Limit: 1, Subjects: []string{"s.x"}}
	return map[string]permitted{
		"create stream": {api + "STREAM.CREATE.n", "-", func(ctx context.Context, b *core.Bus) error {
			_, _, err := b.CreateStream(ctx, core.StreamConfig{Name: "n"})
			return err
		}},
		"update stream": {api + "STREAM.UPDATE.u", "-", func(ctx context.Context, b *core.Bus) error {
			_, err := b.UpdateStream(ctx, core.StreamConfig{Name: "u"})
			return err
		}},
		"stream":        {api + "STREAM.INFO.s", "-", func(ctx context.Context, b *core.Bus) error { _, err := b.Stream(ctx, "s"); return err }},
		"streams":       {api + "STREAM.LIST", "-", func(ctx context.Context, b *core.Bus) error { _, err := b.Streams(ctx, "", 1); return err }},
		"delete stream": {api + "STREAM.DELETE.d", "-", func(ctx context.Context, b *core.Bus) error { return b.DeleteStream(ctx, "d") }},
		"purge": {api + "STREAM.PURGE.u", "-", func(ctx context.Context, b *core.Bus) error {
			_, err := b.PurgeStream(ctx, "u", core.PurgeOptions{})
			return err
		}},
		"message": {api + "DIRECT.GET.s", "s.x", func(ctx context.Context, b *core.Bus) error { _, err := b.StreamMessage(ctx, "s", 1); return err }},
		"last message": {api + "DIRECT.GET.s.s.x", "s.x", func(ctx context.Context, b *core.Bus) error {
			_, err := b.LastStreamMessage(ctx, "s", "s.x")
			return err
		}},
		"delete message": {api + "STREAM.MSG.DELETE.s", "-", func(ctx context.Context, b *core.Bus) error { return b.DeleteStreamMessage(ctx, "s", 2) }},
		"read":           {api + "DIRECT.GET.s", "s.x", func(ctx context.Context, b *core.Bus) error { _, _, err := b.ReadStream(ctx, "s", read); return err }},
		"read all": {api + "DIRECT.GET.s", "s.>", func(ctx context.Context, b *core.Bus) error {
			_, _, err := b.ReadStream(ctx, "s", core.ReadOptions{Limit: 1})
			return err
		}},
		"follow": {api + "CONSUMER.CREATE.s.>", "s.x", func(ctx context.Context, b *core.Bus) error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return b.FollowStream(ctx, "s", read, nil, nil)
		}},
		"create consumer": {api + "CONSUMER.CREATE.s.n.s.x", "s.x", func(ctx context.Context, b *core.Bus) error {
			_, _, err := b.CreateConsumer(ctx, "s", core.ConsumerConfig{Name: "n", Subjects: []string{"s.x"}})
			return err
		}},
		"create consumer of all": {api + "CONSUMER.CREATE.s.all", "s.>", func(ctx context.Context, b *core.Bus) error {
			_, _, err := b.CreateConsumer(ctx, "s", core.ConsumerConfig{Name: "all"})
			return err
		}},
		"consumer":        {api + "CONSUMER.INFO.s.c", "-", func(ctx context.Context, b *core.Bus) error { _, err := b.Consumer(ctx, "s", "c"); return err }},
		"consumers":       {api + "CONSUMER.LIST.s", "-", func(ctx context.Context, b *core.Bus) error { _, err := b.Consumers(ctx, "s", "", 1); return err }},
		"delete consumer": {api + "CONSUMER.DELETE.s.d", "-", func(ctx context.Context, b *core.Bus) error { return b.DeleteConsumer(ctx, "s", "d") }},
		"pause": {api + "CONSUMER.PAUSE.s.d2", "-", func(ctx context.Context, b *core.Bus) error {
			_, err := b.PauseConsumer(ctx, "s", "d2", time.Now().Add(time.Hour))
			return err
		}},
		"fetch":                  {api + "CONSUMER.MSG.NEXT.s.c", "s.x", func(ctx context.Context, b *core.Bus) error { _, err := b.Fetch(ctx, "s", "c", 1, 0, 0); return err }},
		"settle":                 {"$JS.ACK.s.c.>", "-", settleNothing},
		"settle what it fetched": {api + "CONSUMER.MSG.NEXT.s.c", "-", settleNothing},
	}
}

// settleNothing returns nil if it was allowed to ask.
func settleNothing(ctx context.Context, b *core.Bus) error {
	if err := b.SettleLent(ctx, "$JS.ACK.s.c.1.999.1.1.1", core.StreamExtend, 0); code(err) != core.CodePreconditionFailed {
		return err
	}
	return nil
}

// bucketCalls are the calls on buckets of both kinds.
func bucketCalls() map[string]permitted {
	const api = "$JS.API."
	return map[string]permitted{
		"create bucket": {api + "STREAM.CREATE.KV_n", "-", func(ctx context.Context, b *core.Bus) error {
			_, _, err := b.CreateBucket(ctx, core.BucketConfig{Name: "n"})
			return err
		}},
		"bucket":  {api + "STREAM.INFO.KV_kv", "-", func(ctx context.Context, b *core.Bus) error { _, err := b.Bucket(ctx, "kv"); return err }},
		"buckets": {api + "STREAM.LIST", "-", func(ctx context.Context, b *core.Bus) error { _, err := b.Buckets(ctx, "", 1); return err }},
		"update bucket": {api + "STREAM.UPDATE.KV_kv", "-", func(ctx context.Context, b *core.Bus) error {
			_, err := b.UpdateBucket(ctx, core.BucketConfig{Name: "kv"})
			return err
		}},
		"delete bucket": {api + "STREAM.DELETE.KV_d", "-", func(ctx context.Context, b *core.Bus) error { return b.DeleteBucket(ctx, "d") }},
		"get":           {api + "DIRECT.GET.KV_kv.$KV.kv.k", "-", func(ctx context.Context, b *core.Bus) error { _, err := b.Get(ctx, "kv", "k", 0); return err }},
		"get revision":  {api + "DIRECT.GET.KV_kv", "-", func(ctx context.Context, b *core.Bus) error { _, err := b.Get(ctx, "kv", "k", 1); return err }},
		"put": {"$KV.kv.p", "-", func(ctx context.Context, b *core.Bus) error {
			_, err := b.Put(ctx, "kv", "p", nil, core.PutCondition{})
			return err
		}},
		"delete key": {"$KV.kv.none", "-", func(ctx context.Context, b *core.Bus) error {
			return b.DeleteKey(ctx, "kv", "none", false, core.PutCondition{})
		}},
		"history": {"-", "$KV.kv.k", func(ctx context.Context, b *core.Bus) error { _, err := b.History(ctx, "kv", "k"); return err }},
		"keys":    {"-", "$KV.kv.>", func(ctx context.Context, b *core.Bus) error { _, err := b.Keys(ctx, "kv", ">", "", 1); return err }},
		"watch": {"-", "$KV.kv.k", func(ctx context.Context, b *core.Bus) error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return b.Watch(ctx, "kv", "k", 0, nil)
		}},
		"put object": {"$O.o.>", "-", func(ctx context.Context, b *core.Bus) error {
			_, err := b.PutObject(ctx, "o", core.ObjectMeta{Name: "y"}, bytes.NewReader(nil), nil)
			return err
		}},
		"get object": {"-", "$O.o.>", func(ctx context.Context, b *core.Bus) error {
			_, r, err := b.GetObject(ctx, "o", "x", 0, -1)
			if err == nil {
				r.Close()
			}
			return err
		}},
		"object info":   {"-", "$O.o.>", func(ctx context.Context, b *core.Bus) error { _, err := b.ObjectInfo(ctx, "o", "x"); return err }},
		"objects":       {"-", "$O.o.>", func(ctx context.Context, b *core.Bus) error { _, err := b.Objects(ctx, "o", "", 1); return err }},
		"delete object": {"$O.o.>", "-", func(ctx context.Context, b *core.Bus) error { return b.DeleteObject(ctx, "o", "z") }},
	}
}

// TestStreamPermissions: each call is allowed to whom a NATS client's lists would allow the same, and to nobody else.
func TestStreamPermissions(t *testing.T) {
	calls := streamCalls()
	for name, c := range bucketCalls() {
		calls[name] = c
	}
	users := []core.User{{Name: "all", Password: "p"}, {Name: "other", Password: "p", Publish: []string{"$JS.API.INFO", "orders.>", ">"}, Subscribe: []string{"orders.>"}}}
	for name, c := range calls {
		users = append(users, core.User{Name: name, Password: "p", Publish: []string{or(c.publish)}, Subscribe: []string{or(c.subscribe)}})
	}
	g := coretest.Start(t, coretest.Users(users...), func(c *core.Config) { c.Durability = "os" })
	b := loginAs(t, g, "all", "p")
	prepareForPermissions(t, b)
	other := loginAs(t, g, "other", "p")
	for name, c := range calls {
		wantCode(t, name+" without permission", c.call(t.Context(), other), core.CodePermissionDenied)
	}
	for name, c := range calls {
		if err := c.call(t.Context(), loginAs(t, g, name, "p")); err != nil {
			t.Errorf("%s with permission: %v", name, err)
		}
	}
}

// or is a pattern that allows nothing of interest, where none is needed.
func or(pattern string) string {
	if pattern == "-" {
		return "nothing.at.all"
	}
	return pattern
}

func prepareForPermissions(t *testing.T, b *core.Bus) {
	t.Helper()
	stream(t, b, core.StreamConfig{Name: "s", Subjects: []string{"s.>"}})
	for _, name := range []string{"u", "d"} {
		stream(t, b, core.StreamConfig{Name: name})
	}
	for _, name := range []string{"c", "d", "d2"} {
		if _, _, err := b.CreateConsumer(t.Context(), "s", core.ConsumerConfig{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		publish(t, b, &core.Message{Subject: "s.x"})
	}
	eventually(t, "the messages are there", func() bool { info, err := b.Stream(t.Context(), "s"); return err == nil && info.Messages == 2 })
	bucket(t, b, core.BucketConfig{Name: "kv"})
	bucket(t, b, core.BucketConfig{Name: "d"})
	put(t, b, "k", "v")
	objectBucket(t, b, "o")
	putObject(t, b, "x", nil)
	putObject(t, b, "z", nil)
}
