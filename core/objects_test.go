package core_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"portico/core"
	"portico/core/coretest"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const chunk = 128 << 10 // of an object

// noise is so many bytes that do not repeat, the same for the same seed.
func noise(seed uint64, size int) []byte {
	data := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(data)
	return data
}

func objectBucket(t testing.TB, b *core.Bus, name string) {
	t.Helper()
	if _, _, err := b.CreateObjectBucket(t.Context(), core.ObjectBucketConfig{Name: name}); err != nil {
		t.Fatalf("create bucket %q: %v", name, err)
	}
}

func putObject(t testing.TB, b *core.Bus, name string, data []byte) core.ObjectInfo {
	t.Helper()
	info, err := b.PutObject(t.Context(), "o", core.ObjectMeta{Name: name}, bytes.NewReader(data), nil)
	if err != nil {
		t.Fatalf("put %q: %v", name, err)
	}
	return info
}

func getObject(t testing.TB, b *core.Bus, name string, offset, length int64) []byte {
	t.Helper()
	_, r, err := b.GetObject(t.Context(), "o", name, offset, length)
	if err != nil {
		t.Fatalf("get %q: %v", name, err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read %q: %v", name, err)
	}
	return data
}

// messages is how many messages a bucket's stream has: chunks, and one for each object there ever was.
func messages(t testing.TB, js jetstream.JetStream, name string) uint64 {
	t.Helper()
	s, err := js.Stream(t.Context(), "OBJ_"+name)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

// TestObjectsBothWays: what one side puts the other gets, with headers and digest, also after a restart.
func TestObjectsBothWays(t *testing.T) {
	dir := t.TempDir()
	g := coretest.Start(t, coretest.DataDir(dir))
	b, js := login(t, g), connectStreams(t, g)
	objectBucket(t, b, "o")
	if _, created, err := b.CreateObjectBucket(t.Context(), core.ObjectBucketConfig{Name: "o"}); err != nil || created {
		t.Errorf("the same bucket again: %v, %v", created, err)
	}
	store, err := js.CreateObjectStore(t.Context(), jetstream.ObjectStoreConfig{Bucket: "o"})
	if err != nil {
		t.Fatalf("a NATS client that makes the same bucket: %v", err)
	}
	for name, size := range map[string]int{"empty": 0, "one byte": 1, "chunk": chunk, "chunks/and a bit": 3*chunk + 7} {
		data := noise(1, size)
		sum := sha256.Sum256(data)
		info, err := b.PutObject(t.Context(), "o", core.ObjectMeta{Name: name, Description: "d", Header: core.Header{"Content-Type": {"text/x"}}}, iotest.HalfReader(bytes.NewReader(data)), sum[:])
		if err != nil || info.Size != int64(size) || !bytes.Equal(info.SHA256, sum[:]) {
			t.Fatalf("%s: put %+v, %v", name, info, err)
		}
		got, err := store.GetBytes(t.Context(), name)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: a NATS client gets %d bytes, %v", name, len(got), err)
		}
		if _, err := store.PutBytes(t.Context(), "native "+name, data); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(getObject(t, b, "native "+name, 0, -1), data) || !bytes.Equal(getObject(t, b, name, 0, -1), data) {
			t.Errorf("%s: other bytes", name)
		}
	}
	if _, err := store.Put(t.Context(), jetstream.ObjectMeta{Name: "bad header", Headers: nats.Header{"X": {"a\r\nb"}, "Y": {"y"}}}, bytes.NewReader(nil)); err != nil {
		t.Fatal(err)
	}
	if info, err := b.ObjectInfo(t.Context(), "o", "bad header"); err != nil || info.Header.Get("Y") != "y" || info.Header.Values("X") != nil {
		t.Errorf("headers %+v, %v", info.Header, err)
	}
	original, err := store.GetInfo(t.Context(), "chunk")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.AddLink(t.Context(), "link", original); err != nil {
		t.Fatal(err)
	}
	if len(getObject(t, b, "link", 0, -1)) != chunk {
		t.Error("a link does not lead to its object")
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	b = login(t, coretest.Start(t, coretest.DataDir(dir)))
	info, err := b.ObjectInfo(t.Context(), "o", "chunks/and a bit")
	if err != nil || info.Size != 3*chunk+7 || info.Header.Get("Content-Type") != "text/x" || info.Description != "d" {
		t.Errorf("after a restart %+v, %v", info, err)
	}
	if !bytes.Equal(getObject(t, b, "chunks/and a bit", 0, -1), noise(1, 3*chunk+7)) {
		t.Error("after a restart there are other bytes")
	}
}

// TestObjectRanges: any part of an object can be read, whoever put it, also one whose chunks lie between others'.
func TestObjectRanges(t *testing.T) {
	g := coretest.Start(t, func(c *core.Config) { c.Durability = "os" })
	b, js := login(t, g), connectStreams(t, g)
	objectBucket(t, b, "o")
	data := map[string][]byte{"native": noise(9, 5*chunk+3)}
	store, err := js.ObjectStore(t.Context(), "o")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(t.Context(), jetstream.ObjectMeta{Name: "native"}, iotest.HalfReader(bytes.NewReader(data["native"]))); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range uint64(3) {
		name := fmt.Sprint(i)
		whole := noise(i, 20*chunk+100)
		data[name] = whole
		all.Go(func() { putObject(t, b, name, whole) })
	}
	all.Wait()
	for name, whole := range data {
		size := int64(len(whole))
		for _, c := range [][2]int64{{0, 1}, {0, chunk}, {chunk - 1, 2}, {chunk, chunk}, {4*chunk + 17, 3 * chunk}, {size - 1, 1}, {size, 10}, {size - 5, 100}, {5, -1}, {size / 2, 0}} {
			want := whole[c[0]:]
			if c[1] >= 0 && c[1] < int64(len(want)) {
				want = want[:c[1]]
			}
			if got := getObject(t, b, name, c[0], c[1]); !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes from %d of %d are others", name, c[1], c[0], size)
			}
		}
		_, _, err := b.GetObject(t.Context(), "o", name, size+1, 1)
		wantCode(t, "behind the end", err, core.CodeInvalid)
	}
}

// TestObjectReplaced: readers of the former version read on; then its chunks go. What fails changes nothing and leaves nothing.
func TestObjectReplaced(t *testing.T) {
	g := coretest.Start(t, func(c *core.Config) { c.Durability = "os" })
	b, js := login(t, g), connectStreams(t, g)
	objectBucket(t, b, "o")
	old := noise(1, 20*chunk)
	putObject(t, b, "x", old)
	_, r, err := b.GetObject(t.Context(), "o", "x", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 100)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	putObject(t, b, "x", []byte("new"))
	if got := getObject(t, b, "x", 0, -1); string(got) != "new" {
		t.Errorf("after it was replaced %q", got)
	}
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(append(head, rest...), old) {
		t.Errorf("the former version: %d bytes, %v", len(rest), err)
	}
	r.Close()
	if n := messages(t, js, "o"); n != 2 {
		t.Errorf("%d messages are left, want a chunk and the meta data", n)
	}
	_, err = b.PutObject(t.Context(), "o", core.ObjectMeta{Name: "x"}, bytes.NewReader(old), make([]byte, 32))
	wantCode(t, "wrong digest", err, core.CodePreconditionFailed)
	_, err = b.PutObject(t.Context(), "o", core.ObjectMeta{Name: "x"}, io.MultiReader(bytes.NewReader(old), iotest.ErrReader(errTest)), nil)
	if !errors.Is(err, errTest) {
		t.Errorf("an error of the body came back as %v", err)
	}
	if got := getObject(t, b, "x", 0, -1); string(got) != "new" || messages(t, js, "o") != 2 {
		t.Errorf("after failures %q, and %d messages", got, messages(t, js, "o"))
	}
	var all sync.WaitGroup
	for i := range uint64(8) {
		all.Go(func() { putObject(t, b, "x", noise(i, 2*chunk)) })
	}
	all.Wait()
	if n := messages(t, js, "o"); n != 3 {
		t.Errorf("after many at once %d messages are left, want 2 chunks and the meta data", n)
	}
	if err := b.DeleteObject(t.Context(), "o", "x"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "deleted twice", b.DeleteObject(t.Context(), "o", "x"), core.CodeNotFound)
	_, _, err = b.GetObject(t.Context(), "o", "x", 0, -1)
	wantCode(t, "deleted", err, core.CodeNotFound)
	if n := messages(t, js, "o"); n != 1 {
		t.Errorf("%d messages are left of a deleted object", n)
	}
}

// TestObjectList: by name, in pages, without the deleted; and what cannot be is refused.
func TestObjectList(t *testing.T) {
	b := login(t, coretest.Start(t, func(c *core.Config) { c.Durability = "os" }))
	objectBucket(t, b, "o")
	objectBucket(t, b, "p")
	for _, name := range []string{"b", "ä", "a", "gone", "c/d"} {
		putObject(t, b, name, []byte(name))
	}
	if err := b.DeleteObject(t.Context(), "o", "gone"); err != nil {
		t.Fatal(err)
	}
	names := func(after string, limit int) (names []string) {
		list, err := b.Objects(t.Context(), "o", after, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list {
			names = append(names, o.Name)
		}
		return names
	}
	if got := names("", 2); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("first page %v", got)
	}
	if got := names("b", 5); !slices.Equal(got, []string{"c/d", "ä"}) {
		t.Errorf("second page %v", got)
	}
	if list, err := b.ObjectBuckets(t.Context(), "o", 5); err != nil || len(list) != 1 || list[0].Config.Name != "p" {
		t.Errorf("buckets %+v, %v", list, err)
	}
	if err := b.DeleteObjectBucket(t.Context(), "p"); err != nil {
		t.Error(err)
	}
	for name, call := range map[string]func() error{
		"info":   func() error { _, err := b.ObjectInfo(t.Context(), "p", "x"); return err },
		"bucket": func() error { _, err := b.ObjectBucket(t.Context(), "p"); return err },
		"list":   func() error { _, err := b.Objects(t.Context(), "p", "", 1); return err },
		"delete": func() error { return b.DeleteObject(t.Context(), "p", "x") },
		"put": func() error {
			_, err := b.PutObject(t.Context(), "p", core.ObjectMeta{Name: "x"}, bytes.NewReader(nil), nil)
			return err
		},
	} {
		wantCode(t, name, call(), core.CodeNotFound)
	}
	for name, meta := range map[string]core.ObjectMeta{
		"no name": {}, "long name": {Name: string(make([]byte, 1025))}, "not UTF-8": {Name: "\xff"}, "header": {Name: "x", Header: core.Header{"A": {"a\r\nb"}}},
	} {
		_, err := b.PutObject(t.Context(), "o", meta, bytes.NewReader(nil), nil)
		wantCode(t, name, err, core.CodeInvalid)
	}
}

// TestObjectSweep: chunks that no object has are removed when they are old enough, others are not.
func TestObjectSweep(t *testing.T) {
	g := coretest.Start(t, func(c *core.Config) { c.Durability = "os" })
	b, js := login(t, g), connectStreams(t, g)
	objectBucket(t, b, "o")
	putObject(t, b, "x", noise(1, 3*chunk))
	for range 2 {
		if _, err := js.Publish(t.Context(), "$O.o.C.lost", []byte("part")); err != nil {
			t.Fatal(err)
		}
	}
	g.SweepObjects(t.Context(), time.Hour)
	if n := messages(t, js, "o"); n != 6 {
		t.Fatalf("%d messages, want all 6", n)
	}
	g.SweepObjects(t.Context(), 0)
	if n := messages(t, js, "o"); n != 4 || len(getObject(t, b, "x", 0, -1)) != 3*chunk {
		t.Errorf("%d messages, want those of the object", n)
	}
}

// TestObjectSweepOfDeleted: chunks of a deleted object that were left behind are removed, too.
func TestObjectSweepOfDeleted(t *testing.T) {
	g := coretest.Start(t, func(c *core.Config) { c.Durability = "os" })
	b, js := login(t, g), connectStreams(t, g)
	objectBucket(t, b, "o")
	id := putObject(t, b, "x", noise(1, chunk)).ID
	if err := b.DeleteObject(t.Context(), "o", "x"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // as if the gateway had been killed before it came to remove them
		if _, err := js.Publish(t.Context(), "$O.o.C."+id, []byte("part")); err != nil {
			t.Fatal(err)
		}
	}
	g.SweepObjects(t.Context(), time.Hour)
	if n := messages(t, js, "o"); n != 3 {
		t.Errorf("%d messages, want all 3", n)
	}
	g.SweepObjects(t.Context(), 0)
	if n := messages(t, js, "o"); n != 1 {
		t.Errorf("%d messages are left, want what says that it is deleted", n)
	}
}

// TestObjectOutlivesItsCaller: who goes away while an object is put or deleted leaves the former version or the new one, whole; and once the change is on its way it is made.
func TestObjectOutlivesItsCaller(t *testing.T) {
	g := coretest.Start(t, func(c *core.Config) { c.Durability = "os" })
	b, nc := login(t, g), connectNATS(t, g)
	objectBucket(t, b, "o")
	leaves, left := make(chan context.CancelFunc, 1), make(chan struct{}, 1)
	if _, err := nc.Subscribe("$O.o.M.>", func(*nats.Msg) { // the change is on its way, and its answer too perhaps
		(<-leaves)()
		left <- struct{}{}
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(30) {
		ctx, cancel := context.WithCancel(t.Context())
		leaves <- cancel
		data := noise(i, 100)
		if _, err := b.PutObject(ctx, "o", core.ObjectMeta{Name: "x"}, bytes.NewReader(data), nil); err != nil {
			t.Errorf("put %d: %v", i, err)
		}
		receive(t, left)
		if got := getObject(t, b, "x", 0, -1); !bytes.Equal(got, data) {
			t.Errorf("put %d: other bytes", i)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	leaves <- cancel
	if err := b.DeleteObject(ctx, "o", "x"); err != nil {
		t.Errorf("delete: %v", err)
	}
	if n := messages(t, connectStreams(t, g), "o"); n != 1 {
		t.Errorf("%d messages are left, want what says that it is deleted", n)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := b.PutObject(ended, "o", core.ObjectMeta{Name: "x"}, bytes.NewReader(nil), nil); err == nil {
		t.Error("an object was put by somebody who had gone before")
	}
}

// TestObjectBucketFull: an object that does not fit is refused and leaves nothing.
func TestObjectBucketFull(t *testing.T) {
	g := coretest.Start(t, func(c *core.Config) { c.Durability = "os" })
	b, js := login(t, g), connectStreams(t, g)
	if _, _, err := b.CreateObjectBucket(t.Context(), core.ObjectBucketConfig{Name: "o", MaxBytes: 10 * chunk}); err != nil {
		t.Fatal(err)
	}
	_, err := b.PutObject(t.Context(), "o", core.ObjectMeta{Name: "x"}, bytes.NewReader(noise(1, 20*chunk)), nil)
	wantCode(t, "an object that does not fit", err, core.CodeResourceExhausted)
	if n := messages(t, js, "o"); n != 0 {
		t.Errorf("%d messages are left", n)
	}
}

// TestBigObject: 64 MiB go in and out with little memory.
func TestBigObject(t *testing.T) {
	const size = 192 << 20
	b := login(t, coretest.Start(t, func(c *core.Config) { c.Durability = "os" }))
	objectBucket(t, b, "o")
	peak := watchMemory(t)
	sum := sha256.New()
	body := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{}), size), sum)
	info, err := b.PutObject(t.Context(), "o", core.ObjectMeta{Name: "big"}, body, nil)
	if err != nil || info.Size != size || !bytes.Equal(info.SHA256, sum.Sum(nil)) {
		t.Fatalf("put %+v, %v", info, err)
	}
	_, r, err := b.GetObject(t.Context(), "o", "big", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	back := sha256.New()
	if n, err := io.Copy(back, r); err != nil || n != size || !bytes.Equal(back.Sum(nil), sum.Sum(nil)) {
		t.Fatalf("got %d bytes, %v", n, err)
	}
	if most := peak(); most >= size*2/3 { // what the server caches of the bucket's files included
		t.Errorf("%d MiB of memory were in use", most>>20)
	} else {
		t.Logf("%d MiB of memory were in use", most>>20)
	}
}

// watchMemory measures live memory now and then; peak ends it and tells how much more than at the beginning was in use at most.
func watchMemory(t testing.TB) (peak func() int64) {
	t.Helper()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	start, most := int64(m.HeapAlloc), int64(0)
	stop, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, int64(m.HeapAlloc)-start)
			}
		}
	}()
	return func() int64 { close(stop); <-over; return most }
}
