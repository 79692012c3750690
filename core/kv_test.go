package core_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"
)

func bucket(t testing.TB, b *core.Bus, cfg core.BucketConfig) {
	t.Helper()
	if _, _, err := b.CreateBucket(t.Context(), cfg); err != nil {
		t.Fatalf("create bucket %q: %v", cfg.Name, err)
	}
}

func put(t testing.TB, b *core.Bus, key, value string) uint64 {
	t.Helper()
	revision, err := b.Put(t.Context(), "kv", key, []byte(value), core.PutCondition{})
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return revision
}

// TestBucketLife: created, found again, changed, listed, deleted; a NATS client sees the same bucket.
func TestBucketLife(t *testing.T) {
	g := coretest.Start(t)
	b, js := login(t, g), connectStreams(t, g)
	cfg := core.BucketConfig{Name: "kv", History: 5, TTL: time.Hour, Description: "ours"}
	if info, created, err := b.CreateBucket(t.Context(), cfg); err != nil || !created || info.Config.Storage != "file" {
		t.Fatalf("created %+v, %v, %v", info, created, err)
	}
	if _, created, err := b.CreateBucket(t.Context(), cfg); err != nil || created {
		t.Errorf("the same again: %v, %v", created, err)
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "kv", History: 5, TTL: time.Hour, Description: "ours"}); err != nil {
		t.Errorf("a NATS client that makes the same one: %v", err)
	}
	cfg.History = 6
	_, _, err := b.CreateBucket(t.Context(), cfg)
	wantCode(t, "other history", err, core.CodePreconditionFailed)
	if info, err := b.UpdateBucket(t.Context(), cfg); err != nil || info.Config.History != 6 {
		t.Errorf("updated %+v, %v", info, err)
	}
	bucket(t, b, core.BucketConfig{Name: "a"})
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"}); err != nil {
		t.Fatal(err)
	}
	if _, created, err := b.CreateBucket(t.Context(), core.BucketConfig{Name: "b"}); err != nil || created {
		t.Errorf("a client's bucket: %v, %v", created, err)
	}
	list, err := b.Buckets(t.Context(), "a", 10)
	if err != nil || len(list) != 2 || list[0].Config.Name != "b" || list[1].Config.Name != "kv" {
		t.Errorf("listed %+v, %v", list, err)
	}
	if err := b.DeleteBucket(t.Context(), "kv"); err != nil {
		t.Error(err)
	}
	_, err = b.Bucket(t.Context(), "kv")
	wantCode(t, "deleted", err, core.CodeNotFound)
	for name, change := range map[string]func(*core.BucketConfig){
		"name": func(c *core.BucketConfig) { c.Name = "a.b" }, "history": func(c *core.BucketConfig) { c.History = 65 }, "ttl": func(c *core.BucketConfig) { c.TTL = -1 },
		"storage": func(c *core.BucketConfig) { c.Storage = "tape" }, "size": func(c *core.BucketConfig) { c.MaxValueSize = -1 }, "bytes": func(c *core.BucketConfig) { c.MaxBytes = -1 },
	} {
		cfg := core.BucketConfig{Name: "x"}
		change(&cfg)
		_, _, err := b.CreateBucket(t.Context(), cfg)
		wantCode(t, name, err, core.CodeInvalid)
	}
}

// TestKeysBothWays: what one side puts and deletes the other sees.
func TestKeysBothWays(t *testing.T) {
	dir := t.TempDir()
	g := coretest.Start(t, coretest.DataDir(dir))
	b, js := login(t, g), connectStreams(t, g)
	bucket(t, b, core.BucketConfig{Name: "kv", History: 10})
	kv, err := js.KeyValue(t.Context(), "kv")
	if err != nil {
		t.Fatal(err)
	}
	first := put(t, b, "a/b.c", "1")
	if e, err := kv.Get(t.Context(), "a/b.c"); err != nil || string(e.Value()) != "1" || e.Revision() != first {
		t.Errorf("a NATS client gets %v, %v", e, err)
	}
	second, err := kv.Put(t.Context(), "a/b.c", nil)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := b.Get(t.Context(), "kv", "a/b.c", 0); err != nil || e.Value == nil || len(e.Value) != 0 || e.Revision != second || e.Operation != "put" {
		t.Errorf("got %+v, %v", e, err)
	}
	if e, err := b.Get(t.Context(), "kv", "a/b.c", first); err != nil || string(e.Value) != "1" {
		t.Errorf("got %+v, %v", e, err)
	}
	_, err = b.Get(t.Context(), "kv", "other", first)
	wantCode(t, "another key's revision", err, core.CodeNotFound)
	if err := kv.Delete(t.Context(), "a/b.c"); err != nil {
		t.Fatal(err)
	}
	_, err = b.Get(t.Context(), "kv", "a/b.c", 0)
	wantCode(t, "deleted", err, core.CodeNotFound)
	if _, err := b.Put(t.Context(), "kv", "a/b.c", []byte("again"), core.PutCondition{Absent: true}); err != nil {
		t.Errorf("create over a deletion: %v", err)
	}
	history, err := b.History(t.Context(), "kv", "a/b.c")
	var operations []string
	for _, e := range history {
		operations = append(operations, e.Operation)
	}
	if err != nil || !slices.Equal(operations, []string{"put", "put", "delete", "put"}) {
		t.Errorf("history %v, %v", operations, err)
	}
	if err := b.DeleteKey(t.Context(), "kv", "a/b.c", true, core.PutCondition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Get(t.Context(), "a/b.c"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("a NATS client gets %v of a purged key", err)
	}
	if history, err = b.History(t.Context(), "kv", "a/b.c"); err != nil || len(history) != 1 || history[0].Operation != "purge" {
		t.Errorf("history %+v, %v", history, err)
	}
	last := put(t, b, "k", "v")
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	b = login(t, coretest.Start(t, coretest.DataDir(dir)))
	if e, err := b.Get(t.Context(), "kv", "k", 0); err != nil || string(e.Value) != "v" || e.Revision != last {
		t.Errorf("after a restart %+v, %v", e, err)
	}
}

// TestKeyConditions: a change happens only when what was expected is true, and says what is if not.
func TestKeyConditions(t *testing.T) {
	b := login(t, coretest.Start(t, func(c *core.Config) { c.MaxMessage = 1 << 20 }))
	bucket(t, b, core.BucketConfig{Name: "kv", MaxValueSize: 1000})
	revision := put(t, b, "k", "1")
	conflict := func(what string, err error, present uint64) {
		t.Helper()
		wantCode(t, what, err, core.CodePreconditionFailed)
		if c, ok := errors.AsType[*core.Conflict](err); !ok || c.Revision != present {
			t.Errorf("%s: conflict %+v, want revision %d", what, c, present)
		}
	}
	_, err := b.Put(t.Context(), "kv", "k", nil, core.PutCondition{Absent: true})
	conflict("absent", err, revision)
	_, err = b.Put(t.Context(), "kv", "k", nil, core.PutCondition{Revision: revision + 1})
	conflict("revision", err, revision)
	_, err = b.Put(t.Context(), "kv", "none", nil, core.PutCondition{Revision: 7})
	conflict("revision of none", err, 0)
	conflict("delete", b.DeleteKey(t.Context(), "kv", "k", false, core.PutCondition{Revision: revision + 1}), revision)
	conflict("delete none", b.DeleteKey(t.Context(), "kv", "none", false, core.PutCondition{Revision: 3}), 0)
	next, err := b.Put(t.Context(), "kv", "k", []byte("2"), core.PutCondition{Revision: revision})
	if err != nil || next <= revision {
		t.Errorf("put on the right revision: %d, %v", next, err)
	}
	if err := b.DeleteKey(t.Context(), "kv", "k", false, core.PutCondition{Revision: next}); err != nil {
		t.Error(err)
	}
	if err := b.DeleteKey(t.Context(), "kv", "k", false, core.PutCondition{}); err != nil {
		t.Errorf("deleted twice: %v", err)
	}
	_, err = b.Put(t.Context(), "kv", "k", make([]byte, 1001), core.PutCondition{})
	wantCode(t, "above the bucket's size", err, core.CodeTooLarge)
	_, err = b.Put(t.Context(), "kv", "k", make([]byte, 1<<20+1), core.PutCondition{})
	wantCode(t, "above the gateway's size", err, core.CodeTooLarge)
	_, err = b.Put(t.Context(), "none", "k", nil, core.PutCondition{})
	wantCode(t, "no bucket", err, core.CodeNotFound)
	_, err = b.Put(t.Context(), "kv", "k", nil, core.PutCondition{Absent: true, Revision: 1})
	wantCode(t, "two conditions", err, core.CodeInvalid)
	for _, key := range []string{"", ".", "a.", ".a", "a..b", "a b", "a*", ">", "ä", "a\x00", string(make([]byte, 5000))} {
		_, err := b.Put(t.Context(), "kv", key, nil, core.PutCondition{})
		wantCode(t, "key "+key, err, core.CodeInvalid)
	}
}

// TestCreateKeyOnce: of many who create a key at once, one does.
func TestCreateKeyOnce(t *testing.T) {
	b := login(t, coretest.Start(t, func(c *core.Config) { c.Durability = "os" }))
	bucket(t, b, core.BucketConfig{Name: "kv"})
	var all sync.WaitGroup
	won := make(chan int, 20)
	for i := range 20 {
		all.Go(func() {
			_, err := b.Put(t.Context(), "kv", "k", fmt.Append(nil, i), core.PutCondition{Absent: true})
			if err == nil {
				won <- i
			} else if code(err) != core.CodePreconditionFailed {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(won) != 1 {
		t.Errorf("%d have created it", len(won))
	}
}

// TestPurgeOfAbsentKey: what removes the history of a key that has no value does not touch one that comes meanwhile.
func TestPurgeOfAbsentKey(t *testing.T) {
	b := login(t, coretest.Start(t, func(c *core.Config) { c.Durability = "os" }))
	bucket(t, b, core.BucketConfig{Name: "kv", History: 5})
	put(t, b, "k", "x")
	conflict := b.DeleteKey(t.Context(), "kv", "k", true, core.PutCondition{Absent: true})
	wantCode(t, "purge of a value", conflict, core.CodePreconditionFailed)
	for i := range 300 {
		if err := b.DeleteKey(t.Context(), "kv", "k", false, core.PutCondition{}); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := b.Put(t.Context(), "kv", "k", []byte("y"), core.PutCondition{}); err != nil {
				t.Error(err)
			}
		})
		for range 4 {
			all.Go(func() {
				if err := b.DeleteKey(t.Context(), "kv", "k", true, core.PutCondition{Absent: true}); err != nil && code(err) != core.CodePreconditionFailed {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if _, err := b.Get(t.Context(), "kv", "k", 0); err != nil {
			t.Fatalf("round %d: the value was purged: %v", i, err)
		}
	}
	if err := b.DeleteKey(t.Context(), "kv", "k", false, core.PutCondition{}); err != nil {
		t.Fatal(err)
	}
	if err := b.DeleteKey(t.Context(), "kv", "k", true, core.PutCondition{Absent: true}); err != nil {
		t.Errorf("purge of a deleted key: %v", err)
	}
	if h, err := b.History(t.Context(), "kv", "k"); err != nil || len(h) != 1 || h[0].Operation != "purge" {
		t.Errorf("history %+v, %v", h, err)
	}
}

// TestListKeys: in order, in pages, by pattern, without the deleted.
func TestListKeys(t *testing.T) {
	b := login(t, coretest.Start(t, func(c *core.Config) { c.Durability = "os" }))
	bucket(t, b, core.BucketConfig{Name: "kv", History: 3})
	for _, key := range []string{"c", "b.2", "a", "b.1", "gone", "b.1"} {
		put(t, b, key, "x")
	}
	if err := b.DeleteKey(t.Context(), "kv", "gone", false, core.PutCondition{}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		pattern, after string
		limit          int
		want           []string
	}{
		"all": {">", "", 10, []string{"a", "b.1", "b.2", "c"}}, "first": {">", "", 2, []string{"a", "b.1"}}, "second": {">", "b.1", 2, []string{"b.2", "c"}},
		"pattern": {"b.*", "", 10, []string{"b.1", "b.2"}}, "none": {"x.>", "", 10, nil},
	} {
		if got, err := b.Keys(t.Context(), "kv", c.pattern, c.after, c.limit); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, c.want)
		}
	}
	_, err := b.Keys(t.Context(), "none", ">", "", 1)
	wantCode(t, "no bucket", err, core.CodeNotFound)
	_, err = b.Keys(t.Context(), "kv", "a..", "", 1)
	wantCode(t, "bad pattern", err, core.CodeInvalid)
}

// watchKeys watches in a goroutine; a nil entry is told as "now".
func watchKeys(t testing.TB, b *core.Bus, pattern string, from uint64) (<-chan string, <-chan error) {
	t.Helper()
	told, over := make(chan string, 1000), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	wg.Go(func() {
		over <- b.Watch(ctx, "kv", pattern, from, func(e *core.KVEntry) error {
			if e == nil {
				told <- "now"
			} else {
				told <- e.Operation + " " + e.Key + "=" + string(e.Value)
			}
			return nil
		})
	})
	return told, over
}

func expectTold(t testing.TB, told <-chan string, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := receive(t, told); got != w {
			t.Fatalf("told %q, want %q", got, w)
		}
	}
}

// TestWatchKeys: the present, then changes of both sides; resumed behind a revision; until the bucket is gone.
func TestWatchKeys(t *testing.T) {
	g := coretest.Start(t)
	b, js := login(t, g), connectStreams(t, g)
	bucket(t, b, core.BucketConfig{Name: "kv", History: 5})
	empty, _ := watchKeys(t, b, ">", 0)
	expectTold(t, empty, "now")
	put(t, b, "a", "1")
	put(t, b, "b", "1")
	put(t, b, "c", "1")
	seen := put(t, b, "a", "2")
	if err := b.DeleteKey(t.Context(), "kv", "b", false, core.PutCondition{}); err != nil {
		t.Fatal(err)
	}
	expectTold(t, empty, "put a=1", "put b=1", "put c=1", "put a=2", "delete b=")
	all, over := watchKeys(t, b, ">", 0)
	expectTold(t, all, "put c=1", "put a=2", "now")
	some, _ := watchKeys(t, b, "a", 0)
	expectTold(t, some, "put a=2", "now")
	resumed, _ := watchKeys(t, b, ">", seen-1)
	expectTold(t, resumed, "put a=2", "delete b=", "now")
	kv, err := js.KeyValue(t.Context(), "kv")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "c", "native"); err != nil {
		t.Fatal(err)
	}
	if err := kv.Purge(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	expectTold(t, all, "put c=native", "purge a=")
	expectTold(t, some, "purge a=")
	expectTold(t, resumed, "put c=native", "purge a=")
	_, future := watchKeys(t, b, ">", 1000)
	wantCode(t, "a revision that is not there yet", receive(t, future), core.CodePreconditionFailed)
	if err := b.DeleteBucket(t.Context(), "kv"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "bucket deleted", receive(t, over), core.CodeNotFound)
	_, none := watchKeys(t, b, ">", 0)
	wantCode(t, "no bucket", receive(t, none), core.CodeNotFound)
}

// TestWatchReturnsTheCallersError, whatever it is.
func TestWatchReturnsTheCallersError(t *testing.T) {
	b := login(t, coretest.Start(t))
	bucket(t, b, core.BucketConfig{Name: "kv"})
	mine := core.Errorf(core.CodeNotFound, "mine")
	if err := b.Watch(t.Context(), "kv", ">", 0, func(*core.KVEntry) error { return mine }); err != error(mine) {
		t.Errorf("got %v", err)
	}
}

// TestWatchGivenUpEarly: who stops among a thousand values leaves nothing behind (TestMain looks), and who reads on gets all of them.
func TestWatchGivenUpEarly(t *testing.T) {
	g := coretest.Start(t, func(c *core.Config) { c.Durability = "os" })
	b, js := login(t, g), connectStreams(t, g)
	bucket(t, b, core.BucketConfig{Name: "kv", Storage: "memory"})
	keepMany(t, js, 1000, func(i int) string { return fmt.Sprintf("$KV.kv.%04d", i) })
	told := 0
	err := b.Watch(t.Context(), "kv", ">", 0, func(*core.KVEntry) error { told++; return errTest })
	if err != errTest || told != 1 {
		t.Errorf("stopped with %v after %d values", err, told)
	}
	told = 0
	err = b.Watch(t.Context(), "kv", ">", 0, func(e *core.KVEntry) error {
		if e == nil {
			return errTest
		}
		told++
		return nil
	})
	if err != errTest || told != 1000 {
		t.Errorf("stopped with %v after %d values", err, told)
	}
}

// TestKeysModel: any sequence of changes by either side leaves what a map would have.
func TestKeysModel(t *testing.T) {
	g := coretest.Start(t, func(c *core.Config) { c.Durability = "os" })
	b, js := login(t, g), connectStreams(t, g)
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		name := fmt.Sprintf("kv%d", runs)
		bucket(t, b, core.BucketConfig{Name: name, Storage: "memory", History: uint8(rapid.IntRange(1, 4).Draw(rt, "history"))})
		kv, err := js.KeyValue(t.Context(), name)
		if err != nil {
			rt.Fatal(err)
		}
		m := &kvModel{ctx: t.Context(), bus: b, kv: kv, bucket: name, values: map[string]string{}, revisions: map[string]uint64{}}
		rt.Repeat(map[string]func(*rapid.T){"put": m.put, "putIf": m.putIf, "create": m.create, "delete": m.delete, "native": m.native, "keys": m.keys, "": m.check})
		if err := b.DeleteBucket(t.Context(), name); err != nil {
			rt.Fatal(err)
		}
	})
}

type kvModel struct {
	ctx       context.Context
	bus       *core.Bus
	kv        jetstream.KeyValue
	bucket    string
	values    map[string]string
	revisions map[string]uint64
}

func drawKey(rt *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b", "b.c", "d/e"}).Draw(rt, "key")
}
func drawValue(rt *rapid.T) string { return rapid.StringN(0, 5, 20).Draw(rt, "value") }

func (m *kvModel) set(key, value string, revision uint64) {
	m.values[key], m.revisions[key] = value, revision
}

func (m *kvModel) put(rt *rapid.T) {
	key, value := drawKey(rt), drawValue(rt)
	revision, err := m.bus.Put(m.ctx, m.bucket, key, []byte(value), core.PutCondition{})
	if err != nil {
		rt.Fatal(err)
	}
	m.set(key, value, revision)
}

func (m *kvModel) putIf(rt *rapid.T) {
	key, value, off := drawKey(rt), drawValue(rt), rapid.Uint64Range(0, 1).Draw(rt, "off")
	present, there := m.revisions[key]
	revision, err := m.bus.Put(m.ctx, m.bucket, key, []byte(value), core.PutCondition{Revision: max(present+off, 1)})
	switch {
	case there && off == 0 && err == nil:
		m.set(key, value, revision)
	case there && off == 0 || code(err) != core.CodePreconditionFailed:
		rt.Fatalf("put on revision %d+%d: %v", present, off, err)
	}
}

func (m *kvModel) create(rt *rapid.T) {
	key, value := drawKey(rt), drawValue(rt)
	_, there := m.values[key]
	revision, err := m.bus.Put(m.ctx, m.bucket, key, []byte(value), core.PutCondition{Absent: true})
	switch {
	case !there && err == nil:
		m.set(key, value, revision)
	case !there || code(err) != core.CodePreconditionFailed:
		rt.Fatalf("create: %v", err)
	}
}

func (m *kvModel) delete(rt *rapid.T) {
	key := drawKey(rt)
	if err := m.bus.DeleteKey(m.ctx, m.bucket, key, rapid.Bool().Draw(rt, "purge"), core.PutCondition{Revision: m.revisions[key]}); err != nil {
		rt.Fatal(err)
	}
	delete(m.values, key)
	delete(m.revisions, key)
}

func (m *kvModel) native(rt *rapid.T) {
	key, value := drawKey(rt), drawValue(rt)
	if rapid.Bool().Draw(rt, "delete") {
		if err := m.kv.Delete(m.ctx, key); err != nil {
			rt.Fatal(err)
		}
		delete(m.values, key)
		delete(m.revisions, key)
		return
	}
	revision, err := m.kv.PutString(m.ctx, key, value)
	if err != nil {
		rt.Fatal(err)
	}
	m.set(key, value, revision)
}

func (m *kvModel) keys(rt *rapid.T) {
	keys, err := m.bus.Keys(m.ctx, m.bucket, ">", "", 100)
	if err != nil || len(keys) != len(m.values) {
		rt.Fatalf("keys %v, %v, want %v", keys, err, m.values)
	}
}

func (m *kvModel) check(rt *rapid.T) {
	for key, value := range m.values {
		e, err := m.bus.Get(m.ctx, m.bucket, key, 0)
		if err != nil || string(e.Value) != value || e.Revision != m.revisions[key] {
			rt.Fatalf("%q is %+v, %v, want %q revision %d", key, e, err, value, m.revisions[key])
		}
	}
}
