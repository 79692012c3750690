package core_test

import (
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"
	"portico/core/policy"
)

// Lists of streams and buckets decide by name, whatever the lists of subjects say of the API behind them.
func TestStreamAndBucketLists(t *testing.T) {
	allow := func(names ...string) policy.Lists { return policy.Lists{Allow: names} }
	spec := &policy.Spec{
		Publish: allow("app.>"),
		Stream:  map[string]policy.Lists{"read": allow("OPEN*"), "write": allow("OPEN-W"), "manage": allow("MINE-*")},
		Bucket:  map[string]policy.Lists{"read": allow("settings", "mine"), "write": allow("mine"), "manage": allow("mine")},
	}
	g := coretest.Start(t, coretest.Users(core.User{Name: "admin", Password: "a"}, core.User{Name: "bob", Password: "b", Permissions: spec}))
	admin, bob := loginAs(t, g, "admin", "a"), loginAs(t, g, "bob", "b")
	ctx := t.Context()
	for name, subject := range map[string]string{"OPEN-R": "app.r", "OPEN-W": "app.w", "SHUT": "app.s"} {
		if _, _, err := admin.CreateStream(ctx, core.StreamConfig{Name: name, Subjects: []string{subject}}); err != nil {
			t.Fatal(err)
		}
		publish(t, admin, &core.Message{Subject: subject})
	}
	for _, name := range []string{"settings", "shut"} {
		if _, _, err := admin.CreateBucket(ctx, core.BucketConfig{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		allowed bool
		call    func() error
	}{
		"describe":           {true, func() error { _, err := bob.Stream(ctx, "OPEN-R"); return err }},
		"describe another":   {false, func() error { _, err := bob.Stream(ctx, "SHUT"); return err }},
		"message":            {true, func() error { _, err := bob.StreamMessage(ctx, "OPEN-R", 1); return err }},
		"message of another": {false, func() error { _, err := bob.StreamMessage(ctx, "SHUT", 1); return err }},
		"purge":              {true, func() error { _, err := bob.PurgeStream(ctx, "OPEN-W", core.PurgeOptions{}); return err }},
		"purge what is read": {false, func() error { _, err := bob.PurgeStream(ctx, "OPEN-R", core.PurgeOptions{}); return err }},
		"delete":             {false, func() error { return bob.DeleteStream(ctx, "OPEN-W") }},
		"create": {true, func() error {
			_, _, err := bob.CreateStream(ctx, core.StreamConfig{Name: "MINE-1", Subjects: []string{"app.m"}})
			return err
		}},
		"create another": {false, func() error {
			_, _, err := bob.CreateStream(ctx, core.StreamConfig{Name: "YOURS", Subjects: []string{"app.y"}})
			return err
		}},
		"create a bucket":       {true, func() error { _, _, err := bob.CreateBucket(ctx, core.BucketConfig{Name: "mine"}); return err }},
		"create another bucket": {false, func() error { _, _, err := bob.CreateBucket(ctx, core.BucketConfig{Name: "yours"}); return err }},
		"look at a bucket":      {true, func() error { _, err := bob.Bucket(ctx, "settings"); return err }},
		"put where it reads":    {false, func() error { _, err := bob.Put(ctx, "settings", "k", nil, core.PutCondition{}); return err }},
		"get from another":      {false, func() error { _, err := bob.Get(ctx, "shut", "k", 0); return err }},
		"fetch and settle": {true, func() error {
			if _, _, err := bob.CreateConsumer(ctx, "OPEN-R", core.ConsumerConfig{Name: "c"}); err != nil {
				return err
			}
			lent, err := bob.Fetch(ctx, "OPEN-R", "c", 1, 0, time.Second)
			if err != nil || len(lent) != 1 {
				return err
			}
			return bob.SettleLent(ctx, lent[0].Ticket, core.StreamAck, 0)
		}},
	} {
		err := c.call()
		if denied := err != nil && core.AsError(err).Code == core.CodePermissionDenied; denied == c.allowed || c.allowed && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
